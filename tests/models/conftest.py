"""A small world with a known answer: items named by a colour, users who stay with one colour and walk through its items in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tiny_encoders import tiny_bert

from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import Split, leave_one_out

COLOURS = ("red", "green", "blue", "빨강")
ITEMS_EACH = 5


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTREC_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def catalog() -> ItemCatalog:
    rows = [(f"{colour}-{n}", f"{colour} thing number{n}", colour) for colour in COLOURS for n in range(ITEMS_EACH)]
    return ItemCatalog.from_frame(pd.DataFrame(rows, columns=["item_id", "title", "colour"]))


@pytest.fixture(scope="session")
def split(catalog: ItemCatalog) -> Split:
    """Users step through the items of one colour: the item after ``colour-n`` is always ``colour-(n+1)``."""
    rows = []
    for user in range(48):
        colour, start = COLOURS[user % 4], (user // 4) % ITEMS_EACH
        rows += [(f"u{user}", f"{colour}-{(start + step) % ITEMS_EACH}", step) for step in range(4)]
    return leave_one_out(Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), catalog))


@pytest.fixture(scope="session")
def encoder_name(tmp_path_factory: pytest.TempPathFactory, catalog: ItemCatalog) -> str:
    return tiny_bert(tmp_path_factory.mktemp("encoder"), catalog.texts)


@pytest.fixture(scope="session")
def small(encoder_name: str) -> dict[str, Any]:
    """Settings that train in a second."""
    return {
        "encoder.name": encoder_name,
        "item.width": 32,
        "head.layers": 1,
        "head.dropout": 0.0,
        "head.max_history": 4,
        "train.epochs": 40,
        "train.batch_size": 16,
        "train.learning_rate": 0.02,
        "train.patience": 0,
        "train.precision": "fp32",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "model"

"""HSTU, BERT4Rec and contrasts as whole models: what they learn, that times reach them, saving, resuming, going on, bad settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import Split, leave_one_out
from bertrec.evaluation.protocol import Protocol
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.registry import create
from bertrec.models.sequential.neural import NeuralRecommender

NEXT = [(["red-0", "red-1"], "red-2"), (["blue-3"], "blue-4"), (["빨강-1", "빨강-2"], "빨강-3")]
CONTRASTS = {"cl4srec": {"loss.contrast": "cl4srec"}, "duorec": {"loss.contrast": "duorec"}}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "hstu": ("hstu", {}),
    "bert4rec": ("bert4rec", {}),
    "cl4srec": ("unisrec", CONTRASTS["cl4srec"]),
    "duorec": ("unisrec", CONTRASTS["duorec"]),
    "bert4rec+cl4srec": ("bert4rec", CONTRASTS["cl4srec"]),
    "hstu+duorec": ("hstu", CONTRASTS["duorec"]),
}


def made(kind: str, small: dict[str, Any], item_input: str | None = None, **more: Any) -> NeuralRecommender:
    name, settings = KINDS[kind]
    model = create(name, item_input=item_input, settings={**small, **settings, **more})
    assert isinstance(model, NeuralRecommender)
    return model


def hit_rate(model: Recommender, split: Split) -> float:
    report = evaluate(model, split.test, protocol=Protocol(ks=(1,), bootstrap=0), item_counts=split.train.item_counts)
    return report.slices["all"].metrics["HR@1"].mean


@pytest.fixture(scope="module")
def walks(catalog: ItemCatalog) -> Split:
    """Users step through the whole catalogue in order, from anywhere."""
    rows = [(f"u{user}", catalog.ids.ids[(7 * user + step) % 20], step) for user in range(80) for step in range(4 + user % 7)]
    return leave_one_out(Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), catalog))


@pytest.mark.parametrize("item_input", ["id", "text", "text+id"])
@pytest.mark.parametrize("kind", ["hstu", "bert4rec"])
def test_the_next_step_is_found_whatever_items_are_made_of(walks: Split, small: dict[str, Any], kind: str, item_input: str) -> None:
    model = made(kind, small, item_input, **{"head.max_history": 8}).fit(walks.train, progress=False)
    print(hit_rate(model, walks))
    assert hit_rate(model, walks) > 0.9


@pytest.mark.parametrize("loss", ["full", "in-batch", "sampled", "gbce", "bpr"])
@pytest.mark.parametrize("contrast", ["cl4srec", "duorec"])
def test_a_contrast_goes_with_every_loss(split: Split, small: dict[str, Any], contrast: str, loss: str) -> None:
    settings = {**small, "loss.kind": loss, "loss.negatives": 8, "loss.contrast": contrast}
    model = create("idrec", settings=settings).fit(split.train, progress=False)
    assert hit_rate(model, split) > 0.7


def test_a_contrast_of_weight_zero_trains_as_none_does(split: Split, small: dict[str, Any]) -> None:
    """And one that weighs 100 does not: the loss of an epoch holds it."""
    losses = {}
    for weight in (None, 0.0, 100.0):
        contrast = {} if weight is None else {"loss.contrast": "duorec", "loss.contrast_weight": weight}
        model = create("idrec", settings={**small, "train.epochs": 1, **contrast}).fit(split.train, progress=False)
        losses[weight] = model.train_log.epochs[0].loss
    assert losses[0.0] == pytest.approx(losses[None], rel=1e-5)
    assert losses[100.0] > losses[None] + 50


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_saved_read_moved_and_gone_on_with(split: Split, small: dict[str, Any], tmp_path: Path, kind: str) -> None:
    model = made(kind, small, **{"train.epochs": 3}).fit(split.train, validation=split.validation, progress=False)
    model.save_pretrained(tmp_path / "model")
    loaded = Recommender.from_pretrained(tmp_path / "model")
    assert loaded.model_hash == model.model_hash
    histories = [history for history, _ in NEXT]
    assert loaded.recommend(histories, 5) == model.recommend(histories, 5)
    moved = loaded.with_catalog(ItemCatalog(split.catalog.ids, split.catalog.fields))
    assert moved.recommend(histories, 5).items == model.recommend(histories, 5).items
    on = loaded.continued(split.train, validation=split.validation, epochs=2, progress=False)
    assert len(on.train_log.epochs) == 2
    assert on.model_hash != model.model_hash


@pytest.fixture(scope="module")
def timed(catalog: ItemCatalog) -> Split:
    """Whoever took the last step after a day goes one item on, whoever took it after 10 seconds four; all else is by chance."""
    draw = np.random.default_rng(0)
    rows = []
    for user in range(150):
        item, time = int(draw.integers(20)), 1_600_000_000 + int(draw.integers(10_000_000))
        for _ in range(8):
            rows.append((f"u{user}", catalog.ids.ids[item], time))
            gap = int(draw.choice([10, 86_400]))
            later = int(draw.choice([10, 86_400])) if len(rows) % 8 == 1 else gap
            time, item = time + later, (item + (1 if rows_gap(rows) > 1000 else 4)) % 20
    return leave_one_out(Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), catalog))


def rows_gap(rows: list[tuple[str, Any, int]]) -> int:
    """Return the seconds between the last two steps of one user; 0 for a first step."""
    if len(rows) < 2 or rows[-2][0] != rows[-1][0]:
        return 0
    return rows[-1][2] - rows[-2][2]


@pytest.mark.parametrize("kind", ["hstu"])
def test_times_tell_what_order_does_not(timed: Split, small: dict[str, Any], kind: str) -> None:
    settings = {"head.layers": 2, "head.max_history": 8, "train.epochs": 60, "train.learning_rate": 0.01, "head.repeat_bias": False}
    model = made(kind, small, "id", **settings).fit(timed.train, progress=False)
    train = timed.train
    blind = made(kind, small, "id", **settings).fit(Interactions(train.catalog, train.users, train.sequences), progress=False)
    print(hit_rate(model, timed), hit_rate(blind, timed))
    assert hit_rate(model, timed) > 0.9
    assert hit_rate(blind, timed) < 0.7

"""A small shop for the page: ten products that everybody walks round, two that came after the training, one title that means harm."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_encoders import tiny_bert

from bertrec.cli.main import main

HOSTILE = "<img src=x onerror=\"document.title='harmed'\">"
# id, title, kind, price, in stock
PRODUCTS = [
    ("100", "Red Kettle", "kitchen", 25.0, True),
    ("101", "Blue Kettle", "kitchen", 27.5, True),
    ("102", "Green Teapot", "kitchen", 31.0, False),
    ("103", HOSTILE, "art", 12.0, True),
    ("104", "Oak Shelf", "wood", 80.0, True),
    ("105", "Pine Shelf", "wood", 60.0, False),
    ("106", "Steel Lamp", "light", 45.0, True),
    ("107", "Brass Lamp", "light", 55.0, True),
    ("108", "Wool Rug", "floor", 120.0, True),
    ("109", "Jute Rug", "floor", 90.0, False),
    ("110", "Copper Kettle", "kitchen", 49.0, True),
    ("111", "Paper Lamp", "light", 15.0, True),
]
NEW = {"Copper Kettle", "Paper Lamp"}
WALK = 10
TITLES = {row[0]: row[1] for row in PRODUCTS}


def write_shop(folder: Path) -> Path:
    """Write it as tables: each of 40 users walks five steps round the first ten products."""
    folder.mkdir(parents=True)
    rows = [f"{user},{100 + (user + step) % WALK},{step}.5" for user in range(1, 41) for step in range(5)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8")
    names = ("item_id", "title", "kind", "price", "in_stock")
    items = [json.dumps(dict(zip(names, row, strict=True))) for row in PRODUCTS]
    (folder / "items.jsonl").write_text("\n".join(items) + "\n", encoding="utf-8")
    return folder


def trained_shop(folder: Path) -> Path:
    """Return a run that was trained on it, of texts and IDs."""
    encoder = tiny_bert(folder / "encoder", [*TITLES.values(), "kitchen art wood light floor"], hidden=32)
    settings = [f"encoder.name={encoder}", "item.width=16", "head.layers=1", "train.batch_size=16"]
    words = ["train", str(write_shop(folder / "shop")), "--out", str(folder / "run"), "--epochs", "2", "--seed", "1"]
    assert main([*words, *(word for setting in settings for word in ("--set", setting))]) == 0
    return folder / "run"

"""New products of small made-up shops: the defaults beside the untrained similarities, each shop drawn anew.

    OMP_NUM_THREADS=1 python -m benchmarks.small_shops --draws 0 1 2 3 4 5
    python -m benchmarks.small_shops --table

``one``: 96 products of four kinds, 400 customers who each have one kind and buy of it four times of five, as in the tutorials.
``two``: some 65 products named in English or Korean, of uneven popularity; 300 customers with two kinds each. A tenth of the products is
held out by ``--split cold-items``. Draw N makes its own shop, split and training; the model is ``unisrec`` with all defaults and MiniLM.
A row that exists is not run again. Results: ``benchmarks/results-small-shops``.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from bertrec.comparison.draws import Draws, join, measured_draw
from bertrec.core.files import read_json, write_json
from bertrec.data.load import Dataset

RESULTS = Path(__file__).parent / "results-small-shops"
THINGS = {
    "shoes": ("Waterproof hiking boots", "Trail running shoes", "Leather winter boots", "Light walking shoes"),
    "camping": ("Two person tent", "Down sleeping bag", "Gas camping stove", "Folding camp chair"),
    "kitchen": ("Cast iron pan", "Enamel kettle", "Bread knife", "Stoneware teapot"),
    "cycling": ("Bicycle helmet", "Rear bike light", "Rain cape for cyclists", "Bike repair kit"),
}
COLOURS = ("black", "green", "blue", "red", "grey", "sand")
NAMES = {
    "tea": (("green tea leaves", "녹차 잎"), ("black tea bags", "홍차 티백"), ("jasmine tea tin", "자스민차"), ("barley tea", "보리차")),
    "coffee": (
        ("espresso beans", "에스프레소 원두"),
        ("drip coffee bags", "드립 커피"),
        ("decaf coffee", "디카페인 커피"),
        ("cold brew", "콜드브루"),
    ),
    "skin": (("hand cream", "핸드크림"), ("sun lotion", "선크림"), ("face mask sheet", "마스크팩"), ("lip balm", "립밤")),
    "paper": (("lined notebook", "줄 공책"), ("sticky notes", "점착 메모지"), ("fountain pen", "만년필"), ("pencil set", "연필 세트")),
    "toys": (("wooden blocks", "나무 블록"), ("puzzle of a map", "지도 퍼즐"), ("plush bear", "곰 인형"), ("toy train", "장난감 기차")),
}
SIZES = (("small", "소"), ("large", "대"), ("gift", "선물용"))

Product = tuple[str, str, str, float]
"""Id, title, kind, weight."""
Habits = tuple[int, int, float, tuple[int, int]]
"""Customers, kinds that each likes, the share of purchases of these, fewest and most purchases."""


def one_taste(draw: random.Random) -> tuple[list[Product], Habits]:
    """Return products and habits."""
    products = [(f"{t}, {c}", kind) for kind, things in THINGS.items() for t in things for c in COLOURS]
    return [(f"p{number:03d}", title, kind, 1.0) for number, (title, kind) in enumerate(products)], (400, 1, 0.8, (4, 9))


def two_languages(draw: random.Random) -> tuple[list[Product], Habits]:
    """Return the same; each size of a thing is sold under its English name, its Korean one, both or neither."""
    named = [(names, sizes, kind) for kind, things in NAMES.items() for names in things for sizes in SIZES]
    titles = [(f"{names[k]} {sizes[k]}", kind) for names, sizes, kind in named for k in (0, 1) if draw.random() < (0.6, 0.5)[k]]
    products = [(f"p{number:03d}", title, kind, draw.paretovariate(1.5)) for number, (title, kind) in enumerate(titles)]
    return products, (300, 2, 0.85, (3, 12))


SHOPS: dict[str, Callable[[random.Random], tuple[list[Product], Habits]]] = {"one": one_taste, "two": two_languages}


def shop(name: str, seed: int) -> Dataset:
    """Return one shop."""
    draw = random.Random(f"{name} {seed}")
    products, (customers, tastes, faithful, (fewest, most)) = SHOPS[name](draw)
    kinds, rows = sorted({product[2] for product in products}), []
    for customer in range(customers):
        liked = draw.sample(kinds, tastes)
        own = [product for product in products if product[2] in liked]
        for day in range(draw.randint(fewest, most)):
            offered = own if draw.random() < faithful else products
            bought = draw.choices(offered, [product[3] for product in offered])[0]
            rows.append((f"u{customer}", bought[0], 1_700_000_000 + 86_400 * day + customer))
    items = pd.DataFrame([product[:3] for product in products], columns=["item_id", "title", "category"])
    return Dataset.from_frames(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), items, name=f"{name}-{seed}")


def table() -> None:
    """Print means over the users of all draws, and the run beside the better untrained similarity."""
    for name in SHOPS:
        rows: list[dict[str, Any]] = [read_json(path) for path in sorted(RESULTS.glob(f"{name}-*.json"))]
        if not rows:
            continue
        joined = join(rows)
        print(f"{name}: draws {joined['draws']}, {joined['users']} users")
        for model, figures in joined["models"].items():
            print(f"    {model}: {figures}")
        print(f"    {joined['against']}")
        for when in ("before", "after"):
            print(f"    others {when} the weights of new items: {sum(row['others'][when] for row in rows) / len(rows):.4f}")


def main() -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--table", action="store_true", help="print what there is")
    given = parser.parse_args()
    for draw in [] if given.table else given.draws:
        for name in SHOPS:
            if not (path := RESULTS / f"{name}-{draw}.json").exists():
                dataset, plan = shop(name, draw), Draws()
                row, _ = measured_draw(plan, plan.split(dataset, draw), draw, progress=False)
                write_json(path, row)
                print(f"wrote {path}", flush=True)
    table()


if __name__ == "__main__":
    main()

"""Parts of users and items of a small shop, and whether Spark can be started."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pandas as pd

TITLES = [
    "Red Kettle",
    "Blue Kettle",
    "Green Teapot",
    "Oak Shelf",
    "Pine Shelf",
    "Steel Lamp",
    "Brass Lamp",
    "Wool Rug",
    "Jute Rug",
    "Tea Cup",
]
NEW = ["Copper Kettle", "Copper Lamp", "Oak Rug", "Pine Teapot", "Brass Cup", "Jute Shelf", "Steel Kettle"]


def no_spark() -> str | None:
    """Return why no Spark can be started here."""
    try:
        import pyspark  # noqa: F401
    except ImportError:
        return "pyspark is not installed: pip install 'bertrec[spark]'"
    home = os.environ.get("JAVA_HOME")
    return None if shutil.which("java", path=f"{home}/bin" if home else None) else "no Java"


def write_users(folder, parts, each, *, seed=0):
    """Write parts of users with histories of one to six items; every tenth history holds nothing of the shop."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    for part in range(parts):
        lists = [[str(item) for item in draw.integers(100, 110, draw.integers(1, 7))] for _ in range(each)]
        lists = [["gone"] if row % 10 == 9 else one for row, one in enumerate(lists)]
        users = [f"p{part}-u{row}" for row in range(each)]
        pd.DataFrame({"user_id": users, "history": lists}).to_parquet(folder / f"part-{part:05}.parquet")
    return folder


def write_items(folder, parts, each):
    """Write parts of items that the run has not met."""
    folder.mkdir(parents=True)
    for part in range(parts):
        numbers = range(part * each, (part + 1) * each)
        rows = {"item_id": [f"n{n}" for n in numbers], "title": [f"{NEW[n % 7]} {TITLES[n % 10]}" for n in numbers], "price": list(numbers)}
        pd.DataFrame(rows).to_parquet(folder / f"part-{part:05}.parquet")
    return folder

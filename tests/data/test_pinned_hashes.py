"""Hashes and splits of small data sets, as they were when these values were written down: reports and runs name data by them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertrec.data.load import LoadOptions, load, make_split

PINNED = json.loads(Path(__file__).with_name("pinned_hashes.json").read_text())
SPLITS = {
    "leave_one_out": {},
    "ratio": {"validation_share": 0.2, "test_share": 0.2},
    "ratio_first": {"targets": "first"},
    "time": {},
    "cold_items": {"share": 0.2, "seed": 3},
    "given": {},
}


def events(count=400, users=23, items=31):
    """Rows by arithmetic alone, with repeats, ties in time, users of one row and items that nobody met."""
    row = np.arange(count)
    frame = pd.DataFrame({"user_id": (row * row + 3 * row) % users, "item_id": (row * 7 + row // 5) % (items - 2)})
    frame["timestamp"] = 1_600_000_000 + (row * 37 % 211) * 3600
    frame["rating"] = (row % 9) / 2 + 0.5
    frame.loc[count] = [users + 5, 1, 1_600_000_001, 2.0]
    return frame.astype({"user_id": "int64", "item_id": "int64"})


def titles(items=31):
    return pd.DataFrame({"item_id": range(items), "title": [f"Title {item % 7} of {item} é" for item in range(items)]})


def named(frame):
    """The same rows with texts as ids."""
    return frame.assign(**{name: [f"{name[0]}-{value:03d}ß" for value in frame[name]] for name in frame if name.endswith("_id")})


FRAMES = {
    "numbers": lambda: (events(), titles()),
    "texts": lambda: (named(events()), named(titles())),
    "without_times": lambda: (events()[["user_id", "item_id"]], titles()),
    "positions": lambda: (
        events()[["user_id", "item_id"]].assign(timestamp=events().groupby("user_id").cumcount()),
        titles(),
    ),
    "fractions": lambda: (events().assign(timestamp=events().timestamp + 0.25), titles()),
    "dates": lambda: (events().assign(timestamp=pd.to_datetime(events().timestamp, unit="s")), titles()),
    "unknown_items": lambda: (named(events()), named(titles().iloc[:20])),
    "labels": lambda: (events().assign(label=(np.arange(401) % 4 > 0).astype(int), weight=np.arange(401) / 7), titles()),
    "parts": lambda: (
        events().assign(split=np.array(["train", "valid", "test"])[np.arange(401) % 7 // 5 + (np.arange(401) % 7 == 6)]),
        titles(),
    ),
}
OPTIONS = {
    "plain": LoadOptions(),
    "filtered": LoadOptions(duplicates="last", k_core=3),
}


def short(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def found(dataset):
    """Everything that is pinned of a data set."""
    notes = [note.split(": ", 1)[-1] for note in dataset.notes]  # without the name of the file or frame
    values = {"data": dataset.content_hash, "notes": short(repr(notes))}
    for name, options in SPLITS.items():
        try:
            split = make_split(dataset, name.removesuffix("_first"), **options)
        except Exception as error:  # which splits do not fit is pinned, too
            values[name] = type(error).__name__
            continue
        values[name] = short(split.content_hash + json.dumps(split.manifest["counts"], sort_keys=True))
    return values


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", FRAMES)
def test_frames_parquet_and_parts_have_the_hashes_they_had(name, options, tmp_path):
    interactions, items = FRAMES[name]()
    expected = PINNED[f"{name} {options}"]
    assert found(load(interactions, OPTIONS[options], items=items)) == expected
    pq.write_table(pa.Table.from_pandas(interactions, preserve_index=False), tmp_path / "interactions.parquet", row_group_size=64)
    pq.write_table(pa.Table.from_pandas(items, preserve_index=False), tmp_path / "items.parquet")
    again = found(load(tmp_path, OPTIONS[options]))
    assert {**again, "notes": expected["notes"]} == expected


def test_csv_has_the_hash_it_had(tmp_path):
    interactions, items = FRAMES["labels"]()
    interactions.to_csv(tmp_path / "interactions.csv", index=False)
    items.to_csv(tmp_path / "items.csv", index=False)
    assert found(load(tmp_path)) | {"notes": ""} == PINNED["csv"] | {"notes": ""}


@pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="ml-100k comes with RecBole")
def test_ml_100k_has_the_hash_it_had():
    dataset = load("ml-100k")
    assert [dataset.content_hash, make_split(dataset).content_hash] == PINNED["ml-100k"]

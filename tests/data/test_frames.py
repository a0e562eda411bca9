"""Data frames are data: the same data set as of the same tables in files, with the same notes and errors."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import bertrec
from bertrec.core.errors import BertrecError, ConfigError, DataError
from bertrec.data.options import LoadOptions
from bertrec.models import Recommendations

ITEMS = {"item_id": ["a", "b", "c", "d"], "title": ["Ant", "Bee", "Cat", "Dog"], "year": [1, 2, 3, 4]}
CLICKS = {
    "user_id": ["u", "u", "u", "v", "v", "v"],
    "item_id": ["a", "b", "c", "d", "c", "b"],
    "when": [3.0, 1.0, 2.0, 4.0, 5.0, 6.0],
    "rating": [1.0, 2.0, 3.0, 4.0, 5.0, 5.0],
    "page": ["x"] * 6,
}
USERS = {"user_id": ["u", "v"], "job": ["baker", "smith"]}
MAKERS = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "lazy": lambda columns: pl.DataFrame(columns).lazy(),
    "pyarrow": pa.table,
    "nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "categories": lambda columns: pd.DataFrame(columns).astype({name: "category" for name in columns if name.endswith("_id")}),
}
BY_TIME = LoadOptions(time_column="when")


@pytest.fixture(scope="module")
def from_parquet(tmp_path_factory):
    return bertrec.load(written(tmp_path_factory.mktemp("shop"), "parquet"), BY_TIME)


def written(folder, kind):
    for name, columns in {"interactions": CLICKS, "items": ITEMS, "users": USERS}.items():
        frame = pd.DataFrame(columns)
        frame.to_csv(folder / f"{name}.csv", index=False) if kind == "csv" else frame.to_parquet(folder / f"{name}.parquet")
    return folder


@pytest.mark.parametrize("maker", MAKERS)
def test_a_frame_is_the_data_set_of_the_same_table_in_a_file(maker, from_parquet, tmp_path):
    make = MAKERS[maker]
    dataset = bertrec.load(make(CLICKS), BY_TIME, items=make(ITEMS), users=make(USERS))
    assert dataset.content_hash == from_parquet.content_hash == bertrec.load(written(tmp_path, "csv"), BY_TIME).content_hash
    assert dataset.users.content_hash == from_parquet.users.content_hash
    assert [list(row) for row in dataset.interactions.sequences] == [[2, 3, 1], [4, 3, 2]]
    assert (dataset.name, dataset.format) == ("frames", "frames")
    theirs = [note.partition(": ")[2] for note in from_parquet.notes]
    assert [note.partition(": ")[2] for note in dataset.notes] == theirs
    assert dataset.notes[1] == "the frame of interactions: columns: used 'user_id', 'item_id', 'when'; carried 'rating' (for minimum " + (
        "ratings and rankers); ignored 'page'"
    )


def test_ml_100k_as_frames_is_ml_100k():
    pytest.importorskip("recbole")
    own = bertrec.load("ml-100k")
    again = bertrec.Dataset.from_frames(own.interactions.to_frame("polars"), own.catalog.to_frame("polars"), name="ml-100k")
    assert repr(again) == "Dataset(name='ml-100k', format='frames', users=943, items=1682, interactions=100000)"
    assert again.interactions.users == own.interactions.users
    assert bertrec.make_split(again).test.content_hash == bertrec.make_split(own).test.content_hash


def test_columns_are_named_as_in_a_yaml_description(from_parquet):
    names = {"user_id": "uid", "item_id": "sku", "timestamp": "when"}
    clicks = pd.DataFrame(CLICKS).rename(columns={ours: theirs for ours, theirs in names.items() if ours != "timestamp"})
    dataset = bertrec.load(clicks, items=pl.DataFrame(ITEMS).rename({"item_id": "sku"}), columns=names)
    assert dataset.content_hash == from_parquet.content_hash
    numbered = pd.DataFrame(CLICKS)
    numbered.columns = range(5)
    columns = {"user_id": 0, "item_id": 1, "timestamp": 2, "rating": 3}
    assert bertrec.load(numbered, items=pd.DataFrame(ITEMS), columns=columns).content_hash == from_parquet.content_hash


def test_options_count_as_for_files():
    dataset = bertrec.load(pd.DataFrame(CLICKS), LoadOptions(min_rating=4, time_column="none"), items=pd.DataFrame(ITEMS))
    assert dataset.interactions.to_frame().to_dict("list") == {
        "user_id": ["v"] * 3,
        "item_id": ["d", "c", "b"],
        "rating": [4.0, 5.0, 5.0],
    }


def test_items_may_be_the_ids_of_the_interactions_alone():
    clicks = pd.DataFrame(CLICKS)
    dataset = bertrec.load(clicks, items=clicks[["item_id"]])
    assert dataset.catalog.ids.ids == ["a", "b", "c", "d"]
    assert any("2 rows repeat the id" in note for note in dataset.notes)


def frame(**changes):
    return pd.DataFrame(CLICKS | changes)


BAD = [
    (frame(), {"items": None}, DataError, r"needs its items: give them, as in bertrec.load\(frame, items=items\)"),
    ("ml-100k", {"items": ITEMS}, DataError, "items, users and columns go with a data frame"),
    (frame(), {"items": [1]}, DataError, "the frame of items: expected a pandas, polars or PyArrow table, got list"),
    (frame().rename(columns={"user_id": "uid"}), {}, DataError, r"interactions: no column 'user_id' .* columns=\{'user_id': NAME\}"),
    (frame(), {"columns": {"user_id": "uid"}}, DataError, "no table has the column 'uid' that is to be 'user_id'"),
    (frame(), {"columns": {"user_id": "page"}}, DataError, "'page' is to be 'user_id', but there is a column 'user_id' already"),
    (frame(), {"columns": ["user_id"]}, ConfigError, "columns is a list, not a mapping: give"),
    (frame().set_index("user_id"), {}, DataError, r"'user_id' is its index and no column: give frame.reset_index\(\)"),
    (
        pd.concat([frame(), frame()[["page"]]], axis=1),
        {},
        DataError,
        "the frame of interactions cannot be read: .*rename or leave out",
    ),
    (pa.table([[1], [2]], names=["a", "a"]), {}, DataError, "interactions cannot be read: .*rename or leave out"),
    (frame().iloc[:0], {}, DataError, "the frame of interactions: no rows"),
    (frame(item_id=range(6)), {}, DataError, "item ids as text and the other as numbers: make them alike"),
    (frame(user_id=["u", 1, "u", "v", "v", "v"]), {}, DataError, "row 2, column 'user_id' mixes types"),
    (frame(user_id=["u", None, "u", "v", "v", "v"]), {}, DataError, "row 2, column 'user_id': the id is missing"),
    (frame(rating=[1.0, np.nan, 3, 4, 5, 5]), {}, DataError, "row 2, column 'rating': .* in a YAML description or LoadOptions"),
    (frame(date=CLICKS["when"], time=CLICKS["when"]), {}, DataError, "look like times: .* or LoadOptions"),
    (frame(), {"options": LoadOptions(separator=";")}, ConfigError, "'separator' says how a file was written: leave it out"),
    (frame(), {"options": LoadOptions(format="tables")}, ConfigError, "'format' says how a file was written"),
]


@pytest.mark.parametrize(("data", "given", "error", "said"), BAD, ids=[row[3][:40] for row in BAD])
def test_what_is_wrong_is_one_line_with_the_mend(data, given, error, said):
    with pytest.raises(error, match=said) as caught:
        bertrec.load(data, **{"items": pd.DataFrame(ITEMS)} | given)
    assert "\n" not in str(caught.value)


def test_lists_and_reports_become_frames_of_the_wanted_library():
    found = Recommendations([["a", "b"], [], ["c"]], [[2.0, 1.0], [], [5.0]], [None, None, "popularity"])
    rows = {"history": [0, 0, 2], "rank": [1, 2, 1], "item_id": ["a", "b", "c"], "score": [2.0, 1.0, 5.0]}
    rows["fallback"] = [None, None, "popularity"]
    assert found.to_frame().equals(pd.DataFrame(rows))
    assert found.to_frame("polars").to_dict(as_series=False) == found.to_frame("pyarrow").to_pydict() == rows
    named = found.to_frame("pyarrow", users=["x", "y", 7]).to_pydict()
    assert list(named) == ["user_id", "rank", "item_id", "score", "fallback"]
    assert named["user_id"] == ["x", "x", "7"]
    assert Recommendations([], []).to_frame("pyarrow").num_rows == 0
    with pytest.raises(DataError, match="1 users for 3 histories"):
        found.to_frame(users=["x"])


def test_a_report_has_a_row_for_each_slice_and_metric():
    split = bertrec.make_split(bertrec.load(pd.DataFrame(CLICKS), BY_TIME, items=pd.DataFrame(ITEMS)))
    report = bertrec.evaluate(bertrec.create("popularity").fit(split), split)
    table = report.to_frame("polars").rows(named=True)
    assert [(row["slice"], row["metric"]) for row in table] == [(name, m) for name, part in report.slices.items() for m in part.metrics]
    for row in table:
        value = report.slices[row["slice"]].metrics[row["metric"]]
        assert (row["mean"], row["users"]) == (value.mean, report.slices[row["slice"]].users)
        assert np.isnan(row["ci95_low"]) if value.ci95 is None else (row["ci95_low"], row["ci95_high"]) == value.ci95


def test_without_pandas_a_frame_is_of_pyarrow(monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("pandas", "polars") else there(name))
    catalog = bertrec.ItemCatalog.from_frame(pa.table(ITEMS))
    assert catalog.to_frame().equals(pa.table({"item_id": ITEMS["item_id"], "title": ITEMS["title"]}))
    with pytest.raises(ConfigError, match="polars is not installed:  pip install polars, or take backend='pyarrow'"):
        catalog.to_frame("polars")
    with pytest.raises(BertrecError, match=r"unknown data frame library 'pola'.*did you mean 'polars'"):
        catalog.to_frame("pola")


def test_columns_of_items_that_are_no_text_stay_as_they_were_typed() -> None:
    items = pd.DataFrame(
        {"item_id": ["a", "b"], "title": ["Lamp", "Chair"], "price": [3.5, None], "in_stock": [True, False], "code": ["1", "2"]}
    )
    shop = bertrec.load(pd.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"]}), items=items)
    kept = shop.interactions.catalog.attributes
    assert kept is not None
    assert kept["price"].to_pylist() == [3.5, None]
    assert kept["in_stock"].to_pylist() == [True, False]
    model = bertrec.create("popularity").fit(shop.interactions)
    assert model.recommend([["b"]], 2, exclude_seen=False, rules=bertrec.Rules(filter="price < 4")).items == [["a"]]
    assert model.recommend([["b"]], 2, exclude_seen=False, rules=bertrec.Rules(filter="not in_stock")).items == [["b"]]

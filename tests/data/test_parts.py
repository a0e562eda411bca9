"""Folders and patterns of Parquet parts: the same data as one file, and one line where a part does not fit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.core.ordering import stable_order
from bertrec.data import codes
from bertrec.data.load import LoadOptions, load
from bertrec.data.readers import parts

ROWS = {
    "user_id": ["v", "u", "v", "w", "u", "u"],
    "item_id": ["a", "b", "b", "c", "a", "c"],
    "timestamp": [5, 4, 3, 2, 1, 0],
    "rating": [1.0, 2.0, 3.0, 4.0, 5.0, 5.0],
    "device": ["x"] * 6,
}


def table(start=0, stop=6, **other):
    return pa.table({name: column[start:stop] for name, column in {**ROWS, **other}.items() if column is not None})


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "shop"
    (folder / "interactions").mkdir(parents=True)
    pq.write_table(pa.table({"item_id": ["a", "b", "c"], "title": ["A", "B", "C"]}), folder / "items.parquet")
    pq.write_table(table(0, 2), folder / "interactions" / "part-0.parquet")
    pq.write_table(table(2, 6), folder / "interactions" / "part-1.parquet")
    return folder


@pytest.fixture
def whole(tmp_path):
    folder = tmp_path / "whole"
    folder.mkdir()
    pq.write_table(pa.table({"item_id": ["a", "b", "c"], "title": ["A", "B", "C"]}), folder / "items.parquet")
    pq.write_table(table(), folder / "interactions.parquet")
    return load(folder)


def described(shop, interactions, more=""):
    (shop / "data.yaml").write_text(f"interactions: '{interactions}'\nitems: items.parquet\n{more}")
    return load(shop / "data.yaml")


def test_a_folder_of_parts_is_the_table(shop, whole):
    found = load(shop)
    assert found.content_hash == whole.content_hash
    assert found.interactions.users.ids == ["v", "u", "w"]
    assert any("ignored 'device'" in note for note in found.notes)


@pytest.mark.parametrize(
    "where", ["interactions", "interactions/", "interactions/*.parquet", "inter*/part-[01].parquet", "**/part-?.parquet", "inter*"]
)
def test_a_description_names_a_folder_or_a_pattern(shop, whole, where):
    assert described(shop, where).content_hash == whole.content_hash


def test_marks_and_checksums_beside_the_parts_do_not_count(shop, whole):
    (shop / "interactions" / "_SUCCESS").write_text("")
    (shop / "interactions" / ".part-0.parquet.crc").write_text("crc")
    assert load(shop).content_hash == whole.content_hash


def test_a_folder_called_parquet_and_items_in_parts(shop, whole):
    (shop / "interactions").rename(shop / "interactions.parquet")
    (shop / "items").mkdir()
    items = pq.read_table(shop / "items.parquet")
    (shop / "items.parquet").unlink()
    for row in range(3):
        pq.write_table(items.slice(row, 1), shop / "items" / f"{row}.parquet")
    assert load(shop).content_hash == whole.content_hash


def test_folders_named_by_a_column_give_its_values(shop, whole):
    for name in ("part-0", "part-1"):
        (shop / "interactions" / f"{name}.parquet").unlink()
    for day, (start, stop) in {"2024-01-03": (0, 2), "2024-01-01": (2, 6)}.items():
        for rating in range(1, 6):
            rows = table(start, stop, timestamp=None).filter(pa.array([value == rating for value in ROWS["rating"][start:stop]]))
            place = shop / "interactions" / f"day={day}" / f"rating={rating}"
            place.mkdir(parents=True)
            pq.write_table(rows.drop_columns("rating"), place / "0.parquet")
    found = described(shop, "interactions", "time_column: day\n").interactions
    frame = found.to_frame("pyarrow")
    seen = set(zip(*(frame[name].to_pylist() for name in ("user_id", "item_id", "rating")), strict=True))
    assert seen == set(zip(ROWS["user_id"], ROWS["item_id"], ROWS["rating"], strict=True))
    assert sorted(set(found.timestamp.tolist())) == [1704067200.0, 1704240000.0]  # the two days
    only = described(shop, "interactions/day=2024-01-03").interactions
    assert len(only) == 2


def test_a_month_of_zeros_stays_text_and_nothing_is_missing():
    said = [{"month": "01", "year": "2024"}, {"month": "12", "year": None}]
    assert parts._typed(said) == [{"month": "01", "year": 2024}, {"month": "12", "year": None}]


def test_only_the_columns_that_are_needed_are_read(shop):
    read = parts.read_interactions(shop / "interactions")
    assert read.column_names == list(ROWS)
    assert read["device"].null_count == 6
    assert pa.types.is_dictionary(read["user_id"].type)
    assert read["user_id"].to_pylist() == ROWS["user_id"]


def test_a_time_of_another_name_is_found_among_the_others(shop, tmp_path):
    for name, (start, stop) in {"part-0": (0, 2), "part-1": (2, 6)}.items():
        renamed = table(start, stop).rename_columns(["user_id", "item_id", "watched_at", "rating", "device"])
        renamed = renamed.set_column(2, "watched_at", pa.array([1.6e9 + value for value in renamed["watched_at"].to_pylist()]))
        pq.write_table(renamed, shop / "interactions" / f"{name}.parquet")
    found = load(shop)
    assert any("column 'watched_at' is taken as the time" in note for note in found.notes)
    assert found.interactions.timestamp.min() == 1.6e9


def test_renamed_columns_of_parts_are_read(shop, whole):
    for name, (start, stop) in {"part-0": (0, 2), "part-1": (2, 6)}.items():
        pq.write_table(
            table(start, stop).rename_columns(["uid", "sku", "when", "stars", "device"]), shop / "interactions" / f"{name}.parquet"
        )
    found = described(shop, "interactions", "columns: {user_id: uid, item_id: sku, timestamp: when, rating: stars}\n")
    assert found.content_hash == whole.content_hash


def test_widths_and_kinds_of_text_may_differ_between_parts(shop, whole):
    first = table(0, 2)
    first = first.set_column(2, "timestamp", first["timestamp"].cast(pa.int32())).set_column(
        0, "user_id", first["user_id"].cast(pa.large_string())
    )
    first = first.set_column(1, "item_id", first["item_id"].dictionary_encode())
    pq.write_table(first, shop / "interactions" / "part-0.parquet")
    assert load(shop).content_hash == whole.content_hash


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            b"user_id,item_id\nu,a\n",
            r"part-1\.parquet: cannot be read as Parquet, it is truncated or damaged \(.*\): correct it, or leave it out",
        ),
        (table(2, 6, user_id=None), r"part-1\.parquet: no column 'user_id', which .*part-0\.parquet has: write the parts alike, or leave"),
        (table(2, 6, rating=None), r"part-1\.parquet: no column 'rating', which .*part-0\.parquet has"),
        (table(2, 6, label=[1] * 6), r"part-0\.parquet: no column 'label', which .*part-1\.parquet has"),
        (
            table(2, 6, user_id=[1] * 6),
            r"part-1\.parquet: column 'user_id' is of type int64, and in .*part-0\.parquet of type string: write",
        ),
        (table(2, 6, rating=["5"] * 6), r"part-1\.parquet: column 'rating' is of type string, and in .* of type double"),
    ],
)
def test_a_part_that_does_not_fit_is_named(shop, part, message):
    target = shop / "interactions" / "part-1.parquet"
    target.write_bytes(part) if isinstance(part, bytes) else pq.write_table(part, target)
    with pytest.raises(DataError, match=message) as caught:
        load(shop)
    assert "\n" not in str(caught.value)


def test_columns_that_nobody_needs_may_differ(shop, whole):
    pq.write_table(table(2, 6, device=[7] * 6), shop / "interactions" / "part-1.parquet")
    assert load(shop).content_hash == whole.content_hash


def test_what_names_no_data_set_says_what_does(shop):
    with pytest.raises(DataError, match=r"\*\.parquet: Parquet files alone are no data set.*write a YAML description"):
        load(f"{shop}/interactions/*.parquet")
    with pytest.raises(DataError, match=r"interactions: Parquet files alone are no data set"):
        load(shop / "interactions")
    with pytest.raises(DataError, match=r"nothing-\*\.parquet: matches no file: name a folder of Parquet files, or a pattern"):
        described(shop, "nothing-*.parquet")
    (shop / "interactions.csv").write_text("user_id,item_id\nu,a\n")
    with pytest.raises(DataError, match=r"both interactions\.csv and interactions are there"):
        load(shop)


def test_a_missing_id_in_a_later_part_is_named_by_its_row(shop):
    pq.write_table(table(2, 6, user_id=["v", "u", "v", None, "u", "u"]), shop / "interactions" / "part-1.parquet")
    with pytest.raises(DataError, match="row 4, column 'user_id': the id is missing"):
        load(shop)


@pytest.mark.parametrize("ids", [[7, 8, 7, 9, 8, 8], ["7", "8", "7", "9", "8", "8"]])
def test_number_and_text_ids_of_parts_meet_a_csv_of_items(shop, ids):
    for name, (start, stop) in {"part-0": (0, 2), "part-1": (2, 6)}.items():
        pq.write_table(table(start, stop, item_id=ids), shop / "interactions" / f"{name}.parquet")
    (shop / "items.parquet").unlink()
    (shop / "items.csv").write_text("item_id,title\n9,N\n8,E\n7,S\n")
    found = load(shop, LoadOptions(time_column="none"))
    assert found.interactions.catalog.ids.decode(found.interactions.sequences[0]) == ["7", "7"]


values = st.lists(st.text(max_size=2), max_size=20) | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20)


@settings(max_examples=80, deadline=None)
@given(values, st.integers(1, 7), st.sampled_from([0, 40, 1 << 20]))
def test_codes_by_batches_are_those_of_the_whole(column, size, gathered):
    kind = pa.string() if column and isinstance(column[0], str) else pa.int64()
    held, before = codes.Codes(), codes._GATHERED
    codes._GATHERED = gathered
    try:
        for start in range(0, len(column), size):
            held.add(pa.array(column[start : start + size], kind))
        found = held.array(kind)
    finally:
        codes._GATHERED = before
    assert found.to_pylist() == column
    if column:
        distinct, places = codes.by_appearance(found)
        assert distinct.to_pylist() == list(dict.fromkeys(column))
        assert [distinct[place].as_py() for place in places.tolist()] == column


def test_unused_and_unordered_values_of_a_dictionary_do_not_count():
    column = pa.DictionaryArray.from_arrays(pa.array([2, 0, 2], pa.int8()), pa.array(["a", "unused", "b"]))
    distinct, places = codes.appearing(pa.chunked_array([column, column]))
    assert (distinct.to_pylist(), places.tolist()) == (["b", "a"], [0, 1, 0, 0, 1, 0])
    assert codes.appearing(pa.array(["a", None]).dictionary_encode()) is None
    assert codes.appearing(pa.array(["a", ""]).dictionary_encode()) is None
    assert codes.appearing(pa.array(["a"])) is None


times = st.integers(0, 3) | st.integers(-(2**40), 2**40) | st.floats(-1e18, 1e18) | st.just(2.0**60)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), times), max_size=30))
def test_the_order_is_that_of_lexsort(rows):
    groups, moments = np.array([row[0] for row in rows], np.int32), np.array([row[1] for row in rows], np.float64)
    assert stable_order(groups, moments).tolist() == np.lexsort((moments, groups)).tolist()
    assert stable_order(groups).tolist() == np.argsort(groups, kind="stable").tolist()

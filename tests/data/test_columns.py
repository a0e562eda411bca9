"""Which column is the time, what is said of the others, and rows that lack a value or a click."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from bertrec.core.errors import DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.load import LoadOptions, load, make_split
from bertrec.models.popularity import Popularity

SECONDS = 1_600_000_000  # 2020-09-13 12:26:40 UTC
# By these times item a is the newest: b, c, a.
TEXTS = ["2020-09-15", "2020-09-13", "2020-09-14"]
NUMBERS = [SECONDS + 9, SECONDS, SECONDS + 5]


@pytest.fixture
def catalog() -> ItemCatalog:
    return ItemCatalog.from_frame(pd.DataFrame({"item_id": ["a", "b", "c"], "title": ["A", "B", "C"]}))


def frame(**columns) -> pd.DataFrame:
    return pd.DataFrame({"user_id": ["u", "u", "u"], "item_id": ["a", "b", "c"], **columns})


def order(interactions: Interactions) -> str:
    return "".join(interactions.catalog.ids.decode(interactions.sequences.values))


@pytest.mark.parametrize(
    "name", ["time", "datetime", "event_time", "Timestamp", "last_watch_dt", "t_dat", "created_at", "reviewTime", "ts", "date", "orderdate"]
)
@pytest.mark.parametrize("values", [TEXTS, NUMBERS, [number * 1000 for number in NUMBERS]])
def test_a_time_column_under_another_name_is_taken_and_said(catalog, name, values):
    built = Interactions.from_frame(frame(**{name: values}), catalog)
    assert order(built) == "bca"
    assert f"the interaction table: column '{name}' is taken as the time (timestamp)" in built.notes


def test_a_typed_column_and_iso_text_are_times_whatever_their_name(catalog):
    for values in (pd.to_datetime(TEXTS), pd.to_datetime(TEXTS, utc=True), TEXTS):
        assert order(Interactions.from_frame(frame(clicked=values), catalog)) == "bca"


@pytest.mark.parametrize("name", ["watch_time", "update", "price", "session_id"])
def test_durations_and_other_numbers_are_no_times(catalog, name):
    built = Interactions.from_frame(frame(**{name: [9, 1, 5]}), catalog)
    assert (order(built), built.timestamp) == ("abc", None)
    assert built.notes == (f"the interaction table: columns: used 'user_id', 'item_id'; ignored '{name}'",)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"order_date": TEXTS, "ship_date": TEXTS}, "columns 'order_date', 'ship_date' look like times: say which one is"),
        ({"clicked": NUMBERS}, "the numbers of column 'clicked' look like times"),
        (
            {"event_time": ["13/09/2020", "14/09/2020", "x"]},
            "'event_time': '13/09/2020' is neither a number nor an ISO time.*--time-format",
        ),
        ({"time": [1, "x", 2]}, "column 'time' looks like a time but mixes types"),
    ],
)
def test_what_looks_like_a_time_and_is_not_taken_stops(catalog, columns, said):
    with pytest.raises(DataError, match=said) as caught:
        Interactions.from_frame(frame(**columns), catalog)
    assert "\n" not in str(caught.value)
    built = Interactions.from_frame(frame(**columns), catalog, timestamp="none")
    assert (order(built), built.timestamp) == ("abc", None)


def test_a_column_called_timestamp_wins_and_the_other_is_named(catalog):
    built = Interactions.from_frame(frame(timestamp=NUMBERS, added=TEXTS[::-1], rating=[1, 2, 3]), catalog)
    assert order(built) == "bca"
    carried = "carried 'rating' (for minimum ratings and rankers)"
    assert built.notes == (f"the interaction table: columns: used 'user_id', 'item_id', 'timestamp'; {carried}; ignored 'added'",)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("2020-09-13 12:26:40 UTC", 0),
        ("2020-09-13 12:26:40.5 UTC", 0.5),
        ("2020-09-13T12:26:40GMT", 0),
        ("2020-09-13 12:26:40.000001999", 1e-6),
        ("2020-09-13T12:26:40.123456789Z", 0.123456),
        ("2020-09-13 12:26:40,25", 0.25),
        ("20200913T122640Z", 0),
        ("20200913T122640", 0),
        ("20200913 12:26:40", 0),
        ("20200913T142640+0200", 0),
        ("2020-09-13 14:26:40 +0200", 0),
        ("2020-09-13 14:26:40 +02:00", 0),
        (str(SECONDS), 0),
    ],
)
def test_forms_of_times(catalog, text, after):
    built = Interactions.from_frame(frame(timestamp=[text] * 3), catalog)
    assert built.timestamp - SECONDS == pytest.approx([after] * 3, abs=5e-7)


def test_a_time_format_reads_the_rest_and_names_what_it_does_not_fit(catalog):
    values = ["15/09/2020 10:00", "13/09/2020 10:00", "14/09/2020 10:00"]
    built = Interactions.from_frame(frame(seen_at=values), catalog, time_format="%d/%m/%Y %H:%M")
    assert order(built) == "bca"
    assert built.timestamp[0] == dt.datetime(2020, 9, 13, 10, tzinfo=dt.UTC).timestamp()
    with pytest.raises(DataError, match=r"row 2, column 'seen_at': '13/09/2020' is not written as"):
        Interactions.from_frame(frame(seen_at=[values[0], "13/09/2020", values[2]]), catalog, time_format="%d/%m/%Y %H:%M")


@pytest.mark.parametrize("empty", ["", "NaN", "null", "None", "N/A"])
@pytest.mark.parametrize("name", ["timestamp", "rating", "label", "weight"])
def test_rows_that_lack_a_value_stop_or_are_dropped_and_counted(catalog, name, empty):
    given = frame(**{name: ["3", empty, "5"]})
    with pytest.raises(DataError, match=rf"row 2, column '{name}': the value is missing.*--on-missing drop"):
        Interactions.from_frame(given, catalog)
    built = Interactions.from_frame(given, catalog, on_missing="drop")
    assert order(built) == "ac"
    assert f"the interaction table: 1 of 3 rows have no '{name}' (dropped)" in built.notes


def test_rows_that_lack_every_value_cannot_all_be_dropped(catalog):
    with pytest.raises(DataError, match="no row is left"):
        Interactions.from_frame(frame(rating=[None] * 3), catalog, on_missing="drop")
    with pytest.raises(DataError, match="did you mean 'drop'"):
        Interactions.from_frame(frame(), catalog, on_missing="dropp")


def test_the_options_reach_an_atomic_folder_and_its_columns_can_be_named(tmp_path):
    rows = "user_id:token\titem_id:token\tseen:token\trating:float\nu\ta\t15.09.2020\t5\nu\tb\t13.09.2020\t\nu\tc\t14.09.2020\t4\n"
    (tmp_path / "shop.inter").write_text(rows)
    (tmp_path / "shop.item").write_text("item_id:token\ttitle:token_seq\na\tA\nb\tB\nc\tC\n")
    (tmp_path / "d.yaml").write_text("folder: .\ncolumns: {timestamp: seen}\ntime_format: '%d.%m.%Y'\non_missing: drop\n")
    for data in (
        load(tmp_path, LoadOptions(time_column="seen", time_format="%d.%m.%Y", on_missing="drop")),
        load(tmp_path / "d.yaml"),
    ):
        assert order(data.interactions) == "ca"


def test_what_was_shown_and_not_clicked_is_no_positive(tmp_path):
    shown = [(user, item, label) for user in "uvw" for item, label in (("a", 1), ("z", 0), ("b", 1), ("c", 1), ("z", 0))]
    rows = "".join(f"{user},{item},{label},{time}\n" for time, (user, item, label) in enumerate(shown))
    (tmp_path / "interactions.csv").write_text("user_id,item_id,label,timestamp\n" + rows)
    (tmp_path / "items.csv").write_text("item_id,title\na,A\nb,B\nc,C\nz,Z\n")
    data = load(tmp_path)
    inner = data.catalog.ids.encode(["a", "b", "c", "z"])
    assert data.interactions.item_counts[inner].tolist() == [3, 3, 3, 0]
    assert data.interactions.negatives.to_pylist() == [{"user_id": user, "item_id": "z"} for user in "uuvvww"]
    assert any("6 of 15 rows have label 0" in note for note in data.notes)
    assert make_split(data).test.targets.values.tolist() == [inner[2]] * 3


def test_a_label_of_zeros_alone_is_refused(catalog):
    with pytest.raises(DataError, match="'label' is 0 in every row"):
        Interactions.from_frame(frame(label=[0, 0, 0]), catalog)


def test_popularity_counts_by_weight(catalog):
    built = Interactions.from_frame(frame(weight=[1, 100, 0]), catalog)
    assert Popularity().fit(built).counts.tolist() == [0, 1, 100, 0]
    assert any("'weight' (counted by popularity, ignored by every other model)" in note for note in built.notes)
    with pytest.raises(DataError, match="a weight is -1"):
        Popularity().fit(Interactions.from_frame(frame(weight=[1, -1, 0]), catalog))


def test_ids_beyond_64_bits_are_exact_or_refused():
    big = np.array([2**63, 2**63 + 1, 7], np.uint64)
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": big, "title": ["A", "B", "C"]}))
    built = Interactions.from_frame(pd.DataFrame({"user_id": big, "item_id": big}), catalog)
    assert built.users.ids == catalog.ids.ids == [2**63, 2**63 + 1, 7]
    assert built.sequences.values.tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="row 1, column 'item_id': 9223372036854775808: as a float this id is not exact"):
        ItemCatalog.from_frame(pd.DataFrame({"item_id": [2.0**63, 1.0], "title": ["A", "B"]}))

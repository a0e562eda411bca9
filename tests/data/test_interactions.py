from __future__ import annotations

import datetime
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.filters import drop_duplicates, k_core, min_rating
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import split_by_part


def catalogue(n=5):
    return ItemCatalog(IdMap([f"i{row}" for row in range(1, n + 1)]), {"title": [f"item {row}" for row in range(1, n + 1)]})


def rows(interactions):
    return {user: row.tolist() for user, row in zip(interactions.users.ids, interactions.sequences, strict=True)}


def build(events, time_format=None, **columns):
    users, items = zip(*events, strict=True)
    return Interactions.from_frame(pd.DataFrame({"user_id": users, "item_id": items, **columns}), catalogue(), time_format=time_format)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_sequences_are_in_time_order_and_ties_keep_file_order(kind):
    data = {"user_id": ["u", "v", "u", "u"], "item_id": ["i3", "i1", "i2", "i1"], "timestamp": [5, 1, 5, 2], "rating": [3, 1, 2, 5]}
    built = Interactions.from_frame(kind(data), catalogue())
    assert rows(built) == {"u": [1, 3, 2], "v": [1]}
    assert built.timestamp.tolist() == [2, 5, 5, 1]
    assert built.rating.tolist() == [5, 3, 2, 1]
    assert built.item_counts.tolist() == [0, 2, 1, 1, 0, 0]
    assert not built.timestamp_is_position


def test_without_times_the_order_of_rows_counts():
    assert rows(build([("u", "i3"), ("v", "i1"), ("u", "i2")])) == {"u": [3, 2], "v": [1]}


def test_positions_are_told_from_times():
    events = [("u", "i3"), ("v", "i1"), ("u", "i2")]
    assert build(events, timestamp=[1, 0, 0]).timestamp_is_position
    assert not build(events, timestamp=[1, 0, 2]).timestamp_is_position


def test_positions_are_told_although_items_are_dropped():
    built = build([("u", "i1"), ("u", "gone"), ("u", "i2")], timestamp=[0, 1, 2])
    assert built.timestamp_is_position
    assert built.timestamp.tolist() == [0, 2]


def test_unix_times_stay_exact():
    assert build([("u", "i1")], timestamp=[964982703.125]).timestamp.tolist() == [964982703.125]


@pytest.mark.parametrize("when", [datetime.datetime(1970, 1, 2), "1970-01-02 00:00:00", "86400", datetime.date(1970, 1, 2)])
def test_dates_and_texts_become_seconds(when):
    frame = pl.DataFrame({"user_id": ["u"], "item_id": ["i1"], "timestamp": [when]})
    assert Interactions.from_frame(frame, catalogue()).timestamp.tolist() == [86400.0]


def test_unknown_items_are_dropped_and_counted():
    built = build([("u", "i1"), ("v", "x"), ("u", "i2")])
    assert rows(built) == {"u": [1, 2]}
    assert "1 of 3 interactions are of items absent from the item table (dropped)" in built.notes[0]


def test_more_than_half_unknown_is_an_error():
    with pytest.raises(DataError, match=r"2 of 3 interactions .* such as 'x'"):
        build([("u", "i1"), ("v", "x"), ("u", "y")])
    numbers = pd.DataFrame({"user_id": [1], "item_id": [1]})
    with pytest.raises(DataError, match="as text and the other as numbers"):
        Interactions.from_frame(numbers, catalogue())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"timestamp": [1.0, float("nan"), 2.0]}, "row 2, column 'timestamp': the value is missing or not a finite number"),
        ({"timestamp": [1.0, float("inf"), 2.0]}, "row 2, column 'timestamp'"),
        ({"timestamp": ["1", "soon", "2"]}, "row 2, column 'timestamp': 'soon' is neither a number nor an ISO time: correct it"),
        ({"timestamp": ["2020-01-01", "", "garbage"]}, "row 3, column 'timestamp': 'garbage' is neither a number nor an ISO time"),
        ({"timestamp": ["2020-01-01T00:00Z", "soon", "soon"]}, "row 2, column 'timestamp': 'soon' is neither"),
        ({"timestamp": ["5", "2020-01-01", "6"]}, "row 2, column 'timestamp': '2020-01-01' is unlike the rows above, as numbers and ISO"),
        ({"timestamp": ["1", "", "2"]}, "row 2, column 'timestamp': the value is missing"),
        ({"rating": [1.0, 2.0, None]}, "row 3, column 'rating'"),
        ({"rating": ["1", "good", "2"]}, r"row 2, column 'rating': 'good' is no number: correct it \(a label is 1 or 0, .* the column$"),
        ({"label": ["yes", "no", "yes"]}, "row 1, column 'label': 'yes' is no number"),
        ({"weight": ["2020-01-01", "2020-01-02", "2020-01-03"]}, "row 1, column 'weight': '2020-01-01' is no number"),
        ({"rating": pd.to_datetime(["2020-01-01"] * 3)}, "column 'rating' is of type timestamp.*: numbers are wanted"),
        ({"user_id": ["u", None, "v"]}, "row 2, column 'user_id': the id is missing"),
    ],
)
def test_bad_values_are_named_by_row_and_column(columns, message):
    data = {"user_id": ["u", "u", "v"], "item_id": ["i1", "i2", "i1"], **columns}
    with pytest.raises(DataError, match=message):
        Interactions.from_frame(pd.DataFrame(data), catalogue())


@pytest.mark.parametrize("label", [["true", "false", "True"], ["1", "FALSE", "true"], [True, False, True], ["1", "0", "1"]])
def test_a_label_is_one_or_zero_or_true_or_false(label):
    built = build([("u", "i1"), ("u", "i2"), ("v", "i1")], label=label)
    assert rows(built) == {"u": [1], "v": [1]}
    assert built.label.tolist() == [1, 1]


def test_durations_are_seconds_and_times_of_a_day_are_no_moments():
    data = pa.table({"user_id": ["u", "u"], "item_id": ["i1", "i2"]})
    for unit, size in {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}.items():
        spans = pa.array([90 * size, 60 * size], pa.duration(unit))
        built = Interactions.from_frame(data.append_column("timestamp", spans), catalogue())
        assert built.timestamp.tolist() == [60, 90]
        assert rows(built) == {"u": [2, 1]}
    of_day = pa.array([90, 60], pa.time32("s"))
    with pytest.raises(DataError, match="column 'time' holds times of a day: join them with their dates"):
        Interactions.from_frame(data.append_column("time", of_day), catalogue())


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string()])
def test_a_time_format_holds_for_numbers_too(kind):
    days = pa.array(["20240131", "20240102"]).cast(pa.int64()).cast(kind)
    built = Interactions.from_frame(
        pa.table({"user_id": ["u", "u"], "item_id": ["i1", "i2"], "timestamp": days}), catalogue(), time_format="%Y%m%d"
    )
    moments = [datetime.datetime(2024, 1, day, tzinfo=datetime.UTC).timestamp() for day in (2, 31)]
    assert built.timestamp.tolist() == moments
    assert rows(built) == {"u": [2, 1]}


def test_names_of_zones_are_not_read_by_the_clock_of_the_machine(monkeypatch):
    monkeypatch.setenv("TZ", "EST5EDT")
    time.tzset()
    how = {"time_format": "%Y-%m-%d %H:%M %Z"}
    try:
        with pytest.raises(DataError, match="row 2, column 'timestamp': '2024-01-31 09:00 EST': of the names of zones UTC and GMT alone"):
            build([("u", "i1"), ("u", "i2")], timestamp=["2024-01-31 10:00 UTC", "2024-01-31 09:00 EST"], **how)
        built = build([("u", "i1"), ("u", "i2")], timestamp=["2024-01-31 10:00 UTC", "2024-01-31 09:00 GMT"], **how)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert rows(built) == {"u": [2, 1]}
    assert built.timestamp[1] == datetime.datetime(2024, 1, 31, 10, tzinfo=datetime.UTC).timestamp()


@pytest.mark.parametrize(
    ("timestamp", "message"), [("none", "leave out one of the two"), ("timestamp", "name it with  --time-column NAME")]
)
def test_a_time_format_needs_a_time(timestamp, message):
    data = pd.DataFrame({"user_id": ["u", "u"], "item_id": ["i1", "i2"], "colour": ["31.01.2024", "02.01.2024"]})
    with pytest.raises(DataError, match=f"a time format says how the column of times is written.*{message}"):
        Interactions.from_frame(data, catalogue(), timestamp=timestamp, time_format="%d.%m.%Y")


STANDARD = ["user_id", "item_id", "timestamp", "rating", "label", "weight", "text", "split"]


@pytest.mark.parametrize("column", STANDARD)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([2, "1", 3], r"row 2, column '{}' mixes types: '1' is of type str, unlike the rows above: make it all text or all numbers$"),
        (["i1", None, 2], r"row 3, column '{}' mixes types: 2 is of type int"),
        ([1, 2**70, 3], r"row 2, column '{}': 1180591\S* \(int\) is neither text nor a number of up to 64 bits"),
    ],
)
def test_mixed_types_in_a_standard_column_are_an_error_with_its_row(column, values, message):
    data = {"user_id": ["u", "u", "v"], "item_id": ["i1", "i2", "i1"], column: pd.Series(values, dtype=object)}
    with pytest.raises(DataError, match="^the interaction table: " + message.format(column)):
        Interactions.from_frame(pd.DataFrame(data), catalogue())
    with pytest.raises(DataError, match=message.format(column)):
        Interactions.from_frame(pl.DataFrame({**data, column: pl.Series(values, dtype=pl.Object)}), catalogue())


def test_mixed_types_in_a_column_that_is_not_used_do_no_harm():
    mixed = pd.Series([2, "1"], dtype=object)
    assert rows(build([("u", "i1"), ("u", "i2")], colour=mixed)) == {"u": [1, 2]}
    frame = pd.DataFrame({"user_id": ["u", "u"], "item_id": ["i1", "i2"], "timestamp": mixed, "when": [2, 1]})
    assert rows(Interactions.from_frame(frame, catalogue(), timestamp="when")) == {"u": [2, 1]}


def test_iso_times_with_a_zone_and_without_are_utc():
    texts = ["1970-01-02T00:00:00Z", "1970-01-02 01:00+01:00", "1970-01-01T18:30:00-0530", "1970-01-02T02:00:00.5+02", "1970-01-02"]
    for text, seconds in zip(texts, [86400, 86400, 86400, 86400.5, 86400], strict=True):
        assert build([("u", "i1")], timestamp=[text]).timestamp.tolist() == [seconds]
    assert build([("u", "i1")] * 5, timestamp=texts).timestamp.tolist() == [86400, 86400, 86400, 86400, 86400.5]


def test_missing_columns_and_rows_are_errors():
    with pytest.raises(DataError, match=r"no column 'item_id' \(columns: user_id\): .*columns={.item_id.: NAME}"):
        Interactions.from_frame(pd.DataFrame({"user_id": ["u"]}), catalogue())
    with pytest.raises(DataError, match="no column 'when'"):
        Interactions.from_frame(pd.DataFrame({"user_id": ["u"], "item_id": ["i1"]}), catalogue(), timestamp="when")
    with pytest.raises(DataError, match="no rows"):
        Interactions.from_frame(pd.DataFrame({"user_id": [], "item_id": []}), catalogue())


def test_other_columns_are_ignored_and_texts_follow_their_rows():
    built = build([("u", "i1"), ("u", "i2")], timestamp=[9, 3], text=["late", "이른"], colour=["red", "blue"], split=["maybe", "train"])
    assert built.text == ["이른", "late"]
    assert built.part is None
    assert "column 'split' is ignored: row 1 holds 'maybe'" in built.notes[0]
    shorter = min_rating(build([("u", "i1"), ("u", "i2")], rating=[1, 5], split=["train", "maybe"]), 4)
    with pytest.raises(DataError, match=r"no given split: .* column 'split' is ignored: row 2 holds 'maybe', .* correct it or choose"):
        split_by_part(shorter)


def test_users_can_be_numbered_as_elsewhere():
    frame = pd.DataFrame({"user_id": ["v", "u"], "item_id": ["i1", "i2"]})
    assert Interactions.from_frame(frame, catalogue(), users=IdMap(["u", "v"])).users.ids == ["u", "v"]
    with pytest.raises(DataError, match="'v' is not among"):
        Interactions.from_frame(frame, catalogue(), users=IdMap(["u"]))


def test_arrays_that_do_not_fit_are_refused():
    sequences = Ragged.from_rows([[1, 2]])
    with pytest.raises(DataError, match="1 sequences for 2 users"):
        Interactions(catalogue(), IdMap(["u", "v"]), sequences)
    with pytest.raises(DataError, match="'rating' has 1 values"):
        Interactions(catalogue(), IdMap(["u"]), sequences, rating=np.ones(1, np.float32))
    with pytest.raises(DataError, match="got 1 to 6"):
        Interactions(catalogue(), IdMap(["u"]), Ragged.from_rows([[1, 6]]))


def test_the_hash_knows_order_times_and_users():
    base = [("u", "i1"), ("u", "i2")]
    digests = {build(base).content_hash, build(base[::-1]).content_hash, build(base, timestamp=[0, 1]).content_hash}
    assert len(digests | {build([("w", "i1"), ("w", "i2")]).content_hash}) == 4
    assert build(base).content_hash == build(base).content_hash


def test_min_rating_drops_and_counts():
    kept = min_rating(build([("u", "i1"), ("u", "i2"), ("v", "i3")], rating=[4, 3, 2]), 4)
    assert rows(kept) == {"u": [1]}
    assert kept.filters == ("min_rating=4",)
    assert kept.notes[-1] == "min_rating=4: 2 of 3 interactions and 1 users dropped"
    with pytest.raises(DataError, match="column 'rating'"):
        min_rating(build([("u", "i1")]), 4)
    with pytest.raises(DataError, match="no interaction is left"):
        min_rating(kept, 6)


def test_duplicates_keep_first_or_last():
    built = build([("u", "i1"), ("u", "i2"), ("u", "i1"), ("v", "i1")])
    assert rows(drop_duplicates(built, "first")) == {"u": [1, 2], "v": [1]}
    assert rows(drop_duplicates(built, "last")) == {"u": [2, 1], "v": [1]}
    assert drop_duplicates(built, "keep") is built
    with pytest.raises(DataError, match="did you mean 'first'"):
        drop_duplicates(built, "frist")


def test_k_core_repeats_until_stable_and_cuts_the_catalogue():
    # Taking item 5 away leaves w with one interaction, and taking w away leaves item 4 with one.
    built = build([("u", "i2"), ("u", "i3"), ("v", "i2"), ("v", "i3"), ("v", "i4"), ("w", "i4"), ("w", "i5")])
    core = k_core(built, 2)
    assert core.catalog.ids.ids == ["i2", "i3"]
    assert rows(core) == {"u": [1, 2], "v": [1, 2]}
    assert core.catalog.texts == ["item 2", "item 3"]
    with pytest.raises(DataError, match="no interaction is left"):
        k_core(built, 3)


events = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=40)


@given(events, st.integers(1, 4))
def test_k_core_agrees_with_one_at_a_time(pairs, k):
    left = list(pairs)
    while True:
        weak = [pair for pair in left if min(sum(p[0] == pair[0] for p in left), sum(p[1] == pair[1] for p in left)) < k]
        if not weak:
            break
        left = [pair for pair in left if pair not in weak]
    built = build([(f"u{user}", f"i{item}") for user, item in pairs])
    if not left:
        with pytest.raises(DataError, match="no interaction is left"):
            k_core(built, k)
        return
    core = k_core(built, k)
    found = [(user, item) for user, row in zip(core.users.ids, core.sequences, strict=True) for item in core.catalog.ids.decode(row)]
    assert sorted(found) == sorted((f"u{user}", f"i{item}") for user, item in left)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=30))
def test_sorting_agrees_with_a_stable_sort_a_user(triples):
    users, items, times = zip(*triples, strict=True)
    built = build([(f"u{u}", f"i{i}") for u, i in zip(users, items, strict=True)], timestamp=times)
    for user, row in rows(built).items():
        mine = sorted((t for t in triples if f"u{t[0]}" == user), key=lambda t: t[2])
        assert row == [item for _, item, _ in mine]

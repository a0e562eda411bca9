"""Features by hand, and that no count holds what came at the moment or after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from planted_clicks import DAY, catalog, impressions, in_the_evening, past, same_genre, told_by_counts

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.evaluation.labels import auc
from bertrec.rankers import DCN, DIN, Context, Known
from bertrec.rankers.counts import EventCounts
from bertrec.rankers.tabular.config import TabularConfig
from bertrec.rankers.tabular.counts import hours_and_days, log_buckets
from bertrec.rankers.tabular.features import FeatureReader, FeatureSpace, TrainingCounts
from bertrec.rankers.tabular.items import number_column, number_columns
from bertrec.rankers.tabular.rows import Rows
from bertrec.rankers.tabular.written import written_pairs

QUICK = {"train.epochs": 8, "train.batch_size": 32, "train.learning_rate": 0.01, "hidden": (16,), "dropout": 0.0}


def test_counts_are_those_of_a_loop():
    draw = np.random.default_rng(0)
    owners, times = draw.integers(1, 6, 300), draw.integers(0, 40, 300).astype(np.float64)
    asked, moments = draw.integers(0, 6, 200), draw.integers(-2, 44, 200) / 1.0
    expected = [int(((owners == owner) & (times < moment)).sum()) for owner, moment in zip(asked, moments, strict=True)]
    assert EventCounts(owners, times, 6).before(asked, moments).tolist() == expected
    assert EventCounts(owners, times, 6).before(np.array([1]), np.array([np.nan])).tolist() == [0]


def test_hours_and_days_are_those_of_the_calendar():
    times = np.random.default_rng(0).uniform(0, 2e9, 50)
    dates = [datetime.fromtimestamp(time, UTC) for time in times]
    hours, days = hours_and_days(times, 50)
    assert (hours.tolist(), days.tolist()) == ([date.hour + 1 for date in dates], [date.isoweekday() for date in dates])
    assert [part.tolist() for part in hours_and_days(None, 2)] == [[0, 0], [0, 0]]


def reader_of(shown, known=None, **settings):
    config, counts = TabularConfig(**settings), TrainingCounts.of(shown, known, None)
    return FeatureReader(FeatureSpace.fit(shown, config, counts.totals), shown.catalog, counts.past), counts


def test_features_of_items_and_a_price_with_gaps():
    items = catalog(6, price=[1.0, None, 3.0, float("nan"), 5.0, 100.0])
    shown = impressions(items, [[1], [2]], [[3], [4, 5]], [1, 0, 1], ["u", "v"])
    reader, _ = reader_of(shown, buckets=2)
    assert reader.space.numbers == ("price",)
    assert reader.space.edges[0].tolist() == [3.0]  # of items 1 to 5, which training met
    assert reader.items.numbers[:, 0].tolist() == [0, 1, 0, 2, 0, 2, 2]
    assert sorted(reader.items.ids.tolist()) == [0, 0, 1, 2, 3, 4, 5]
    assert reader.items.ids[6] == 0
    assert [reader.space.labels[label - 1] for label in reader.items.labels[1:4, 0]] == [
        "genres: comedy",
        "genres: drama",
        "genres: western",
    ]
    assert reader.items.counts.tolist() == [0, 0, 0, 1, 1, 1, 0]


def test_numbers_are_found_in_attributes_and_in_texts():
    fields = {"title": ["1999", "x"], "year": ["1999", ""], "cost": ["$5.50", "free"]}
    items = ItemCatalog(IdMap(["a", "b"]), fields, attributes=pa.table({"stars": [4, None], "sold": [True, False], "tags": [["a"], []]}))
    assert number_columns(items) == ("stars", "year")
    np.testing.assert_array_equal(number_column(items, "cost"), [5.5, np.nan])
    with pytest.raises(DataError, match="item column 'prise'"):
        number_column(items, "prise")
    with pytest.raises(DataError, match="'tags' is of type list"):
        number_column(items, "tags")


def test_other_items_keep_labels_and_numbers_and_those_that_training_met_their_ids():
    first = catalog(6, price=[1, 2, 3, 4, 5, 6])
    reader, _ = reader_of(impressions(first, [[1, 2]], [[3, 4, 5, 6]], [1, 0, 0, 0]), buckets=3)
    others = FeatureReader(reader.space, catalog(4, price=[9, 9, 1, 1], first=4))
    assert others.items.ids.tolist() == [0, *reader.items.ids[5:], 0, 0]
    assert others.items.numbers[:, 0].tolist() == [0, 3, 3, 1, 1]
    assert others.items.labels[1:, 0].tolist() == [1, 2, 3, 1]
    new = ItemCatalog(IdMap(["z"]), {"title": ["z"], "genres": ["Noir|western"]}, attributes=pa.table({"price": [2.0]}))
    assert FeatureReader(reader.space, new).items.labels.tolist() == [[0], [3]]
    with pytest.raises(DataError, match="price"):
        FeatureReader(reader.space, catalog(4))
    with pytest.raises(DataError, match="genres"):
        FeatureReader(reader.space, ItemCatalog(IdMap(["z"]), {"title": ["z"]}, attributes=pa.table({"price": [2.0]})))


def test_without_a_past_training_counts_showings_without_their_own_and_without_labels():
    shown = impressions(catalog(), [[], [5], [5, 6]], [[1, 2], [1], [1]], [1, 0, 0, 1], ["u", "v", "u"])
    reader, counts = reader_of(shown)
    assert counts.pairs.tolist() == [2, 0, 2, 2]
    rows = reader.rows(shown.histories, shown.candidates, None)
    assert rows.popularity.tolist() == log_buckets(np.array([3, 1, 3, 3])).tolist()
    assert rows.activity.tolist() == log_buckets(np.array([0, 1, 2])).tolist()
    assert (rows.users.tolist(), rows.hours.tolist()) == ([0, 0, 0], [0, 0, 0])
    turned = replace(shown, labels=1 - shown.labels)
    assert TrainingCounts.of(turned, None, None).pairs.tolist() == counts.pairs.tolist()
    timed = replace(shown, timestamp=np.array([3.0, 2.0, 1.0]))
    assert TrainingCounts.of(timed, None, None).pairs.tolist() == [2, 0, 1, 0]
    given = TrainingCounts.of(shown, None, np.arange(13))
    assert (given.pairs.tolist(), given.totals.tolist()) == ([1, 2, 1, 1], list(range(13)))
    counted = TrainingCounts.of(shown, None, np.arange(13), counted=True)  # the first and the last pair are clicks
    assert (counted.pairs.tolist(), counted.totals.tolist()) == ([0, 2, 1, 0], list(range(13)))


def test_no_feature_of_a_row_changes_when_all_from_its_moment_on_is_taken_away():
    """Whatever is at the moment, the target among it, or later is not read."""
    draw = np.random.default_rng(0)
    events = [(f"u{draw.integers(5)}", int(draw.integers(1, 13)), float(draw.integers(0, 30))) for _ in range(200)]
    everything = past(catalog(), events)
    rows = 40
    shown = impressions(
        catalog(), [[]] * rows, draw.integers(1, 13, (rows, 2)), [0, 1] * rows, [f"u{draw.integers(6)}" for _ in range(rows)],
        draw.integers(0, 32, rows),
    )  # fmt: skip
    reader, _ = reader_of(shown, Known(past=everything))
    whole = reader.rows(shown.histories, shown.candidates, Context.of(shown, Known(past=everything)))
    assert whole.popularity.max() > 2
    assert whole.activity.max() > 3
    for row in range(rows):
        one = shown.take([row])
        before = everything.where(everything.timestamp < one.timestamp[0])
        found = reader.rows(one.histories, one.candidates, Context.of(one, Known(past=before)))
        assert found.popularity.tolist() == whole.popularity[2 * row : 2 * row + 2].tolist()
        assert found.activity.tolist() == [whole.activity[row]]


def figures(model, shown, known):
    return auc(model.score_impressions(shown, known=known), shown.labels)


@pytest.mark.parametrize(("later", "least", "most"), [(False, 0.95, 1.0), (True, 0.3, 0.7)])
def test_a_count_that_tells_the_label_is_read_before_the_moment_and_never_after_it(later, least, most):
    shown, events = told_by_counts(400, later=later)
    learned, asked = shown.take(np.arange(300)), shown.take(np.arange(300, 400))
    model = DIN.configured(settings={**QUICK, "user_ids": False}).fit(learned, known=Known(past=events), progress=False)
    assert least <= figures(model, asked, Known(past=events)) <= most


def test_a_past_of_other_items_and_strangers():
    events = past(catalog(12, first=6), [("u0", 1, 5.0), ("u0", 12, 6.0)])  # i6, which is item 7 here, and i17, which is none
    shown = impressions(catalog(), [[], []], [[7, 1], [7]], [1, 0, 0], ["u0", "stranger"], [9.0, 9.0])
    reader, _ = reader_of(shown, Known(past=events))
    rows = reader.rows(shown.histories, shown.candidates, Context.of(shown, Known(past=events)))
    assert (rows.popularity.tolist(), rows.activity.tolist()) == ([1, 0, 1], [1, 0])
    assert reader.rows(shown.histories, shown.candidates, Context(["x", "y"])).users.tolist() == [0, 0]


def test_an_effect_of_the_hour_is_learned_and_lost_without_a_clock():
    learned, asked = in_the_evening(600), in_the_evening(200, seed=1)
    model = DCN.configured(settings=QUICK).fit(learned, progress=False)
    assert model.figures(asked)["AUC"] > 0.98
    blind = DCN.configured(settings=QUICK).fit(replace(learned, timestamp=None), progress=False)
    assert 0.3 < blind.figures(replace(asked, timestamp=None))["AUC"] < 0.7
    assert np.isfinite(model.score_impressions(replace(asked, timestamp=None))).all()
    morning, evening = (Context(["u"], np.array([hour * 3600 + 3 * DAY])) for hour in (9, 20))
    one = Ragged.from_rows([[1]])
    assert model.score(one, one, context=evening)[0] > 0.8 > 0.2 > model.score(one, one, context=morning)[0]


def test_positions_are_no_clock():
    shown, _ = told_by_counts(40, later=False)
    events = past(shown.catalog, [(user, 1, 0.0) for user in shown.users])  # one event of each user, before all moments
    activity = {}
    for position in (False, True):
        known = Known(past=replace(events, timestamp_is_position=position))
        reader, counts = reader_of(shown, known)
        assert (counts.past is None) is position
        activity[position] = reader.rows(shown.histories, shown.candidates, Context.of(shown, known)).activity.tolist()
    assert activity == {False: [1] * 40, True: [0] * 40}  # no history, and a position is no time before the moment


def test_columns_that_are_not_there_are_said():
    for settings, what in (({"numbers": ["weight"]}, "weight"), ({"label_fields": ["mood"]}, "mood")):
        with pytest.raises(DataError, match=what):
            DIN.configured(settings={**QUICK, **settings}).fit(same_genre(10), progress=False)


def test_a_pair_in_words():
    items = replace(catalog(3, price=[1.0, None, 9.0]), template="{title}, {genres}")
    shown = impressions(items, [[1, 2], []], [[3], [2]], [1, 0], ["u", "v"], [4 * DAY + 3600.0, np.nan])
    reader, _ = reader_of(shown, buckets=2)
    rows = Rows.of(shown.histories, shown.candidates, reader.rows(shown.histories, shown.candidates, Context.of(shown)), most=None)
    assert written_pairs(reader, rows, items) == [
        "liked: film i1, film i0. on Monday at 1. done before: about 1. now: film i2, Western. price: 2 of 2. met before: about 1.",
        "liked: nothing. done before: never. now: film i1, Drama. met before: about 1.",
    ]

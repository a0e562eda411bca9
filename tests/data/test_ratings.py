from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.ratings import few_shots, impressions_from_ratings, one_candidate_each, rated_parts

CATALOG = ItemCatalog(IdMap([f"i{row}" for row in range(1, 10)]), {"title": ["제목"] * 9})


def rated(sequences, ratings, times=None, **more):
    flat = None if ratings is None else np.array([value for row in ratings for value in row], np.float32)
    clock = None if times is None else np.array([value for row in times for value in row], np.float64)
    users = IdMap(f"u{row}" for row in range(len(sequences)))
    return Interactions(CATALOG, users, Ragged.from_rows(sequences), clock, flat, **more)


def lists(ragged):
    return [row.tolist() for row in ragged]


def by_row(impressions):
    return lists(Ragged(impressions.labels, impressions.candidates.offsets))


TWO_USERS = rated(
    [[1, 2, 3, 4, 5], [6], [7, 8]],
    [[5, 3, 4, 5, 1], [4], [2, 5]],
    [[10, 10, 20, 20, 30], [30], [40, 50]],
)


def test_moments_by_hand():
    found = impressions_from_ratings(TWO_USERS)
    assert found.ids == ["1", "2", "3", "4", "5", "6"]
    assert found.users == ["u0", "u0", "u0", "u1", "u2", "u2"]
    assert lists(found.candidates) == [[1, 2], [3, 4], [5], [6], [7], [8]]
    assert by_row(found) == [[1, 0], [1, 1], [0], [1], [0], [1]]
    assert lists(found.histories) == [[], [1], [1, 3, 4], [], [], []]
    assert found.timestamp.tolist() == [10, 20, 30, 30, 40, 50]


def test_joined_by_hand():
    found = impressions_from_ratings(TWO_USERS, joined=True, most=3)
    assert lists(found.candidates) == [[1, 2, 3], [4, 5], [6], [7, 8]]
    assert lists(found.histories) == [[], [1], [], []]  # 4 was rated in the moment of 3: the history is what was liked before both
    assert found.timestamp.tolist() == [10, 20, 30, 40]


def test_a_moment_of_many_is_cut_and_the_history_stays():
    found = impressions_from_ratings(rated([[9, 1, 2, 3]], [[5, 5, 5, 5]], [[1, 2, 2, 2]]), most=2)
    assert lists(found.candidates) == [[9], [1, 2], [3]]
    assert lists(found.histories) == [[], [9], [9]]


def test_threshold_and_newest_of_the_history():
    found = impressions_from_ratings(rated([[1, 2, 3, 4]], [[3, 3.5, 5, 1]], [[1, 2, 3, 4]]), liked_from=3, max_history=2)
    assert lists(found.histories) == [[], [1], [1, 2], [2, 3]]
    assert found.labels.tolist() == [1, 1, 1, 0]


def test_without_times_each_rating_is_a_moment():
    found = impressions_from_ratings(rated([[1, 2]], [[5, 5]]))
    assert (lists(found.candidates), lists(found.histories), found.timestamp) == ([[1], [2]], [[], [1]], None)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (rated([[1]], None), {}, "column 'rating'"),
        (rated([[1, 2]], [[4, np.nan]]), {}, "interaction 2 has no rating"),
        (rated([[1]], [[4]]), {"most": 0}, "most must be 1 or more"),
        (rated([[1]], [[4]]), {"max_history": -1}, "max_history must be 0 or more"),
    ],
)
def test_bad_input(data, settings, message):
    with pytest.raises(DataError, match=message):
        impressions_from_ratings(data, **settings)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(1, 5), st.none() | st.integers(0, 3))
def test_every_rating_once_and_no_history_from_its_own_time(seed, joined, most, max_history):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 8, 4)
    sequences = [generator.integers(1, 10, length).tolist() for length in lengths]
    ratings = [generator.integers(1, 6, length).tolist() for length in lengths]
    times = [np.sort(generator.integers(0, 5, length)).tolist() for length in lengths]
    found = impressions_from_ratings(rated(sequences, ratings, times), joined=joined, most=most, max_history=max_history)
    assert found.candidates.values.tolist() == [item for row in sequences for item in row]
    assert found.labels.tolist() == [int(value >= 4) for row in ratings for value in row]
    assert found.candidates.lengths.max(initial=0) <= most
    for user, time, history in zip(found.users, found.timestamp, found.histories, strict=True):
        row = int(user[1:])
        expected = [item for item, value, when in zip(sequences[row], ratings[row], times[row], strict=True) if value >= 4 and when < time]
        assert history.tolist() == (expected if max_history is None else expected[len(expected) - min(max_history, len(expected)) :])


TEN = rated([[1, 2, 3, 4, 5], [6, 7, 8, 9, 1]], [[5, 1, 4, 2, 5], [4, 3, 5, 4, 1]], [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]])


def test_three_parts_of_time_by_hand():
    found = rated_parts(TEN)
    assert found.moments == (7, 8)  # 80 % of ten ratings are before 7 or at it; numpy takes the lower of two
    assert lists(found.past.sequences) == [[1, 2, 3, 4], [6, 7, 8]]
    assert lists(found.learned.candidates) == [[1, 2, 3, 4], [6, 7, 8]]
    assert {name: lists(part.impressions.candidates) for name, part in found.parts.items()} == {
        "train": [[1], [2], [3], [4], [6], [7], [8]],
        "valid": [[9]],
        "test": [[5], [1]],
    }
    test = found.parts["test"]
    assert test.ratings.tolist() == [5, 1]
    assert test.impressions.labels.tolist() == [1, 0]
    assert lists(test.impressions.histories) == [[1, 3], [6, 8, 9]]  # 9 was liked in the validation part, before that moment
    moved = rated_parts(TEN, moments=(2, 4), liked_from=5)
    assert lists(moved.past.sequences) == [[1], [6]]
    assert lists(moved.parts["valid"].impressions.candidates) == [[2], [7]]
    assert moved.parts["valid"].ratings.tolist() == [1, 3]


def test_one_candidate_each_by_hand():
    found = one_candidate_each(impressions_from_ratings(TWO_USERS))
    assert lists(found.candidates) == [[1], [2], [3], [4], [5], [6], [7], [8]]
    assert lists(found.histories) == [[], [], [1], [1], [1, 3, 4], [], [], []]
    assert (found.users, found.timestamp.tolist()) == (["u0"] * 5 + ["u1", "u2", "u2"], [10, 10, 20, 20, 30, 30, 40, 50])


@pytest.mark.parametrize(
    ("data", "liked_from", "message"),
    [
        (rated([[1, 2]], None, [[1, 2]]), 4, "column 'rating'"),
        (rated([[1, 2]], [[4, np.inf]], [[1, 2]]), 4, "interaction 2 has no rating"),
        (TEN, 6, "liked-from 6: no rating is liked, for ratings run from 1 to 5"),
        (TEN, 1, "liked-from 1: every rating is liked"),
        (TEN, np.nan, "liked-from nan: no rating is liked"),
        (rated([[1, 2]], [[4, 1]]), 4, "needs timestamps"),
        (rated([[1, 2]], [[4, 1]], [[0, 1]], timestamp_is_position=True), 4, "a common clock"),
        (rated([[1, 2]], [[4, 1]], [[3, 3]]), 4, "time split"),
    ],
)
def test_what_cannot_be_divided_is_named(data, liked_from, message):
    with pytest.raises(DataError, match=message):
        rated_parts(data, liked_from=liked_from)


def drawn(count, seed):
    parts = rated_parts(rated([[1 + row % 9, 1 + (row + 1) % 9] for row in range(20)], [[5, row % 5] for row in range(20)], CLOCK))
    return few_shots(parts.parts["train"], count, seed=seed), parts.parts["train"]


CLOCK = [[2 * row, 2 * row + 1] for row in range(20)]


def keys(shown):
    return list(zip(shown.users, shown.candidates.values.tolist(), shown.labels.tolist(), shown.timestamp.tolist(), strict=True))


def test_shots_are_drawn_by_seed_and_fewer_are_among_more():
    few, whole = drawn(6, 1)
    more, _ = drawn(20, 1)
    every = keys(one_candidate_each(whole.impressions))
    assert len(few.impressions) == 6
    assert set(keys(few.impressions)) < set(keys(more.impressions)) < set(every)
    assert keys(few.impressions) == [key for key in every if key in keys(few.impressions)]
    assert keys(drawn(6, 1)[0].impressions) == keys(few.impressions)
    assert keys(drawn(6, 2)[0].impressions) != keys(few.impressions)
    assert ((few.ratings >= 4) == few.impressions.labels).all()
    assert keys(drawn(len(every), 3)[0].impressions) == every


def test_shots_beyond_the_data_are_one_line():
    with pytest.raises(DataError, match="32 cannot be drawn of the 31 rated pairs"):
        drawn(32, 0)
    with pytest.raises(DataError, match="take 1 to 31"):
        drawn(0, 0)

"""How far users went with items: from ratings, from events, and where a chain breaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data import IdMap, Impressions, Interactions, ItemCatalog, chain_from_labels, chain_from_ratings
from bertrec.data.chain import levels_from, rating_depths, unread_notes
from bertrec.data.negatives import sample_negatives

ORDER = ("view", "cart", "purchase")


def interactions(*rows, **columns):
    """Return users named by letters, over six items."""
    catalog = ItemCatalog(IdMap([f"i{k}" for k in range(6)]), {"title": [f"t{k}" for k in range(6)]})
    return Interactions(catalog, IdMap(list("abcdef"[: len(rows)])), Ragged.from_rows(rows), **columns)


def met(shown):
    """Return user, clicked item and level of each impression, and see that negatives have level 0."""
    assert (shown.levels[shown.labels == 0] == 0).all()
    clicked = shown.candidates.values[shown.labels == 1].tolist()
    return list(zip(shown.users, clicked, shown.levels[shown.labels == 1].tolist(), strict=True))


def test_ratings_are_steps():
    ratings = np.array([5, 3.5, np.nan, 4, -1], np.float32)
    shown = chain_from_ratings(interactions([1, 2, 3], [4, 5], rating=ratings), negatives=2)
    assert met(shown) == [("a", 1, 3), ("a", 2, 2), ("a", 3, 1), ("b", 4, 3), ("b", 5, 1)]
    assert [row.tolist() for row in shown.histories] == [[], [1], [1, 2], [], [4]]
    five = chain_from_ratings(interactions([1, 2, 3], [4, 5], rating=ratings), steps=(4.5,), negatives=2)
    assert [level for _, _, level in met(five)] == [2, 1, 1, 1, 1]


def test_an_item_that_was_met_twice_counts_once_with_its_best_rating():
    shown = chain_from_ratings(interactions([1, 2, 1], [3], rating=np.array([1, 1, 5, 1], np.float32)), negatives=1)
    assert met(shown) == [("a", 1, 3), ("a", 2, 2), ("b", 3, 2)]


def test_events_of_a_pair_are_one_row_with_the_deepest_and_breaks_are_counted():
    data = interactions([1, 1, 2, 1], [2, 3, 3])
    events = ["view", "cart", "purchase", "purchase", "view", "cart", "purchase"]
    shown = chain_from_labels(data, events, ORDER, negatives=1)
    assert met(shown) == [("a", 1, 3), ("a", 2, 3), ("b", 2, 1), ("b", 3, 3)]
    assert shown.notes == ("2 of 4 pairs of user and item lack a step before their last (taken as implied)",)  # a 2, b 3
    whole = chain_from_labels(data, ["view", "cart", "view", "purchase", "view", "view", "view"], ORDER, negatives=1)
    assert whole.notes == ()
    numbers = chain_from_labels(data, np.array([1, 2, 3, 3, 1, 2, 3], np.float32), (1, 2, 3), negatives=1)
    np.testing.assert_array_equal(numbers.levels, shown.levels)


def test_levels_come_from_the_very_interaction_and_not_from_a_later_one():
    past = interactions([1, 2, 1], timestamp=np.array([1.0, 2.0, 3.0]), label=np.array([1, 1, 3], np.float32))
    rows = {"histories": Ragged.from_rows([[], [1], [1]]), "candidates": Ragged.from_rows([[1, 4], [1, 4], [3]])}
    labels, times = np.array([1, 0, 1, 0, 1], np.int8), np.array([1.0, 3.0, 3.0])
    shown = Impressions(past.catalog, ["1", "2", "3"], ["a", "a", "a"], **rows, labels=labels, timestamp=times)
    depths = past.label.astype(np.int64)
    assert levels_from(shown, past, depths).tolist() == [1, 0, 3, 0, 1]
    assert levels_from(replace(shown, timestamp=None), past, depths).tolist() == [1, 0, 1, 0, 1]  # the first of the pair
    low = replace(shown, labels=np.zeros(5, np.int8))
    assert levels_from(low, past, depths).tolist() == [1, 0, 3, 0, 0]  # met all the same
    late, said = replace(low, timestamp=np.array([1.0, 2.0, 3.0])), "1 of 5 pairs were met at another moment than their row's"
    assert levels_from(late, past, depths).tolist() == [1, 0, 0, 0, 0]  # item 1 was met at 1 and 3
    assert unread_notes(late, past, levels_from(late, past, depths)) == (f"{said} (taken as not met)",)
    assert unread_notes(shown, past, levels_from(shown, past, depths)) == ()
    strangers = replace(shown, users=["x", "y", "z"])
    assert levels_from(strangers, past, depths).tolist() == [1, 0, 1, 0, 1]


def test_levels_go_where_the_candidates_go():
    shown = chain_from_ratings(interactions([1, 2, 3], [4, 5], rating=np.array([5, 3, 5, 1, 4], np.float32)), negatives=3)
    assert met(shown.take([4, 1])) == [("b", 5, 3), ("a", 2, 2)]
    assert shown.take([4, 1]).content_hash != replace(shown.take([4, 1]), levels=None).content_hash
    assert met(sample_negatives(shown, 2, seed=1)) == met(shown)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: chain_from_ratings(interactions([1])), "ratings are needed"),
        (lambda: rating_depths(interactions([1], rating=np.ones(1, np.float32)), (4, 3)), r"numbers that rise, not \[4, 3\]"),
        (lambda: chain_from_labels(interactions([1]), ["view", "view"], ORDER), "2 events for 1 interactions"),
        (lambda: chain_from_labels(interactions([1]), ["swim"], ORDER), "event 'swim' is not in the order"),
        (lambda: chain_from_labels(interactions([1]), ["view"], ("view", "view")), "names each of 1 to 100 events once"),
    ],
)
def test_what_cannot_be_is_said(call, said):
    with pytest.raises(DataError, match=said):
        call()


@pytest.mark.parametrize(("levels", "said"), [([1], "1 levels for 2 candidates"), ([0, 2], "contradict each other")])
def test_levels_that_do_not_fit_are_refused(levels, said):
    catalog, rows = interactions([1]).catalog, Ragged.from_rows([[1, 2]])
    with pytest.raises(DataError, match=said):
        Impressions(catalog, ["1"], ["a"], Ragged.from_rows([[]]), rows, np.array([1, 0], np.int8), levels=np.array(levels, np.int8))


def test_the_benchmark_draws_training_negatives_from_the_past_alone():
    from benchmarks.multitask import parts_of

    # Users a and b meet all of six items between them in training; each meets the other's in the last fifth.
    own, late = [[1, 2, 3], [4, 5, 6]] * 4, [[4], [1]] * 4
    rows = [[*first, *second] for first, second in zip(own, late, strict=True)]
    catalog = ItemCatalog(IdMap([f"i{k}" for k in range(6)]), {"title": [f"t{k}" for k in range(6)]})
    times = np.array([[user, 10 + user, 20 + user, 90 + user] for user in range(8)], np.float64).ravel()
    data = Interactions(catalog, IdMap(list("abcdefgh")), Ragged.from_rows(rows), timestamp=times, rating=np.full(32, 4, np.float32))
    parts = parts_of(data, None)
    learned = parts[0]
    assert (learned.timestamp < np.quantile(times, 0.8)).all()
    wrong = learned.candidates.where(learned.labels == 0)
    for user, row in zip(learned.users, wrong, strict=True):
        assert set(row.tolist()) <= {1, 2, 3, 4, 5, 6} - set(own[ord(user) - ord("a")])
    drawn = {(user, item) for user, row in zip(learned.users, wrong, strict=True) for item in row.tolist()}
    assert {("a", 4), ("b", 1)} & drawn  # with the later items barred, nobody's negatives would hold these
    assert [len(part) for part in parts[1:]] == [np.sum((times >= a) & (times < b)) for a, b in edges_of(times)]


def edges_of(times):
    first, second = np.quantile(times, [0.8, 0.9])
    return [(first, second), (second, np.inf)]

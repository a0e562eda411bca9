"""Ranks: hand-made cases, a brute-force sort, and what must hold for any scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.evaluation import ranks as module
from bertrec.evaluation.ranks import count_candidates, first_occurrences, place_among_targets, rank_targets


def brute_force(scores, targets, seen, candidates):
    """Sort each row's candidates: descending score, equals non-targets first, then the targets in the order given."""
    out = []
    for row, wanted in enumerate(targets):
        wanted = wanted.tolist()
        gone = set() if seen is None else set(seen[row].tolist()) - set(wanted)
        items = [i for i in range(1, scores.shape[1]) if i not in gone and (candidates is None or candidates[i])]
        items.sort(key=lambda i: (-scores[row, i], i in wanted, wanted.index(i) if i in wanted else 0))
        out += [items.index(target) + 1 for target in wanted]
    return out


@st.composite
def cases(draw, *, distinct=False):
    n_items, n_users = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if distinct:
        scores = np.stack([generator.permutation(n_items + 1) for _ in range(n_users)]).astype(np.float32)
    else:
        scores = generator.integers(0, 4, (n_users, n_items + 1)).astype(np.float32)
        scores[generator.random(scores.shape) < 0.2] = -np.inf
    targets = Ragged.from_rows([generator.permutation(n_items)[: generator.integers(0, n_items + 1)] + 1 for _ in range(n_users)])
    seen = Ragged.from_rows([generator.integers(0, n_items + 1, generator.integers(0, 2 * n_items)) for _ in range(n_users)])
    candidates = generator.random(n_items + 1) < 0.6
    candidates[targets.values] = True
    return scores, targets, draw(st.sampled_from([None, seen])), draw(st.sampled_from([None, candidates]))


@given(cases())
@settings(max_examples=200, deadline=None)
def test_equals_a_sort_with_ties_against_the_model(case):
    scores, targets, seen, candidates = case
    assert rank_targets(scores, targets, seen=seen, candidates=candidates).tolist() == brute_force(scores, targets, seen, candidates)


@given(cases())
@settings(max_examples=100, deadline=None)
def test_ranks_are_distinct_places_among_the_counted_candidates(case):
    scores, targets, seen, candidates = case
    ranks = Ragged(rank_targets(scores, targets, seen=seen, candidates=candidates), targets.offsets)
    counts = count_candidates(targets, n_items=scores.shape[1] - 1, seen=seen, candidates=candidates)
    for row, count in zip(ranks, counts, strict=True):
        assert len(set(row.tolist())) == len(row)
        assert all(1 <= rank <= count for rank in row)


@given(cases(distinct=True), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_permuting_the_items_changes_nothing(case, seed):
    scores, targets, seen, candidates = case
    new = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(scores.shape[1] - 1)])  # new[old id] is the new id
    moved = np.empty_like(scores)
    moved[:, new] = scores
    other_seen = None if seen is None else Ragged(new[seen.values], seen.offsets)
    other_candidates = None
    if candidates is not None:
        other_candidates = np.empty_like(candidates)
        other_candidates[new] = candidates
    before = rank_targets(scores, targets, seen=seen, candidates=candidates)
    after = rank_targets(moved, Ragged(new[targets.values], targets.offsets), seen=other_seen, candidates=other_candidates)
    assert before.tolist() == after.tolist()


@given(cases(), st.floats(0.25, 4.0))
@settings(max_examples=100, deadline=None)
def test_raising_a_target_never_worsens_its_rank(case, by):
    scores, targets, seen, candidates = case
    before = rank_targets(scores, targets, seen=seen, candidates=candidates)
    for place, (row, item) in enumerate(zip(targets.rows, targets.values, strict=True)):
        raised = scores.copy()
        raised[row, item] = max(scores[row, item], -1.0) + by
        assert rank_targets(raised, targets, seen=seen, candidates=candidates)[place] <= before[place]


@given(cases(), st.sampled_from([0.0, 3.5, -np.inf]))
@settings(max_examples=50, deadline=None)
def test_a_constant_model_places_the_targets_last(case, value):
    scores, targets, seen, candidates = case
    ranks = Ragged(rank_targets(np.full_like(scores, value), targets, seen=seen, candidates=candidates), targets.offsets)
    counts = count_candidates(targets, n_items=scores.shape[1] - 1, seen=seen, candidates=candidates)
    for row, count in zip(ranks, counts, strict=True):
        assert row.tolist() == list(range(count - len(row) + 1, count + 1))


@given(cases(), st.sampled_from([0, 32]), st.sampled_from([1, 1 << 19]))
@settings(max_examples=150, deadline=None)
def test_candidates_are_counted_as_sets(case, flags_a_pair, at_once):
    scores, targets, seen, candidates = case
    everything = {item for item in range(1, scores.shape[1]) if candidates is None or candidates[item]}
    expected = [len(everything - (set() if seen is None else set(seen[row]) - set(targets[row]))) for row in range(len(targets))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FLAGS_A_PAIR", flags_a_pair)
        patch.setattr(module, "_FLAGS_AT_ONCE", at_once)
        found = count_candidates(targets, n_items=scores.shape[1] - 1, seen=seen, candidates=candidates)
    assert found.tolist() == expected


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=5) | st.lists(st.lists(st.integers(0, 3), max_size=1), max_size=5))
@settings(max_examples=100, deadline=None)
def test_first_occurrences_and_places_of_one_or_more_a_row(rows):
    items = Ragged.from_rows(rows)
    assert first_occurrences(items).tolist() == [value not in row[:at] for row in rows for at, value in enumerate(row)]
    places = [sum((-other, number) < (-value, at) for number, other in enumerate(row)) for row in rows for at, value in enumerate(row)]
    assert place_among_targets(items.values.astype(np.float32), items.rows, items.offsets).tolist() == places


def test_several_targets_count_each_other():
    scores = np.array([[0, 5, 4, 3, 2, 1]], dtype=np.float32)
    assert rank_targets(scores, Ragged.from_rows([[5, 1, 3]])).tolist() == [5, 1, 3]


def test_seen_items_are_no_candidates_but_a_repeat_purchase_is():
    scores = np.array([[0, 5, 4, 3, 2]], dtype=np.float32)
    seen = Ragged.from_rows([[1, 2, 1, 3]])
    assert rank_targets(scores, Ragged.from_rows([[4]]), seen=seen).tolist() == [1]
    assert rank_targets(scores, Ragged.from_rows([[3]]), seen=seen).tolist() == [1]
    assert rank_targets(scores, Ragged.from_rows([[3]])).tolist() == [3]


def test_padding_never_counts_whatever_its_score():
    for padding in (9.0, np.nan, np.inf):
        assert rank_targets(np.array([[padding, 1.0, 0.0]]), Ragged.from_rows([[1]])).tolist() == [1]


def test_an_item_without_score_stands_last_of_the_candidates():
    scores = np.array([[0, -np.inf, 1.0, -np.inf, 2.0]])
    assert rank_targets(scores, Ragged.from_rows([[1]])).tolist() == [4]
    assert rank_targets(scores, Ragged.from_rows([[2]])).tolist() == [2]
    assert rank_targets(scores, Ragged.from_rows([[1]]), candidates=np.array([False, True, False, True, False])).tolist() == [2]


def test_blocks_do_not_change_the_answer(monkeypatch):
    generator = np.random.default_rng(3)
    scores = generator.integers(0, 9, (50, 31)).astype(np.float32)
    targets = Ragged.from_rows([generator.permutation(30)[: generator.integers(0, 4)] + 1 for _ in range(50)])
    seen = Ragged.from_rows([generator.integers(1, 31, 5) for _ in range(50)])
    whole = rank_targets(scores, targets, seen=seen)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 7 * 31 * 4)
    assert rank_targets(scores, targets, seen=seen).tolist() == whole.tolist() == brute_force(scores, targets, seen, None)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_every_number_type_is_ranked(dtype):
    assert rank_targets(np.array([[0, 3, 1, 2]], dtype=dtype), Ragged.from_rows([[3]])).tolist() == [2]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_name_the_row(bad):
    scores = np.zeros((3, 4))
    scores[2, 3] = bad
    with pytest.raises(ModelError, match=r"row 12 \(user 'zoë'\), item 3: the score is (nan|inf)"):
        rank_targets(scores, Ragged.from_rows([[1], [1], [1]]), users=["a", "b", "zoë"], first_row=10)


def test_nan_is_found_even_where_no_target_or_candidate_is():
    scores = np.array([[0.0, np.nan, 1.0, 2.0]])
    with pytest.raises(ModelError, match="item 1"):
        rank_targets(scores, Ragged.from_rows([[3]]), seen=Ragged.from_rows([[1]]))


@pytest.mark.parametrize(
    ("targets", "more", "text"),
    [
        ([[1], [2]], {}, "targets have 2 rows, scores have 1"),
        ([[4]], {}, "up to 3, found 4"),
        ([[-1]], {}, "found -1"),
        ([[0]], {}, "target 0 is no candidate"),
        ([[2, 2]], {}, "target 2 stands there twice"),
        ([[2]], {"candidates": np.array([False, True, False, True])}, "target 2 is no candidate"),
        ([[2]], {"candidates": np.ones(3, bool)}, "mask of 4 columns"),
        ([[2]], {"seen": Ragged.from_rows([[9]])}, "seen items must be inner item ids up to 3"),
    ],
)
def test_bad_input_is_named(targets, more, text):
    with pytest.raises(DataError, match=text):
        rank_targets(np.zeros((1, 4)), Ragged.from_rows(targets), **more)


@pytest.mark.parametrize("scores", [np.zeros(4), np.zeros((1, 1)), np.array([["a", "b"]]), np.zeros((1, 2), bool)])
def test_scores_must_be_a_table_of_numbers(scores):
    with pytest.raises(DataError, match="scores must be a table of numbers"):
        rank_targets(scores, Ragged.from_rows([[1]]))


def test_candidates_are_counted_once_a_seen_item():
    seen = Ragged.from_rows([[1, 1, 2, 0], [], [3]])
    targets = Ragged.from_rows([[2], [1], [1]])
    assert count_candidates(targets, n_items=5).tolist() == [5, 5, 5]
    assert count_candidates(targets, n_items=5, seen=seen).tolist() == [4, 5, 4]
    allowed = np.array([False, True, True, False, False, True])
    assert count_candidates(targets, n_items=5, seen=seen, candidates=allowed).tolist() == [2, 3, 3]

"""Ranks from vectors: equal to the ranks of the full score matrix, whatever the blocks and the threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError, NotFiniteError
from bertrec.core.products import pair_scores, rounding_bound
from bertrec.core.ragged import Ragged
from bertrec.evaluation import vector_ranks as module
from bertrec.evaluation.ranks import rank_targets
from bertrec.evaluation.vector_ranks import RankedItems, rank_vectors


def full_scores(users, items, repeats=None, bias=0.0):
    """Score every pair on its own; NaN rows of ``items`` have no score."""
    n, m = len(users), len(items)
    known = ~np.isnan(items).any(axis=1)
    rows, columns = np.divmod(np.arange(n * m), m)
    scores = pair_scores(users, np.where(known[:, None], items, np.float32(0)), rows, columns).reshape(n, m)
    if repeats is not None:
        keys = np.unique(repeats.rows * m + repeats.values)
        scores.reshape(-1)[keys] += np.float32(bias)
    scores[:, ~known] = -np.inf
    return scores


@st.composite
def cases(draw):
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_users, n_items, dim = draw(st.integers(1, 7)), draw(st.integers(1, 30)), draw(st.integers(1, 6))
    if draw(st.booleans()):  # whole numbers: many ties, exact products
        users, items = (generator.integers(-2, 3, (n, dim)).astype(np.float32) for n in (n_users, n_items + 1))
    else:  # rounded products, and items that stand there twice
        users = generator.standard_normal((n_users, dim)).astype(np.float32)
        items = generator.standard_normal((n_items + 1, dim)).astype(np.float32)[generator.integers(0, n_items + 1, n_items + 1)]
    items[generator.random(n_items + 1) < 0.15] = np.nan
    users[generator.random(n_users) < 0.15] = 0
    one_each = draw(st.booleans())  # the usual case, which takes a way of its own
    counts = np.ones(n_users, int) if one_each else generator.integers(0, 4, n_users)
    targets = Ragged.from_rows([generator.permutation(n_items)[:count] + 1 for count in counts])
    rows = [Ragged.from_rows([generator.integers(0, n_items + 1, generator.integers(0, 9)) for _ in range(n_users)]) for _ in range(2)]
    candidates = generator.random(n_items + 1) < 0.7
    candidates[targets.values] = True
    return users, items, targets, draw(st.sampled_from([None, rows[0]])), rows[1], draw(st.sampled_from([None, candidates]))


@given(
    cases(),
    st.sampled_from([0.0, -1.5, 0.75]),
    st.sampled_from([1, 3, 255]),
    st.sampled_from([1, 2, 1024]),
    st.sampled_from([(0, 99), (1000, 8), (1000, 99)]),
)
@settings(max_examples=120, deadline=None)
def test_equals_the_ranks_of_the_full_matrix(case, bias, at_once, users_at_once, way):
    users, items, targets, seen, repeats, candidates = case
    scores = full_scores(users, items, repeats, bias)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ITEMS_AT_ONCE", at_once)
        patch.setattr(module, "_USERS_AT_ONCE", users_at_once)
        patch.setattr(module, "_NEAR_AT_ONCE", 5)
        patch.setattr(module, "_PAIRS_COST", way[0])
        patch.setattr(module, "_MOST_PLACES", way[1])
        found = rank_vectors(users, RankedItems.of(items, candidates), targets, seen=seen, repeats=repeats, repeat_bias=bias)
    assert found.tolist() == rank_targets(scores, targets, seen=seen, candidates=candidates).tolist()


def test_a_matrix_product_that_rounds_otherwise_changes_no_rank(monkeypatch):
    """Every score of a block is moved by almost the rounding bound: ties of equal vectors must hold all the same."""
    generator = np.random.default_rng(0)
    users = generator.standard_normal((20, 64)).astype(np.float32)
    items = generator.standard_normal((301, 64)).astype(np.float32)
    items[151:301] = items[1:151]
    table, targets = RankedItems.of(items), Ragged.from_rows(generator.integers(1, 301, (20, 1)))
    bound = rounding_bound(users, table.largest_norm)[:, 0]
    true, real = full_scores(users, items), torch.mm
    rough = []

    def moved(part, queries, out):
        real(part, queries, out=out)
        out += torch.from_numpy(generator.uniform(-0.9, 0.9, out.shape).astype(np.float32) * bound)
        rough.append(out.numpy().T.copy())
        return out

    monkeypatch.setattr(torch, "mm", moved)
    expected = rank_targets(true, targets)
    assert rank_vectors(users, table, targets).tolist() == expected.tolist()
    padded = np.concatenate([np.zeros((20, 1), np.float32), *rough], axis=1)
    assert rank_targets(padded, targets).tolist() != expected.tolist()  # what a plain product of that rounding would have given


def test_threads_change_nothing(monkeypatch):
    generator = np.random.default_rng(1)
    users, items = (generator.standard_normal((n, 8)).astype(np.float32) for n in (700, 401))
    targets = Ragged.from_rows([generator.permutation(400)[: row % 4] + 1 for row in range(700)])
    monkeypatch.setattr(module, "_USERS_AT_ONCE", 64)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(rank_vectors(users, RankedItems.of(items), targets))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0].tolist() == found[1].tolist() == rank_targets(full_scores(users, items), targets).tolist()


def test_by_hand():
    items = RankedItems.of(np.array([[9, 9], [1, 0], [0, 1], [1, 1], [np.nan, 0]]))
    users = np.array([[2.0, 1.0], [0.0, 0.0]])
    assert rank_vectors(users, items, Ragged.from_rows([[2], [1]])).tolist() == [3, 3]  # all scores alike: last of the three, then no score
    assert rank_vectors(users, items, Ragged.from_rows([[4], [4]])).tolist() == [4, 4]
    assert rank_vectors(users, items, Ragged.from_rows([[2], []]), seen=Ragged.from_rows([[3, 3, 2], []])).tolist() == [2]
    assert rank_vectors(users, items, Ragged.from_rows([[2], []]), repeats=Ragged.from_rows([[2], []]), repeat_bias=5).tolist() == [1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e38])
def test_a_user_vector_without_finite_scores_is_named(bad):
    users = np.array([[1.0, 1.0], [bad, 1.0]])
    with pytest.raises(NotFiniteError, match=r"row 11 \(user 'b'\)"):
        rank_vectors(users, RankedItems.of([[0.0, 0.0], [1.0, 7.0]]), Ragged.from_rows([[1], [1]]), names=["a", "b"], first_row=10)


def test_what_does_not_fit_is_named():
    items = RankedItems.of(np.ones((4, 2)))
    with pytest.raises(NotFiniteError, match="item 2"):
        RankedItems.of([[0.0], [1.0], [np.inf]])
    with pytest.raises(DataError, match="n_items"):
        RankedItems.of(np.ones(3))
    with pytest.raises(DataError, match="mask of 4"):
        RankedItems.of(np.ones((4, 2)), np.ones(3, bool))
    with pytest.raises(DataError, match="2 dimensions"):
        rank_vectors(np.ones((1, 3)), items, Ragged.from_rows([[1]]))
    with pytest.raises(DataError, match="targets"):
        rank_vectors(np.ones((1, 2)), items, Ragged.from_rows([[4]]))
    with pytest.raises(DataError, match="stands there twice"):
        rank_vectors(np.ones((1, 2)), items, Ragged.from_rows([[1, 1]]))
    with pytest.raises(DataError, match="seen items have 2 rows"):
        rank_vectors(np.ones((1, 2)), items, Ragged.from_rows([[1]]), seen=Ragged.from_rows([[1], [2]]))


def test_the_rounding_of_tiny_vectors_is_never_taken_for_none():
    tiny = np.full((1, 4), 1e-30, np.float32)  # whose squares are 0 in float32
    assert rounding_bound(tiny, 1.0)[0, 0] > 0
    assert rounding_bound(np.zeros((1, 4), np.float32), 1.0)[0, 0] == 0

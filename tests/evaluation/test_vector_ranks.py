"""Ranks from vectors: equal to the ranks of the full score matrix, whatever the blocks and the threads."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError, NotFiniteError
from bertrec.core.lifts import Lifts
from bertrec.core.products import pair_scores, rounding_bound, row_lengths
from bertrec.core.ragged import Ragged
from bertrec.evaluation import count_above as module
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


@contextmanager
def threads_of_torch(number):
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        assert torch.get_num_threads() == number
        torch.set_num_threads(before)


def rank_in_blocks(case, bias, sizes, *, few, threads=1, **more):
    """Rank with blocks of these sizes: users or items at once, cells of a block of users by all items."""
    users, items, targets, seen, repeats, candidates = case
    at_once, users_at_once, cells_at_once = sizes
    limits = {"_ITEMS_AT_ONCE": at_once, "_USERS_AT_ONCE": users_at_once, "_CELLS_AT_ONCE": cells_at_once, "_NEAR_AT_ONCE": 5}
    limits |= {"_FEW_ITEMS": 4096 if few else 0, "_FEWEST_USERS": 1, "_MOST_ALONE": 0 if threads > 1 else 1 << 28} | more
    with pytest.MonkeyPatch.context() as patch, threads_of_torch(threads):
        for name, value in limits.items():
            patch.setattr(module, name, value)
        lifts = None if repeats is None else Lifts.constant(repeats, bias)
        return rank_vectors(users, RankedItems.of(items, candidates), targets, seen=seen, lifts=lifts)


BIASES = st.sampled_from([0.0, -1.5, 0.75])
SIZES = st.tuples(st.sampled_from([1, 3, 255]), st.sampled_from([1, 2, 1024]), st.sampled_from([1, 40, 1 << 18]))


def expected_ranks(case, bias):
    users, items, targets, seen, repeats, candidates = case
    return rank_targets(full_scores(users, items, repeats, bias), targets, seen=seen, candidates=candidates).tolist()


@given(cases(), BIASES, SIZES, st.sampled_from([1, 3]))
@settings(max_examples=120, deadline=None)
def test_few_items_equal_the_ranks_of_the_full_matrix(case, bias, sizes, threads):
    assert rank_in_blocks(case, bias, sizes, few=True, threads=threads).tolist() == expected_ranks(case, bias)


@given(cases(), BIASES, SIZES, st.sampled_from([(0, 99), (1000, 8), (1000, 99)]), st.sampled_from([1, 3]))
@settings(max_examples=120, deadline=None)
def test_many_items_equal_the_ranks_of_the_full_matrix(case, bias, sizes, way, threads):
    found = rank_in_blocks(case, bias, sizes, few=False, threads=threads, _PAIRS_COST=way[0], _MOST_SORTED=way[1])
    assert found.tolist() == expected_ranks(case, bias)


@pytest.mark.parametrize("n_items", [2039, 2040, 2047, 2100, 4095])
def test_what_counts_in_the_bytes_of_a_word_never_overflows(n_items):
    """All items stand above the target, or all but those seen: eight flags per word, 255 words at once."""
    items = RankedItems.of(np.arange(n_items + 1, dtype=np.float32)[:, None])
    users, targets = np.ones((3, 1), np.float32), Ragged.from_rows([[1], [1], [n_items]])
    seen = Ragged.from_rows([[], [2, 2, n_items, 1, 0], []])
    assert rank_vectors(users, items, targets, seen=seen).tolist() == [n_items, n_items - 2, 1]
    assert rank_vectors(-users, items, targets, seen=seen).tolist() == [1, 1, n_items]


@pytest.mark.parametrize("few", [True, False])
def test_a_matrix_product_that_rounds_otherwise_changes_no_rank(monkeypatch, few):
    """Every score of a block is moved by almost the rounding bound: ties of equal vectors must hold all the same."""
    generator = np.random.default_rng(0)
    users = generator.standard_normal((20, 64)).astype(np.float32)
    items = generator.standard_normal((301, 64)).astype(np.float32)
    items[151:301] = items[1:151]
    table, targets = RankedItems.of(items), Ragged.from_rows(generator.integers(1, 301, (20, 1)))
    bound = rounding_bound(users, table.largest_norm)[:, 0]
    true, real = full_scores(users, items), torch.mm
    rough = []

    def moved(left, right, out):
        real(left, right, out=out)
        by_user = out.numpy() if few else out.numpy().T
        by_user += generator.uniform(-0.9, 0.9, by_user.shape).astype(np.float32) * bound[:, None]
        rough.append(by_user[:, :301].copy())
        return out

    monkeypatch.setattr(torch, "mm", moved)
    monkeypatch.setattr(module, "_FEW_ITEMS", 301 if few else 300)
    expected = rank_targets(true, targets)
    assert rank_vectors(users, table, targets).tolist() == expected.tolist()
    padded = rough[0] if few else np.concatenate([np.zeros((20, 1), np.float32), *rough], axis=1)
    assert rank_targets(padded, targets).tolist() != expected.tolist()  # what a plain product of that rounding would have given


@pytest.mark.parametrize("few", [True, False])
def test_threads_change_nothing(monkeypatch, few):
    generator = np.random.default_rng(1)
    users, items = (generator.standard_normal((n, 8)).astype(np.float32) for n in (700, 401))
    targets = Ragged.from_rows([generator.permutation(400)[: row % 4] + 1 for row in range(700)])
    seen = Ragged.from_rows([generator.integers(0, 401, 40) for _ in range(700)])
    for name, value in {"_USERS_AT_ONCE": 64, "_FEWEST_USERS": 1, "_FEW_ITEMS": 4096 if few else 0}.items():
        monkeypatch.setattr(module, name, value)
    found = []
    for threads, most_alone in ((1, 0), (3, 0), (3, 1 << 28)):
        monkeypatch.setattr(module, "_MOST_ALONE", most_alone)
        with threads_of_torch(threads):
            found.append(rank_vectors(users, RankedItems.of(items), targets, seen=seen).tolist())
    assert found == [rank_targets(full_scores(users, items), targets, seen=seen).tolist()] * 3


@pytest.mark.parametrize("few", [True, False])
def test_a_rank_does_not_depend_on_the_other_users(monkeypatch, few):
    generator = np.random.default_rng(2)
    users, items = (generator.standard_normal((n, 64)).astype(np.float32) for n in (60, 301))
    items[151:301] = items[1:151] * np.float32(1 + 2e-7)  # scores that a product tells apart or not, as it is summed
    targets, seen = (Ragged.from_rows(generator.integers(1, 301, (60, n))) for n in (1, 9))
    monkeypatch.setattr(module, "_FEW_ITEMS", 4096 if few else 0)
    table = RankedItems.of(items)
    alone = [rank_vectors(users[[row]], table, targets.take([row]), seen=seen.take([row])) for row in range(60)]
    assert rank_vectors(users, table, targets, seen=seen).tolist() == np.concatenate(alone).tolist()


def test_item_vectors_may_lie_in_memory_as_they_like():
    generator = np.random.default_rng(3)
    users, items = (generator.standard_normal((n, 5)).astype(np.float32) for n in (6, 31))
    targets = Ragged.from_rows(generator.integers(1, 31, (6, 1)))
    found = [rank_vectors(users, RankedItems.of(table), targets).tolist() for table in (items, np.asfortranarray(items))]
    assert found[0] == found[1] == rank_targets(full_scores(users, items), targets).tolist()


def test_ranked_items_keep_what_is_counted():
    vectors = np.array([[9.0, 9.0], [1.0, 0.0], [np.nan, np.inf], [0.0, 2.0]])
    items = RankedItems.of(vectors)
    assert items.known.tolist() == items.inside.tolist() == [False, True, False, True]
    assert items.vectors.tolist() == [[0, 0], [1, 0], [0, 0], [0, 2]]
    assert items.counted.tolist() == [[0, 0], [1, 0], [0, 2]]
    assert items.largest_norm == 2.0
    some = RankedItems.of(vectors, np.array([True, False, True, True]))
    assert (some.inside.tolist(), some.counted.tolist()) == ([False, False, False, True], [[0, 0], [0, 2]])


def test_by_hand():
    items = RankedItems.of(np.array([[9, 9], [1, 0], [0, 1], [1, 1], [np.nan, 0]]))
    users = np.array([[2.0, 1.0], [0.0, 0.0]])
    assert rank_vectors(users, items, Ragged.from_rows([[2], [1]])).tolist() == [3, 3]  # all scores alike: last of the three, then no score
    assert rank_vectors(users, items, Ragged.from_rows([[4], [4]])).tolist() == [4, 4]
    assert rank_vectors(users, items, Ragged.from_rows([[2], []]), seen=Ragged.from_rows([[3, 3, 2], []])).tolist() == [2]
    assert rank_vectors(users, items, Ragged.from_rows([[2], []]), lifts=Lifts.constant(Ragged.from_rows([[2], []]), 5)).tolist() == [1]


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


def test_row_lengths_are_those_of_float64():
    generator = np.random.default_rng(4)
    table = generator.standard_normal((2000, 70)).astype(np.float32)  # more than is taken at once
    table[3], table[5, 1], table[7, 2] = 1e-30, np.nan, -np.inf
    expected = np.linalg.norm(table.astype(np.float64), axis=1)
    np.testing.assert_allclose(row_lengths(table), expected, rtol=1e-14)
    assert np.isnan(expected[5])
    assert row_lengths(np.zeros((0, 3), np.float32)).tolist() == []

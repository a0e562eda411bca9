"""Top-k lists and what they say beyond accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.evaluation.lists import check_lists, coverage, gini, list_metrics, novelty, self_information, top_k_items


@given(st.integers(0, 2**32 - 1), st.integers(1, 15))
@settings(max_examples=150, deadline=None)
def test_lists_equal_a_sort(seed, k):
    generator = np.random.default_rng(seed)
    n_users, n_items = generator.integers(1, 5), generator.integers(1, 12)
    scores = generator.integers(0, 4, (n_users, n_items + 1)).astype(np.float32)
    scores[generator.random(scores.shape) < 0.2] = -np.inf
    seen = Ragged.from_rows([generator.integers(0, n_items + 1, 4) for _ in range(n_users)])
    allowed = generator.random(n_items + 1) < 0.8
    found = top_k_items(scores, k, seen=seen, candidates=allowed)
    for row in range(n_users):
        items = [i for i in range(1, n_items + 1) if allowed[i] and i not in seen[row] and scores[row, i] > -np.inf]
        best = sorted(items, key=lambda i: (-scores[row, i], i))[:k]
        assert found[row].tolist() == best + [0] * (k - len(best))


def test_coverage_counts_candidates_only():
    allowed = np.array([False, True, True, True, False])
    assert coverage(np.array([[1, 4], [1, 0]]), allowed) == pytest.approx(1 / 3)


def test_self_information_is_finite_for_items_never_met():
    assert self_information(np.array([0, 3, 0, 0, 1])).tolist() == [0.0, 1.0, 3.0, 3.0, 2.0]  # (c + 1) / 8


def test_novelty_leaves_padding_out():
    counts = np.array([0, 3, 0, 0, 1])
    assert novelty(np.array([[1, 2], [4, 0], [0, 0]]), counts).tolist() == [2.0, 2.0, 0.0]


def test_gini_of_even_and_of_one_sided_lists():
    allowed = np.array([False, True, True, True, True])
    assert gini(np.array([[1, 2], [3, 4]]), allowed) == 0.0
    assert gini(np.array([[2], [2]]), allowed) == pytest.approx(3 / 4)  # (n - 1) / n
    assert gini(np.array([[1, 2], [1, 3]]), allowed) == pytest.approx((-3 * 0 - 1 * 1 + 1 * 1 + 3 * 2) / (4 * 4))
    assert gini(np.zeros((2, 2), int), allowed) == 0.0


def test_names_and_cuts():
    lists = np.array([[1, 2], [1, 3]])
    each, together = list_metrics(lists, (1, 2), item_counts=np.array([0, 1, 1, 1]), candidates=np.array([False, True, True, True]))
    assert {name: len(values) for name, values in each.items()} == {"Novelty@1": 2, "Novelty@2": 2}
    assert together["Coverage@1"] == pytest.approx(1 / 3)
    assert together["Coverage@2"] == 1.0
    assert set(together) == {"Coverage@1", "Coverage@2", "Gini@1", "Gini@2"}


@pytest.mark.parametrize("lists", [np.zeros((2, 1), int), np.zeros((3, 2), int), np.zeros((2, 2)), np.full((2, 2), 9), np.full((2, 2), -1)])
def test_given_lists_are_checked(lists):
    with pytest.raises(DataError, match="top-k lists must"):
        check_lists(lists, rows=2, k=2, n_items=8)

"""The expectation of a random order, against every order there is."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from bertrec.core.ragged import Ragged
from bertrec.evaluation.expectation import random_expectation
from bertrec.evaluation.metrics import RANK_METRICS


@pytest.mark.parametrize("metric", RANK_METRICS)
@pytest.mark.parametrize(("n_candidates", "n_targets"), [(1, 1), (6, 1), (6, 2), (7, 4), (5, 5)])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_equals_the_mean_over_all_orders(metric, n_candidates, n_targets, k):
    orders = Ragged.from_rows(list(combinations(range(1, n_candidates + 1), n_targets)))
    assert random_expectation(metric, k, n_candidates, n_targets) == pytest.approx(RANK_METRICS[metric](orders, k).mean(), abs=1e-12)


def test_arrays_give_one_value_per_user():
    found = random_expectation("HR", 10, np.array([100, 5, 20]), np.array([1, 1, 2]))
    np.testing.assert_allclose(found, [0.1, 1.0, 1 - (10 * 9) / (20 * 19)])


def test_large_catalogues_are_exact():
    assert float(random_expectation("NDCG", 10, 12_101)) == pytest.approx(sum(1 / np.log2(np.arange(2, 12))) / 12_101, rel=1e-12)


@pytest.mark.parametrize(
    ("metric", "k", "candidates", "targets", "text"),
    [
        ("NDGC", 10, 5, 1, "did you mean 'NDCG'"),
        ("HR", 10, 3, 4, "cannot outnumber"),
        ("HR", 0, 3, 1, "at least 1"),
        ("HR", 1, 3, 0, "at least 1"),
    ],
)
def test_bad_input_is_named(metric, k, candidates, targets, text):
    with pytest.raises(ValueError, match=text):
        random_expectation(metric, k, candidates, targets)

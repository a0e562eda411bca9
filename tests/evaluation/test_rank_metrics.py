"""Metrics from ranks: by hand, and from the definitions over a sorted list."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.ragged import Ragged
from bertrec.evaluation.metrics import RANK_METRICS, distinct_ranks, rank_metrics


def test_by_hand():
    found = rank_metrics(Ragged.from_rows([[2, 5, 40]]), (1, 5))
    expected = {
        "HR@1": 0.0,
        "HR@5": 1.0,
        "Recall@5": 2 / 3,
        "Precision@5": 2 / 5,
        "NDCG@5": (1 / math.log2(3) + 1 / math.log2(6)) / (1 + 1 / math.log2(3) + 1 / 2),
        "MRR@1": 0.0,
        "MRR@5": 1 / 2,
        "MAP@5": (1 / 2 + 2 / 5) / 3,
        "MAP@1": 0.0,
    }
    for name, value in expected.items():
        assert found[name][0] == pytest.approx(value, abs=1e-12), name


def test_more_targets_than_places_can_still_be_perfect():
    found = rank_metrics(Ragged.from_rows([[3, 1, 2]]), (2,))
    assert {name: float(values[0]) for name, values in found.items()} == {
        "HR@2": 1.0,
        "Recall@2": pytest.approx(2 / 3),
        "Precision@2": 1.0,
        "NDCG@2": 1.0,
        "MRR@2": 1.0,
        "MAP@2": 1.0,
    }


def test_a_user_without_targets_has_no_value():
    for name, values in rank_metrics(Ragged.from_rows([[], [1], []]), (3,)).items():
        assert np.isnan(values).tolist() == [True, False, True], name


def by_definition(ranks, k):
    relevant = [1 if place in ranks else 0 for place in range(1, k + 1)]
    gains = [r / math.log2(i + 1) for i, r in enumerate(relevant, 1)]
    ideal = sum(1 / math.log2(i + 1) for i in range(1, min(k, len(ranks)) + 1))
    precisions = [sum(relevant[:i]) / i for i in range(1, k + 1)]
    return {
        "HR": max(relevant),
        "Recall": sum(relevant) / len(ranks),
        "Precision": sum(relevant) / k,
        "NDCG": sum(gains) / ideal,
        "MRR": max(r / i for i, r in enumerate(relevant, 1)),
        "MAP": sum(p * r for p, r in zip(precisions, relevant, strict=True)) / min(k, len(ranks)),
    }


@given(st.lists(st.sets(st.integers(1, 30), min_size=1, max_size=8).map(list), min_size=1, max_size=5), st.integers(1, 25))
@settings(max_examples=150, deadline=None)
def test_equals_the_definitions(rows, k):
    found = {name: metric(Ragged.from_rows(rows), k) for name, metric in RANK_METRICS.items()}
    for row, ranks in enumerate(rows):
        for name, value in by_definition(ranks, k).items():
            assert found[name][row] == pytest.approx(value, abs=1e-12), name
            assert 0.0 <= found[name][row] <= 1.0 + 1e-12


@given(st.lists(st.integers(1, 60), max_size=9), st.sets(st.integers(1, 55), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_one_target_a_user_is_measured_as_any_number_is(ranks, ks):
    found = rank_metrics(Ragged.from_rows([[rank] for rank in ranks]), sorted(ks))
    beside = rank_metrics(Ragged.from_rows([*([rank] for rank in ranks), [1, 2]]), sorted(ks))  # which takes the general way
    assert list(found) == list(beside)
    assert {name: values.tolist() for name, values in found.items()} == {name: values[:-1].tolist() for name, values in beside.items()}


def test_ranks_that_are_no_places_of_one_list_are_seen():
    assert distinct_ranks(Ragged.from_rows([[2, 1], [1], []]))
    assert not distinct_ranks(Ragged.from_rows([[2, 5, 2]]))
    assert not distinct_ranks(Ragged.from_rows([[0]]))

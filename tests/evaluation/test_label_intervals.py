from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.evaluation.label_intervals import _Ranked, auc_difference, auc_interval
from bertrec.evaluation.labels import auc


@given(st.integers(0, 2**32 - 1))
def test_weighted_is_the_auc_of_repeated_pairs(seed):
    generator = np.random.default_rng(seed)
    scores, labels, users = generator.integers(0, 4, 30) / 4, generator.integers(0, 2, 30), generator.integers(0, 5, 30)
    times = generator.integers(0, 3, 5)
    found = _Ranked(scores, labels == 1, users).auc(times)
    repeated = np.repeat(np.arange(30), times[users])
    if len(set(labels[repeated])) < 2:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(auc(scores[repeated], labels[repeated]), abs=1e-12)


def test_interval_by_hand():
    # Two users: AUC 1 within the first, 0 within the second. A resample is both (probability 1/2) or one of them twice.
    scores, labels, users = [0.9, 0.8, 0.1, 0.2], [1, 0, 1, 0], ["a", "a", "b", "b"]
    assert auc(scores, labels) == 0.5
    assert auc_interval(scores, labels, users) == (0.0, 1.0)


def test_difference_of_a_model_with_itself_is_nothing():
    generator = np.random.default_rng(0)
    scores, labels, users = generator.random(200), generator.integers(0, 2, 200), np.arange(200) // 10
    found = auc_difference(scores, 3 * scores - 7, labels, users)  # the AUC knows the order alone
    assert (found.difference, found.ci95, found.pairs, found.users) == (0.0, (0.0, 0.0), 200, 20)
    assert found.auc_a == auc(scores, labels)


def test_difference_is_paired_and_seeded():
    generator = np.random.default_rng(0)
    labels, users = generator.integers(0, 2, 600), np.arange(600) // 10
    noise = generator.normal(size=600)
    good, bad = labels + noise, 0.5 * labels + noise
    found = auc_difference(good, bad, labels, users)
    assert found.ci95[0] > 0
    assert found.ci95[0] < found.difference < found.ci95[1]
    assert found == auc_difference(good, bad, labels, users)
    alone = auc_interval(good, labels, users)
    assert found.ci95[1] - found.ci95[0] < alone[1] - alone[0]


def test_many_samples_find_the_spread_that_a_formula_gives():
    # One pair per user, untied: the AUC's standard error is that of DeLong et al. (1988).
    generator = np.random.default_rng(1)
    labels = np.arange(400) % 2
    scores = labels + generator.normal(size=400) * 1.5
    wins = scores[labels == 1][:, None] > scores[labels == 0][None, :]
    error = np.sqrt(wins.mean(axis=1).var(ddof=1) / 200 + wins.mean(axis=0).var(ddof=1) / 200)
    low, high = auc_interval(scores, labels, np.arange(400), resamples=4000)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.06)


@pytest.mark.parametrize(
    ("labels", "rows", "message"),
    [([1, 1], [0, 1], "both labels"), ([0, 1], [0], "one user's row"), ([0, 1, 2], [0, 1, 1], "two lists of one length")],
)
def test_bad_input(labels, rows, message):
    with pytest.raises(DataError, match=message):
        auc_interval([0.1, 0.2], labels, rows)


def test_no_resample_with_both_labels():
    with pytest.raises(DataError, match="too few users"):
        auc_interval([0.1, 0.2], [0, 1], [0, 1], resamples=0)

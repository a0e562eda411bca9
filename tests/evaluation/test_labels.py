"""AUC and UAUC, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError, ModelError
from bertrec.evaluation.evaluate import evaluate_labels
from bertrec.evaluation.labels import auc, user_auc
from bertrec.evaluation.protocol import Protocol


def pairs_won(scores, labels, tie):
    wins = [(p > q) + tie * (p == q) for p in scores[labels == 1] for q in scores[labels == 0]]
    return float(np.mean(wins)) if wins else float("nan")


@given(st.integers(0, 2**32 - 1), st.sampled_from([("half", 0.5), ("against", 0.0)]))
@settings(max_examples=100, deadline=None)
def test_equals_counting_the_pairs(seed, ties):
    generator = np.random.default_rng(seed)
    total, n_users = generator.integers(2, 40), generator.integers(1, 6)
    scores, labels = generator.integers(0, 5, total).astype(float), generator.integers(0, 2, total)
    labels[:2] = [0, 1]
    rows = generator.integers(0, n_users, total)
    assert auc(scores, labels, ties=ties[0]) == pytest.approx(pairs_won(scores, labels, ties[1]), abs=1e-12)
    found = user_auc(scores, labels, rows, n_users, ties=ties[0])
    expected = np.array([pairs_won(scores[rows == row], labels[rows == row], ties[1]) for row in range(n_users)])
    np.testing.assert_allclose(found.per_user, expected, atol=1e-12)
    assert (found.users, found.skipped) == (np.isfinite(expected).sum(), np.isnan(expected).sum())


def test_equals_scikit_learn_with_ties():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    generator = np.random.default_rng(2)
    scores, labels = generator.integers(0, 30, 500) / 7, generator.integers(0, 2, 500)
    assert auc(scores, labels) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-9)


def test_a_constant_model_gets_half_or_nothing():
    assert auc([1, 1, 1, 1], [0, 1, 0, 1]) == 0.5
    assert auc([1, 1, 1, 1], [0, 1, 0, 1], ties="against") == 0.0


def test_users_with_one_class_are_skipped_and_counted():
    found = user_auc([3, 1, 2, 5, 4], [1, 0, 1, 1, 1], np.array([0, 0, 1, 2, 2]), 4)
    assert (found.mean, found.users, found.skipped) == (1.0, 1, 3)
    assert np.isnan(user_auc([1.0], [1], np.array([0]), 1).mean)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    with pytest.raises(ModelError, match="row 1: the score is"):
        auc([0.1, bad], [0, 1])


def test_no_score_stands_below_every_score():
    assert auc([-np.inf, -1e9], [1, 0]) == 0.0


@pytest.mark.parametrize(
    ("scores", "labels", "text"),
    [([1.0], [1, 0], "one length"), ([1.0, 2.0], [1, 1], "both labels"), ([1.0, 2.0], [1, 2], "row 1: label 2"), ([], [], "both labels")],
)
def test_bad_labels_are_named(scores, labels, text):
    with pytest.raises(DataError, match=text):
        auc(scores, labels)


def test_rows_must_fit():
    with pytest.raises(DataError, match="rows must be 2 numbers from 0 to 0"):
        user_auc([1, 2], [0, 1], np.array([0, 1]), 1)


def test_report_of_labels():
    report = evaluate_labels(
        [3, 1, 2, 5], [1, 0, 1, 0], np.array([0, 0, 1, 1]), ["a", "b"], Protocol(bootstrap=200), info={"model_hash": "x"}
    )
    out = report.to_json()
    assert out["slices"]["all"]["users"] == 2
    assert out["slices"]["all"]["metrics"]["UAUC"]["mean"] == 0.5
    assert out["slices"]["all"]["metrics"]["UAUC"]["ci95"] == [0.0, 1.0]
    assert out["slices"]["all"]["metrics"]["AUC"] == {"mean": 0.5, "ci95": None}
    assert out["protocol"]["ties"] == "count half"
    assert out["protocol"]["pairs"] == 4
    assert out["protocol"]["model_hash"] == "x"
    assert "mask_seen" not in out["protocol"]
    assert report.per_user("UAUC").tolist() == [1.0, 0.0]


def test_report_needs_a_user_with_both_labels():
    with pytest.raises(DataError, match="a user with both labels"):
        evaluate_labels([3, 1], [1, 0], np.array([0, 1]), ["a", "b"], Protocol())

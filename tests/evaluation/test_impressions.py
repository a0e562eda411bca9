"""Impression metrics against MIND's formulas written out, scikit-learn, and by hand."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.evaluation.impressions import IMPRESSION_METRICS, evaluate_impressions, impression_metrics
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.significance import paired_comparison

QUICK = Protocol(bootstrap=0)


def dcg(relevance, k):
    return sum(gain / np.log2(place + 2) for place, gain in enumerate(relevance[:k]))


def by_hand(scores, labels):
    """MIND's formulas for one impression, one candidate at a time, clicks last among equal scores."""
    if len(set(labels)) < 2:
        return dict.fromkeys(IMPRESSION_METRICS, np.nan)
    order = sorted(range(len(scores)), key=lambda at: (-scores[at], labels[at]))
    relevance = [labels[at] for at in order]
    wins = [(p > q) + 0.5 * (p == q) for p, a in zip(scores, labels, strict=True) for q, b in zip(scores, labels, strict=True) if a > b]
    found = {"AUC": np.mean(wins), "MRR": sum(gain / (place + 1) for place, gain in enumerate(relevance)) / sum(relevance)}
    return found | {f"nDCG@{k}": dcg(relevance, k) / dcg(sorted(relevance, reverse=True), k) for k in (5, 10)}


def drawn(seed, *, most=15, scores=6):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, most, generator.integers(1, 8))
    total = int(lengths.sum())
    labels = (generator.random(total) < 0.3).astype(int)
    return generator.integers(0, scores, total).astype(float), labels, np.concatenate([[0], np.cumsum(lengths)])


def rows_of(offsets):
    return [slice(a, b) for a, b in pairwise(offsets)]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_equals_the_formulas_written_out(seed):
    scores, labels, offsets = drawn(seed)
    found = impression_metrics(scores, labels, offsets)
    expected = [by_hand(scores[row].tolist(), labels[row].tolist()) for row in rows_of(offsets)]
    for name in IMPRESSION_METRICS:
        np.testing.assert_allclose(found[name], [row[name] for row in expected], atol=1e-12)


def mind_mrr(labels, scores):
    order = np.argsort(scores)[::-1]
    return np.sum(labels[order] / (np.arange(len(labels)) + 1)) / np.sum(labels)


def test_equals_scikit_learn_without_ties():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    generator = np.random.default_rng(3)
    scores, labels = generator.random(600), np.tile([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], 50)
    found = impression_metrics(scores, labels, np.arange(0, 601, 12))
    for row in range(50):
        here, truth = scores[12 * row : 12 * row + 12], labels[12 * row : 12 * row + 12]
        assert found["AUC"][row] == pytest.approx(metrics.roc_auc_score(truth, here), abs=1e-12)
        assert found["MRR"][row] == pytest.approx(mind_mrr(truth, here), abs=1e-12)
        for k in (5, 10):
            assert found[f"nDCG@{k}"][row] == pytest.approx(metrics.ndcg_score([truth], [here], k=k), abs=1e-12)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_order_shown_and_the_scale_of_scores_change_nothing(seed):
    scores, labels, offsets = drawn(seed)
    generator = np.random.default_rng(seed)
    order = np.concatenate([row.start + generator.permutation(row.stop - row.start) for row in rows_of(offsets)] or [[]]).astype(int)
    before = impression_metrics(scores, labels, offsets)
    for values, truth in ((scores[order], labels[order]), (np.exp(scores) - 40.0, labels), ((7 * scores).astype(np.float32), labels)):
        after = impression_metrics(values, truth, offsets)
        for name in IMPRESSION_METRICS:
            np.testing.assert_allclose(after[name], before[name], atol=1e-12)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_every_figure_is_a_share_and_the_labels_themselves_are_perfect(seed):
    scores, labels, offsets = drawn(seed)
    found, perfect = impression_metrics(scores, labels, offsets), impression_metrics(labels, labels, offsets)
    for name in IMPRESSION_METRICS:
        values = found[name][~np.isnan(found[name])]
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()
        if name != "MRR":  # the mean of 1, 1/2, … where there are several clicks
            np.testing.assert_allclose(perfect[name][~np.isnan(perfect[name])], 1.0)


def test_a_constant_model_gets_the_last_places():
    found = impression_metrics([2, 2, 2, 2], [1, 0, 0, 0], [0, 4])
    assert (found["AUC"][0], found["MRR"][0]) == (0.5, 0.25)
    assert found["nDCG@5"][0] == pytest.approx(1 / np.log2(5))
    assert impression_metrics([1] * 12, [1] + [0] * 11, [0, 12])["nDCG@10"][0] == 0.0


def four_impressions(**more):
    # One with both labels, one without a click, one with clicks only, one with both, one without a candidate.
    scores, labels = [3, 1, 2, 5, 4, 1, 1, 0], [1, 0, 0, 0, 1, 1, 0, 1]
    offsets, users = [0, 3, 4, 6, 8, 8], ["사용자", "b", "c", "사용자", 7]
    return evaluate_impressions(scores, labels, offsets, users, more.pop("protocol", QUICK), **more)


def test_what_has_no_value_is_left_out_and_counted():
    report = four_impressions()
    assert report.slices["all"].rows.tolist() == [0, 3]
    assert report.per_user("AUC").tolist() == [1.0, 0.0]
    assert report.per_user("MRR").tolist() == [1.0, 0.5]
    assert report.mean("AUC") == 0.5
    assert report.protocol["left_out"] == {
        "impressions_without_candidate": 1,
        "impressions_without_click": 1,
        "impressions_with_clicks_only": 1,
    }
    assert (report.protocol["impressions"], report.protocol["users"], report.protocol["pairs"]) == (2, 1, 5)
    assert list(report.slices) == ["all"]
    with pytest.raises(DataError, match=r"no impression holds both a click and another candidate: 1 impressions with clicks only$"):
        evaluate_impressions([1, 2], [1, 1], [0, 2], ["u"], QUICK)


def test_the_report_has_the_shape_of_every_measuring_command():
    report = four_impressions(protocol=Protocol(bootstrap=50, seed=1), info={"model_hash": "x"})
    out = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert list(out) == ["protocol", "slices", "seconds"]
    assert list(out["slices"]["all"]["metrics"]) == list(IMPRESSION_METRICS)
    assert out["slices"]["all"]["metrics"]["AUC"] == {"mean": 0.5, "ci95": [0.0, 1.0]}
    assert out["protocol"]["model_hash"] == "x"
    assert out["protocol"]["interval"] == "percentile bootstrap over impressions"
    assert "against the model" in out["protocol"]["ties"]
    assert "count half" in out["protocol"]["ties"]
    assert not {"mask_seen", "ks", "items"} & out["protocol"].keys()
    with pytest.raises(ConfigError, match=r"info cannot replace .*ties"):
        four_impressions(info={"ties": "kind"})


def test_slices_by_history():
    scores, labels = [2, 1] * 6, [1, 0] * 6
    report = evaluate_impressions(scores, labels, np.arange(0, 13, 2), list("abcdef"), QUICK, history_lengths=[0, 1, 5, 6, 20, 21])
    assert {name: part.rows.tolist() for name, part in report.slices.items()} == {
        "all": [0, 1, 2, 3, 4, 5],
        "empty_histories": [0],
        "short_histories": [1, 2],
        "long_histories": [5],
    }
    empty = evaluate_impressions(scores, labels, np.arange(0, 13, 2), list("abcdef"), QUICK, history_lengths=[9] * 6)
    assert empty.to_json()["slices"]["long_histories"] == {"users": 0, "metrics": {}}


def test_two_reports_pair():
    generator = np.random.default_rng(0)
    labels, offsets, users = np.tile([1, 0, 0, 0, 0], 80), np.arange(0, 401, 5), [f"u{row}" for row in range(80)]
    good = evaluate_impressions(labels + generator.random(400), labels, offsets, users, QUICK)
    chance = evaluate_impressions(generator.random(400), labels, offsets, users, QUICK)
    result = paired_comparison(good.per_user("nDCG@5"), chance.per_user("nDCG@5"), names=("good", "chance"))
    assert result.verdict == "good is better than chance"
    assert chance.mean("AUC") == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_name_the_impression(bad):
    with pytest.raises(ModelError, match=r"impression row 1 of user 'b', candidate 2: the score is"):
        evaluate_impressions([1, 2, 3, bad], [1, 0, 1, 0], [0, 2, 4], ["a", "b"], QUICK)
    with pytest.raises(ModelError, match=r"impression '11' \(row 0\) of user 'a', candidate 1"):
        evaluate_impressions([bad, 2], [1, 0], [0, 2], ["a"], QUICK, ids=["11"])


@pytest.mark.parametrize(
    ("labels", "offsets", "users", "message"),
    [
        (None, [0, 2], ["a"], "have no labels"),
        ([1], [0, 2], ["a"], "one length"),
        ([1, 2], [0, 2], ["a"], "row 0 of user 'a', candidate 2: label 2 is neither"),
        ([1, 0], [0, 3], ["a"], "offsets must run from 0 to the 2 scores"),
        ([1, 0], [0, 2, 1, 2], ["a", "b", "c"], "without decreasing"),
        ([1, 0], [], [], "offsets must run"),
        ([1, 0], [0, 2], ["a", "b"], "2 users for 1 impressions"),
    ],
)
def test_bad_input_is_named(labels, offsets, users, message):
    with pytest.raises(DataError, match=message):
        evaluate_impressions([1.0, 2.0], labels, offsets, users, QUICK)


def test_history_lengths_must_fit():
    with pytest.raises(DataError, match="history_lengths must hold 1 numbers"):
        evaluate_impressions([1.0, 2.0], [0, 1], [0, 2], ["a"], QUICK, history_lengths=[1, 2])

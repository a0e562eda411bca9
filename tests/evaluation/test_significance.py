"""Intervals and tests with known answers."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest

from bertrec.core.errors import DataError
from bertrec.evaluation.intervals import bootstrap_intervals, resampled_means
from bertrec.evaluation.significance import NO_DIFFERENCE, above_expectation, all_pairs, holm, is_shown, paired_comparison, with_holm


@pytest.mark.parametrize("kind", ["continuous", "grouped"])
def test_interval_agrees_with_the_normal_one(kind):
    generator = np.random.default_rng(0)
    values = generator.random(2000) if kind == "continuous" else generator.integers(0, 3, 2000).astype(float)
    low, high = bootstrap_intervals(values[:, None], resamples=4000, seed=1)[0]
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_interval_of_two_users_holds_all_four_samples():
    means = resampled_means(np.array([[0.0], [1.0]]), resamples=4000, seed=0)[:, 0]
    shares = {value: float(np.mean(means == value)) for value in (0.0, 0.5, 1.0)}
    assert shares == pytest.approx({0.0: 0.25, 0.5: 0.5, 1.0: 0.25}, abs=0.03)


def test_groups_and_single_draws_have_one_distribution():
    generator = np.random.default_rng(4)
    grouped = generator.integers(0, 2, (400, 2)).astype(float)
    single = grouped + 1e-9 * generator.random((400, 2))  # the same values, but all users differ
    a, b = (bootstrap_intervals(values, resamples=5000, seed=3) for values in (grouped, single))
    np.testing.assert_allclose(a, b, atol=0.006)


def test_metrics_share_one_set_of_resamples():
    column = np.random.default_rng(1).random((300, 1))
    means = resampled_means(np.hstack([column, 2 * column]), resamples=50)
    np.testing.assert_allclose(means[:, 1], 2 * means[:, 0])


def test_seed_decides_the_interval():
    values = np.random.default_rng(1).random((300, 2))
    first, again, other = (bootstrap_intervals(values, resamples=100, seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_one_user_and_equal_users_have_an_interval_of_no_width():
    assert bootstrap_intervals(np.array([[0.3]]), resamples=20).tolist() == [[0.3, 0.3]]
    np.testing.assert_allclose(bootstrap_intervals(np.full((50, 1), 0.3), resamples=20), [[0.3, 0.3]])


def test_a_large_evaluation_is_resampled_in_seconds():
    values = np.random.default_rng(0).random((22_363, 25))
    started = time.process_time()
    bootstrap_intervals(values, resamples=1000)
    assert time.process_time() - started < 6.0  # half a second when the machine is idle


def test_coverage_of_the_interval():
    generator = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        low, high = bootstrap_intervals(generator.random((60, 1)), resamples=300, seed=seed)[0]
        inside += low <= 0.5 <= high
    assert 180 <= inside <= 199  # 95 % of 200 is 190


def test_paired_t_by_hand():
    found = paired_comparison([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])  # differences 1, 2, 3
    assert found.t == pytest.approx(2 * math.sqrt(3))
    assert found.p_t == pytest.approx(1 - found.t / math.sqrt(found.t**2 + 2))  # closed form for two degrees of freedom
    assert found.effect_size == pytest.approx(2.0)
    assert (found.mean_a, found.mean_b, found.difference, found.users) == (4.0, 2.0, 2.0, 3)


def test_wilcoxon_by_hand():
    found = paired_comparison([1.0, 2.0, 3.0, 4.0, 5.0], np.zeros(5))
    assert found.p_wilcoxon == pytest.approx(2 / 2**5)  # all signs alike: 2 of 32 sign patterns


def test_verdict_follows_the_interval():
    generator = np.random.default_rng(0)
    base = generator.random(500)
    better = paired_comparison(base + 0.1 + 0.1 * generator.random(500), base, names=("text", "id"))
    assert better.verdict == "text is better than id"
    assert better.p_t < 1e-6
    worse = paired_comparison(base, base + 0.2 + 0.1 * generator.random(500), names=("text", "id"))
    assert worse.verdict == "id is better than text"
    noise = paired_comparison(base, generator.permutation(base))
    assert noise.ci95[0] < 0 < noise.ci95[1]
    assert noise.verdict == NO_DIFFERENCE == "no difference shown"


def test_equal_models_and_equal_differences():
    same = paired_comparison([0.1, 0.7], [0.1, 0.7])
    assert (same.ci95, same.t, same.p_t, same.p_wilcoxon, same.effect_size) == ((0.0, 0.0), None, 1.0, 1.0, None)
    assert same.verdict == NO_DIFFERENCE
    shifted = paired_comparison([1.5, 2.5, 3.5], [1.0, 2.0, 3.0])
    assert (shifted.t, shifted.p_t, shifted.verdict) == (None, None, "a is better than b")
    json.dumps(shifted.to_json(), allow_nan=False)


def test_a_mean_and_signed_ranks_that_point_apart_show_nothing():
    """A few large wins against many small losses: the mean is above 0, the signed ranks are below."""
    a, b = np.zeros(2000), np.zeros(2000)
    a[:250], b[250:850] = 1.0, 0.289
    (result,) = all_pairs({"a": a, "b": b}, resamples=500)
    assert result.names == ("a", "b")
    assert is_shown(result.p_holm, result.ci95)
    assert (result.difference > 0, result.wilcoxon_sign, result.shown) == (True, -1, False)


def test_all_pairs_are_the_pairs_one_by_one():
    generator = np.random.default_rng(0)
    values = {name: generator.random(50) + shift for name, shift in (("low", 0.0), ("high", 0.6), ("middle", 0.3))}
    results = all_pairs(values, resamples=2000)
    assert [result.names for result in results] == [("high", "middle"), ("high", "low"), ("middle", "low")]
    for result in results:
        alone = paired_comparison(values[result.names[0]], values[result.names[1]], names=result.names)
        assert (result.p_wilcoxon, result.p_t, result.difference) == (alone.p_wilcoxon, alone.p_t, alone.difference)
        assert result.ci95 == pytest.approx(alone.ci95, abs=0.02)
        assert result.shown
    assert [result.p_holm for result in results] == pytest.approx(holm([result.p_wilcoxon for result in results]))
    assert all_pairs({"one": values["low"]}) == []
    with pytest.raises(DataError, match="different users"):
        all_pairs({"a": [1.0, 2.0], "b": [1.0]})


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    results = [paired_comparison([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]), paired_comparison([1.5, 2.5], [1.0, 2.0])]
    corrected = with_holm([*results, results[0]])
    p = [results[0].p_wilcoxon, results[1].p_wilcoxon, results[0].p_wilcoxon]
    assert [r.p_holm for r in corrected] == pytest.approx(holm(p))


def test_above_a_constant_by_hand():
    found = above_expectation([1.0, 2.0, 3.0], 0.0, alpha=0.05)
    t = 2 * math.sqrt(3)
    assert found.p == pytest.approx((1 - t / math.sqrt(t**2 + 2)) / 2)
    assert found.verdict == "above the expectation"
    assert found.ratio is None
    below = above_expectation([1.0, 2.0, 3.0], [4.0, 4.0, 5.0])
    assert below.p > 0.5
    assert below.ratio == pytest.approx(2 / (13 / 3))
    assert below.verdict == "not shown to be above the expectation"
    assert above_expectation([1.0], 0.5).verdict.startswith("cannot be tested")
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        ([1.0], [1.0, 2.0], "a has 1 users and b 2"),
        ([], [], "at least one"),
        ([1.0, np.nan], [1.0, 2.0], "a, row 1"),
        ([[1.0]], [1.0], "one value per user"),
    ],
)
def test_bad_pairs_are_named(a, b, text):
    with pytest.raises(DataError, match=text):
        paired_comparison(a, b)


def test_expectations_must_fit():
    with pytest.raises(DataError, match="values has 2 users and expected 3"):
        above_expectation([1.0, 2.0], [1.0, 2.0, 3.0])

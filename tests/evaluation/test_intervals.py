"""An interval that resamples groups, too."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bertrec.evaluation.intervals import bootstrap_intervals, interval_over_groups


def test_of_groups_that_do_not_vary_within_only_the_groups_are_drawn():
    groups = [np.zeros(5), np.full(5, 1.0), np.full(5, 5.0)]
    all_means = [np.mean(drawn) for drawn in itertools.product([0.0, 1.0, 5.0], repeat=3)]  # equally likely, sizes being equal
    expected = np.quantile(all_means, [0.1, 0.9], method="inverted_cdf")
    assert interval_over_groups(groups, resamples=20_000, level=0.8) == pytest.approx(tuple(expected), abs=1e-9)


def test_a_larger_group_weighs_more():
    low, high = interval_over_groups([np.zeros(30), np.ones(10)], resamples=4000, level=0.9)
    assert (low, high) == (0.0, 1.0)
    drawn = interval_over_groups([np.zeros(30), np.ones(10)], resamples=4001, level=1e-9)  # the median: one of each, or near it
    assert drawn[0] == pytest.approx(0.25)


def test_one_group_is_the_plain_bootstrap():
    values = np.random.default_rng(0).random(400)
    plain = bootstrap_intervals(values[:, None], resamples=20_000)[0]
    assert interval_over_groups([values], resamples=20_000) == pytest.approx(tuple(plain), abs=2e-3)


def test_groups_that_differ_widen_it():
    rng = np.random.default_rng(1)
    groups = [rng.normal(mean, 1.0, 200) for mean in (0.0, 1.0, 2.0, 3.0)]
    low, high = interval_over_groups(groups)
    plain = bootstrap_intervals(np.concatenate(groups)[:, None])[0]
    assert low < plain[0] < plain[1] < high

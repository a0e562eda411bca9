"""Exponents are those that are put in, a series ends in time, and every piece of work runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.speed import scaling, scaling_work
from benchmarks.speed.scaling import SERIES, Series, chosen_series, exponents, fit_exponent, measure_series
from bertrec.core.errors import DataError


@settings(max_examples=25, deadline=None)
@given(st.floats(-2, 3), st.floats(1e-6, 1e3), st.lists(st.integers(1, 10**6), min_size=3, max_size=8, unique=True))
def test_a_power_law_gives_its_exponent_without_spread(power, factor, sizes):
    found = fit_exponent(sizes, [factor * size**power for size in sizes])
    assert found.exponent == pytest.approx(power, abs=1e-6)
    assert found.low == pytest.approx(power, abs=1e-4)
    assert found.high == pytest.approx(power, abs=1e-4)


def test_the_interval_is_that_of_least_squares():
    sizes, seconds = [10, 100, 1000, 10_000], [1.0, 12.0, 90.0, 1100.0]
    coefficients, covariance = np.polyfit(np.log(sizes), np.log(seconds), 1, cov=True)
    found = fit_exponent(sizes, seconds)
    assert found.exponent == pytest.approx(coefficients[0], abs=1e-8)
    assert found.high - found.exponent == pytest.approx(4.303 * math.sqrt(covariance[0, 0]), rel=1e-6)  # t, 2 degrees of freedom
    assert found.exponent - found.low == pytest.approx(found.high - found.exponent)


def test_two_points_have_no_interval():
    found = fit_exponent([1, 2], [1, 4])
    assert (found.exponent, found.low, found.high, found.points) == (2.0, None, None, 2)


@pytest.mark.parametrize(("sizes", "values"), [([1], [1]), ([2, 2], [1, 3]), ([1, 2], [1]), ([1, 2], [0, 1]), ([1, 2], [1, math.inf])])
def test_what_has_no_exponent_is_refused(sizes, values):
    with pytest.raises(DataError, match=r"exponent|logarithm"):
        fit_exponent(sizes, values)


def test_fixed_costs_stand_in_no_exponent():
    points = [{"size": 10.0**n, "seconds": max(1.0, 10.0**n / 100), "grown_mib": 10.0**n / 100} for n in range(1, 6)]
    found = exponents(points)
    assert found["seconds"]["exponent"] == pytest.approx(1.0)
    assert (found["seconds"]["points"], found["grown_mib"]["points"]) == (3, 2)
    assert exponents(points[:2]) == {}


def _series(*sizes):
    return Series("s", "t", "items", "f", sizes, {"users": 1})


def test_a_series_ends_before_a_point_that_would_take_too_long():
    lines = []

    def measure(series, size):
        return {"seconds": size / 10, "peak_mib": 100.0, "grown_mib": float(size)}

    record = measure_series(_series(1, 10, 100, 1000, 10_000), measure, limit_seconds=20, say=lines.append)
    assert [point["size"] for point in record["points"]] == [1, 10, 100]
    assert record["left_out"] == [1000, 10_000]
    assert record["exponents"]["seconds"]["exponent"] == pytest.approx(1.0)
    assert len(lines) == 3


def test_the_guess_follows_the_growth_of_the_last_two_points():
    def measure(series, size):
        return {"seconds": size**2 / 100, "peak_mib": 1.0, "grown_mib": 0.0}

    record = measure_series(_series(1, 10, 100), measure, limit_seconds=20, say=lambda _: None)
    assert record["left_out"] == [100]  # 1 s at 10, so 100 s at 100, though ten times as much would be 10 s


def test_series_are_chosen_by_name():
    assert chosen_series([]) == list(SERIES)
    assert [series.name for series in chosen_series(["topk-items"])] == ["topk-items"]
    with pytest.raises(DataError, match="did you mean 'topk-items'"):
        chosen_series(["topk-item"])


def test_every_series_has_its_work_and_ascending_sizes():
    assert len({series.name for series in SERIES}) == len(SERIES)
    for series in SERIES:
        assert callable(getattr(scaling_work, series.function))
        assert list(series.sizes) == sorted(set(series.sizes))
    assert {SERIES[0].sizes[0], SERIES[0].sizes[-1]} == {10**3, 10**6}


@pytest.mark.parametrize(("function", "fixed"), [("evaluate_users", "items"), ("evaluate_items", "users"), ("topk_items", "users")])
def test_work_runs_and_reports_its_memory(function, fixed):
    found = getattr(scaling_work, function)(size=80, **{fixed: 70})()
    assert found["peak_mib"] > 10
    assert found["grown_mib"] >= 0


def test_training_runs():
    assert scaling_work.train_users(size=70, items=66)()["peak_mib"] > 10


def test_a_point_is_measured_in_a_process_of_its_own():
    series = next(series for series in SERIES if series.name == "topk-items")
    found = scaling.measure_point(series, 100, threads=1)
    assert found["seconds"] > 0
    assert found["peak_mib"] > 10

"""Search and seeds within the minutes, with a clock made up by the test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.comparison.fits import FitKey, run_fits
from bertrec.comparison.plan import Contestant, Plan
from bertrec.comparison.search import Search
from bertrec.recbole.exchange import Outcome, Point


def contestant(n: int) -> Contestant:
    return Contestant("m", "recbole", "id", Search(tuple({"n": number} for number in range(n))))


def play(n, minutes, seeds, seconds, *, metric=lambda key: 0.5 - key.candidate / 10, status=lambda key: "ok", trains=True):
    """Run the fits of a model whose fit takes ``seconds``, or its limit where that is less."""
    limits = {}

    def fit(key, settings, limit):
        assert settings == {"n": key.candidate}
        limits[key] = limit
        took = min(seconds, limit)
        ended = ("patience" if took == seconds else "budget") if trains else "no training"
        state = status(key)
        points = (Point(1, took, None, metric(key)),) if state == "ok" else ()
        return Outcome(state, reason=None if state == "ok" else "why", ended_by=ended, points=points, total_seconds=took)

    plan = Plan((contestant(n),), budget_minutes=minutes, seeds=seeds)
    return run_fits(plan.contestants[0], plan, fit), limits


def keys(fits):
    return [(key.candidate, key.seed) for key in fits.outcomes]


def test_with_time_for_all_every_setting_is_tried_and_the_best_gets_its_seeds():
    fits, _ = play(3, 10, 3, 60, metric=lambda key: [0.1, 0.3, 0.2][key.candidate])
    assert keys(fits) == [(0, 0), (1, 0), (2, 0), (1, 1), (1, 2)]
    assert (fits.chosen, [key.seed for key in fits.of_chosen]) == (1, [0, 1, 2])


def test_seeds_come_before_more_settings():
    fits, _ = play(3, 4, 3, 60)
    assert keys(fits) == [(0, 0), (1, 0), (0, 1), (0, 2)]
    fits, _ = play(3, 3, 3, 60)
    assert keys(fits) == [(0, 0), (0, 1), (0, 2)]


def test_a_slow_model_has_all_of_the_minutes_for_one_fit():
    fits, limits = play(3, 10, 3, 10_000)
    assert keys(fits) == [(0, 0)]
    assert limits == {FitKey(0, 0): 600}
    assert [outcome.converged for outcome in fits.of_chosen.values()] == [False]


def test_a_seed_that_would_be_cut_short_is_not_begun():
    assert keys(play(1, 2, 3, 45)[0]) == [(0, 0), (0, 1)]  # 30 seconds are left, less than a fit
    assert keys(play(1, 2, 3, 40)[0]) == [(0, 0), (0, 1), (0, 2)]


def test_a_model_without_training_needs_no_second_seed():
    assert keys(play(2, 10, 3, 5, trains=False)[0]) == [(0, 0), (1, 0)]


@pytest.mark.parametrize("bad", ["failed", "invalid"])
def test_settings_that_fail_are_passed_over(bad):
    fits, _ = play(2, 10, 2, 60, status=lambda key: bad if key.candidate == 0 else "ok")
    assert (fits.status, fits.chosen, fits.reason) == ("ok", 1, None)
    assert keys(fits) == [(0, 0), (1, 0), (1, 1)]


def test_where_all_fail_the_row_says_why():
    fits, _ = play(2, 10, 2, 60, status=lambda key: "failed")
    assert (fits.status, fits.chosen, fits.reason) == ("failed", None, "seed 0: why; seed 0: why")
    assert play(1, 10, 2, 60, status=lambda key: "invalid")[0].status == "invalid"


def test_one_seed_without_numbers_makes_the_row_invalid_and_a_failed_one_does_not():
    fits, _ = play(1, 10, 3, 60, status=lambda key: "invalid" if key.seed == 1 else "ok")
    assert (fits.status, fits.reason) == ("invalid", "seed 1: why")
    fits, _ = play(1, 10, 3, 60, status=lambda key: "failed" if key.seed == 1 else "ok")
    assert (fits.status, fits.reason, [key.seed for key in fits.of_chosen]) == ("ok", "seed 1: why", [0, 2])


@given(st.integers(1, 5), st.floats(0.1, 100), st.integers(1, 4), st.floats(0.5, 5000))
def test_the_minutes_are_never_overrun(candidates, minutes, seeds, seconds):
    fits, limits = play(candidates, minutes, seeds, seconds)
    assert fits.total_seconds <= 60 * minutes * (1 + 1e-9)
    assert min(limits.values()) > 0
    assert fits.outcomes[FitKey(0, 0)].total_seconds == min(seconds, 60 * minutes)

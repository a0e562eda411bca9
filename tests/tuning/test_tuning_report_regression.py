"""The expected regression from picking the best, against answers known beforehand."""

import numpy as np
import pytest

from bertrec.core.errors import ConfigError
from bertrec.tuning.report import expected_regression

# Expected maximum of n standard normals.
MAXIMA = {2: 0.5642, 3: 0.8463, 5: 1.1630, 10: 1.5388, 100: 2.5076}


@pytest.mark.parametrize(("n", "maximum"), MAXIMA.items())
@pytest.mark.parametrize("sd", [1.0, 0.003])
def test_of_equal_figures_it_is_the_expected_maximum_of_the_noise(n, maximum, sd):
    assert expected_regression([0.1] * n, sd) == pytest.approx(sd * maximum, rel=0.03)


@pytest.mark.parametrize("values", [[], [0.1]])
def test_there_is_none_where_nothing_was_picked(values):
    assert expected_regression(values, 0.5) == 0.0


def test_there_is_none_without_noise():
    assert expected_regression([0.1, 0.2, 0.3], 0.0) == 0.0


def test_figures_that_spread_no_more_than_noise_count_as_equal():
    values = np.array([-1.0, 0.0, 1.0])  # variance 1
    assert expected_regression(values, 1.0) == pytest.approx(MAXIMA[3], rel=0.03)
    assert expected_regression(values, 5.0) == pytest.approx(5 * MAXIMA[3], rel=0.03)


def test_one_that_stands_far_above_all_noise_regresses_by_next_to_nothing():
    assert expected_regression([0.0, 0.0, 100.0], 1.0) < 0.02


def test_two_figures_against_the_formula():
    # Shrunk by 1 - 1/8 they are 3.5 apart; the pick's mean noise is then sqrt(2) phi(3.5 / sqrt(2)).
    expected = np.sqrt(2) * np.exp(-(3.5**2) / 4) / np.sqrt(2 * np.pi)
    assert expected_regression([-2.0, 2.0], 1.0) == pytest.approx(expected, abs=0.015)


def test_it_depends_on_neither_level_nor_order_and_comes_out_the_same_again():
    values = [0.10, 0.12, 0.09, 0.11]
    found = expected_regression(values, 0.01)
    assert found == expected_regression(values, 0.01) > 0
    assert expected_regression([value + 7 for value in values], 0.01) == pytest.approx(found, rel=1e-6)
    assert expected_regression(values[::-1], 0.01) == pytest.approx(found, rel=0.05)


def test_many_trials_are_drawn_in_pieces():
    assert expected_regression([0.0] * 3000, 1.0) == pytest.approx(3.5444, rel=0.01)


@pytest.mark.parametrize(
    ("values", "sd"), [([0.1, float("nan")], 0.1), ([0.1, 0.2], -1.0), ([0.1, 0.2], float("nan")), ([0.1, float("inf")], 1.0)]
)
def test_what_is_no_figure_is_an_error(values, sd):
    with pytest.raises(ConfigError, match="expected_regression"):
        expected_regression(values, sd)

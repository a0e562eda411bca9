"""The calibration error beside a table that was reckoned by hand, and a naive loop."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bertrec.core.errors import DataError, ModelError
from bertrec.evaluation.reliability import Bin, calibration_error, reliability_bins, reliability_svg

PROBABILITIES = [0.05, 0.07, 0.31, 0.39, 0.35, 0.9, 1.0, 0.98]
LABELS = [0, 1, 0, 0, 1, 1, 1, 0]


def test_bins_and_error_by_hand():
    low, middle, high = reliability_bins(PROBABILITIES, LABELS)
    assert (low.pairs, low.label, middle.pairs, high.pairs) == (2, 0.5, 3, 3)
    assert low.probability == pytest.approx(0.06)
    assert (middle.probability, middle.label) == pytest.approx((0.35, 1 / 3))
    assert (high.probability, high.label) == pytest.approx((0.96, 2 / 3))  # 1 stands in the last bin
    assert calibration_error(PROBABILITIES, LABELS) == pytest.approx((2 * 0.44 + 3 * (0.35 - 1 / 3) + 3 * (0.96 - 2 / 3)) / 8)


def test_bins_of_equal_mass_by_hand():
    found = reliability_bins([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1], bins=2, equal="mass")
    assert [(one.pairs, round(one.probability, 6), one.label) for one in found] == [(2, 0.15, 0.0), (2, 0.35, 1.0)]
    assert [one.pairs for one in reliability_bins([0.5] * 6, [0, 1] * 3, bins=3, equal="mass")] == [6]  # what is alike stays together


@given(st.integers(1, 8), st.integers(1, 6), st.randoms(use_true_random=False))
def test_distinct_probabilities_fill_bins_of_equal_mass_alike(bins, each, random):
    probabilities = [random.random() for _ in range(bins * each)]
    assume(len(set(probabilities)) == bins * each)
    found = reliability_bins(probabilities, [0] * bins * each, bins=bins, equal="mass")
    assert [one.pairs for one in found] == [each] * bins


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=30), st.sampled_from(["width", "mass"]))
def test_the_error_beside_a_loop(pairs, equal):
    probabilities, labels = (np.array(column, float) for column in zip(*pairs, strict=True))
    found = reliability_bins(probabilities, labels, equal=equal)
    assert sum(one.pairs for one in found) == len(pairs)
    assert sum(one.pairs * one.probability for one in found) == pytest.approx(probabilities.sum())
    assert [one.probability for one in found] == sorted(one.probability for one in found)
    by_bins = sum(one.pairs * abs(one.probability - one.label) for one in found) / len(pairs)
    assert calibration_error(probabilities, labels, equal=equal) == pytest.approx(by_bins)
    if equal == "width":
        total = 0.0
        for number in range(10):
            here = [at for at, p in enumerate(probabilities) if min(int(p * 10), 9) == number]
            total += abs(sum(labels[at] - probabilities[at] for at in here)) / len(pairs)
        assert calibration_error(probabilities, labels) == pytest.approx(total)


def test_what_is_no_probability_or_label_is_named():
    with pytest.raises(ModelError, match=r"pair 1: 1\.5 is no probability"):
        calibration_error([0.5, 1.5], [0, 1])
    with pytest.raises(ModelError, match="pair 0: nan"):
        calibration_error([np.nan], [1])
    with pytest.raises(DataError, match="pair 1: label 2 is neither"):
        calibration_error([0.5, 0.5], [1, 2])
    with pytest.raises(DataError, match="one length"):
        calibration_error([0.5], [1, 0])


def test_the_drawing_names_each_panel():
    pytest.importorskip("matplotlib")
    drawn = reliability_svg({"together": [Bin(3, 0.2, 0.1)], "1 <nrms>": [Bin(2, 0.5, 0.5), Bin(1, 0.9, 1.0)]})
    text = " ".join(ElementTree.fromstring(drawn).itertext())
    assert "together" in text
    assert "1 <nrms>" in text
    assert "share of label 1" in text

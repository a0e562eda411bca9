"""Lists of neighbours and what they lend, against all cosines computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.ragged import Ragged
from bertrec.retrieval import neighbours
from bertrec.retrieval.neighbours import Neighbours


def vectors_of(seed: int, n: int = 12, d: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def cosines_of(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 14), st.booleans())
def test_lists_are_the_largest_cosines(seed: int, m: int, cut: bool) -> None:
    vectors = vectors_of(seed)
    vectors[5] = 0
    cosines = cosines_of(vectors)
    cosines[5] = cosines[:, 5] = -np.inf
    found = Neighbours.of(vectors, m, cut=cut)
    assert found.items.shape == found.strengths.shape == (13, m)
    assert not found.strengths[[0, 6]].any()
    assert not (found.items == 6).any()
    for row in set(range(12)) - {5}:
        order = np.argsort(-cosines[row])
        least = max(0.0, cosines[row][order[m]]) if cut and m < 10 else 0.0
        wanted = {int(item) + 1: cosines[row][item] - least for item in order[:m] if cosines[row][item] > max(least, 1e-6)}
        given_ = {int(i): float(s) for i, s in zip(found.items[row + 1], found.strengths[row + 1], strict=True) if s > 1e-6}
        assert given_ == pytest.approx(wanted, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["sum", "max"]), st.sampled_from([1.0, 0.5]), st.sampled_from([0, 1 << 15]))
def test_lifts_are_sums_or_maxima_of_decayed_strengths(seed: int, form: str, decay: float, few: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "FEW_PAIRS", few)  # sorted, or a product of sparse tables
        check_lifts(seed, form, decay)


def check_lifts(seed: int, form: Any, decay: float) -> None:
    found = Neighbours.of(vectors_of(seed), 4)
    histories = Ragged.from_rows([[1, 5, 2, 1], [], [7]])
    table = np.zeros((3, 13))
    for row, history in enumerate(histories):
        for age, item in enumerate(history[::-1]):
            for neighbour, strength in zip(found.items[item], found.strengths[item], strict=True):
                value = strength * decay**age
                table[row, neighbour] = table[row, neighbour] + value if form == "sum" else max(table[row, neighbour], value)
    table[:, 0] = 0
    lifts = found.lifts(histories, decay=decay, form=form)
    scores = np.zeros((3, 13), np.float32)
    lifts.add_to(scores)
    assert scores == pytest.approx(table, abs=1e-6)


def test_a_catalogue_of_one_item_has_no_neighbours() -> None:
    found = Neighbours.of(np.ones((1, 3), np.float32), 5)
    assert not found.items.any()
    assert len(found.lifts(Ragged.from_rows([[1]]), decay=1.0).values) == 0

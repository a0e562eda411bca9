"""Inner products of wide queries that are nearly empty."""

from __future__ import annotations

import numpy as np
import pytest

from bertrec.core.products import pair_scores, rounding_bound


def test_nearly_empty_queries_have_the_same_products_whatever_is_beside_them():
    draw = np.random.default_rng(0)
    queries, vectors = np.zeros((50, 3000), np.float32), draw.normal(size=(40, 3000)).astype(np.float32)
    for row, held in enumerate(draw.integers(0, 400, 50)):  # some of them are full enough to be summed whole
        queries[row, draw.choice(3000, held, replace=False)] = draw.normal(size=held)
    queries[7] = 0
    rows, columns = draw.integers(0, 50, 900), draw.integers(0, 40, 900)
    found = pair_scores(queries, vectors, rows, columns)
    wanted = np.einsum("ij,ij->i", queries[rows].astype(np.float64), vectors[columns])
    assert found == pytest.approx(wanted, abs=1e-3)
    assert (found[rows == 7] == 0).all()
    bound = rounding_bound(queries, float(np.linalg.norm(vectors, axis=1).max()))[rows, 0]
    assert (np.abs(found - (queries @ vectors.T)[rows, columns]) <= bound).all()
    for at in range(0, 900, 37):
        assert pair_scores(queries[rows[at : at + 1]], vectors, np.zeros(1, np.int64), columns[at : at + 1])[0] == found[at]


def test_only_filled_dimensions_round():
    queries = np.zeros((3, 100), np.float32)
    queries[0, :4], queries[1, 5] = 0.5, 2.0
    assert rounding_bound(queries, 3.0)[:, 0].tolist() == pytest.approx([4 * np.finfo(np.float32).eps * 3, 0, 0])

"""Inner products: pairs summed on their own, and how far two roundings of a pair may lie apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_FLOATS_AT_ONCE = 1 << 16  # of one side of the pairs: both then stay in the second-level cache
_FEWEST_PAIRS = 512  # but fewer at once cost more than they save


def row_lengths(table: FloatArray) -> npt.NDArray[np.float64]:
    """Return the Euclidean length of each row, summed in float64 (in float32 the squares of small numbers vanish), ``[rows]``.

    A row with NaN has none, a row with an infinite value an infinite one.
    """
    lengths = np.empty(len(table))
    at_once = max(_FEWEST_PAIRS, _FLOATS_AT_ONCE // max(1, table.shape[1]))
    for start in range(0, len(table), at_once):
        part = table[start : start + at_once].astype(np.float64)
        lengths[start : start + at_once] = np.vecdot(part, part)
    return np.sqrt(lengths, out=lengths)


def rounding_bound(queries: FloatArray, largest_norm: float) -> FloatArray:
    """Return ``[b, 1]``: how far two float32 inner products of the same pair may lie apart, whatever the order of summation.

    A single product is rounded in one way only, so the bound is 0 in one dimension.
    """
    if queries.shape[1] == 1:
        return np.zeros((len(queries), 1), np.float32)
    norms = row_lengths(queries)[:, None]
    bound = queries.shape[1] * np.finfo(np.float32).eps * norms * largest_norm
    return np.where(norms > 0, np.maximum(bound, np.finfo(np.float32).tiny), 0.0).astype(np.float32)


def pair_scores(queries: FloatArray, vectors: FloatArray, rows: IntArray, columns: IntArray) -> FloatArray:
    """Return the inner product of ``queries[rows[i]]`` and ``vectors[columns[i]]``, each pair summed on its own, ``[pairs]``."""
    out = np.empty(len(rows), dtype=np.float32)
    at_once = max(_FEWEST_PAIRS, _FLOATS_AT_ONCE // max(1, queries.shape[1]))
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        out[part] = np.vecdot(np.take(queries, rows[part], axis=0), np.take(vectors, columns[part], axis=0))
    return out

"""Inner products: pairs summed on their own, and how far two roundings of a pair may lie apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_FLOATS_AT_ONCE = 1 << 16  # of one side of the pairs: both then stay in the second-level cache
_FEWEST_PAIRS = 512  # but fewer at once cost more than they save
_WIDE, _NEARLY_EMPTY = 1024, 16  # from so many dimensions queries are looked at, and one of 16 numbers filled at most is summed over these


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

    Only numbers beside 0 count: to add 0 rounds nothing. A single product is rounded in one way only, so that the bound is 0 then.
    """
    filled = np.count_nonzero(queries, axis=1)[:, None]
    norms = row_lengths(queries)[:, None]
    bound = filled * np.finfo(np.float32).eps * norms * largest_norm
    return np.where(filled > 1, np.maximum(bound, np.finfo(np.float32).tiny), 0.0).astype(np.float32)


def pair_scores(queries: FloatArray, vectors: FloatArray, rows: IntArray, columns: IntArray) -> FloatArray:
    """Return the inner product of ``queries[rows[i]]`` and ``vectors[columns[i]]``, each pair summed on its own, ``[pairs]``.

    A wide query that is nearly empty, as a history among thousands of items, is summed over what it holds alone.
    """
    if queries.shape[1] < _WIDE:
        return _whole_pairs(queries, vectors, rows, columns)
    few = (np.count_nonzero(queries, axis=1) * _NEARLY_EMPTY < queries.shape[1])[rows]  # by the query alone, whatever else is asked
    if not few.any():
        return _whole_pairs(queries, vectors, rows, columns)
    out = np.empty(len(rows), dtype=np.float32)
    out[few] = _filled_pairs(queries, vectors, rows[few], columns[few])
    out[~few] = _whole_pairs(queries, vectors, rows[~few], columns[~few])
    return out


def _whole_pairs(queries: FloatArray, vectors: FloatArray, rows: IntArray, columns: IntArray) -> FloatArray:
    out = np.empty(len(rows), dtype=np.float32)
    at_once = max(_FEWEST_PAIRS, _FLOATS_AT_ONCE // max(1, queries.shape[1]))
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        out[part] = np.vecdot(np.take(queries, rows[part], axis=0), np.take(vectors, columns[part], axis=0))
    return out


def _filled_pairs(queries: FloatArray, vectors: FloatArray, rows: IntArray, columns: IntArray) -> FloatArray:
    at, places = np.nonzero(queries)
    values, stops = queries[at, places], np.cumsum(np.bincount(at, minlength=len(queries)))
    lengths = np.diff(stops, prepend=0)
    out = np.zeros(len(rows), dtype=np.float32)
    at_once = max(_FEWEST_PAIRS, _FLOATS_AT_ONCE * _NEARLY_EMPTY // queries.shape[1])
    for start in range(0, len(rows), at_once):
        many = lengths[rows[start : start + at_once]]
        first = np.cumsum(many) - many
        inside = np.arange(many.sum()) + np.repeat(stops[rows[start : start + at_once]] - many - first, many)
        products = values[inside] * vectors[np.repeat(columns[start : start + at_once], many), places[inside]]
        filled = np.flatnonzero(many)
        if len(filled):
            out[start + filled] = np.add.reduceat(products, first[filled])
    return out

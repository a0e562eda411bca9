"""Distinct numbers by sorting, or by flags where they lie close together.

``numpy.unique`` of numpy 2.3 and newer hashes integers where neither places nor counts are asked for, which is some fifty times slower here
(numpy 2.4, 100,000 keys of users and items) than sorting and comparing neighbours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray

_CLOSE = 32  # a flag for each number up to the largest is cheaper than sorting up to about so many flags per number


def distinct(values: IntArray) -> IntArray:
    """Return the distinct values, ascending.

    >>> distinct(np.array([3, 1, 3]))
    array([1, 3])
    """
    flags = _flags(values)
    if flags is not None:
        return np.flatnonzero(flags).astype(values.dtype, copy=False)
    ordered = np.sort(values)
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def without(values: IntArray, others: IntArray) -> IntArray:
    """Return the distinct values that are not among the others, ascending.

    >>> without(np.array([3, 1, 2, 3]), np.array([2, 5]))
    array([1, 3])
    """
    flags = _flags(values)
    if flags is not None:
        flags[others[(others >= 0) & (others < len(flags))]] = False
        return np.flatnonzero(flags).astype(values.dtype, copy=False)
    kept = distinct(values)
    return kept[~among(kept, others)]


def among(values: IntArray, others: IntArray) -> npt.NDArray[np.bool_]:
    """Return for each value whether it is among the others.

    >>> among(np.array([3, 1, 3]), np.array([3, 5]))
    array([ True, False,  True])
    """
    found = np.zeros(len(values), bool)
    flags = _flags(others)
    if flags is not None:
        inside = (values >= 0) & (values < len(flags))
        found[inside] = flags[values[inside]]
        return found
    ordered = np.sort(others)
    place = np.searchsorted(ordered, values)
    inside = place < len(ordered)
    found[inside] = ordered[place[inside]] == values[inside]
    return found


def _flags(values: IntArray) -> npt.NDArray[np.bool_] | None:
    """Return, where that is worth it, whether each number from 0 to the largest is among the values."""
    if not len(values) or values.min() < 0 or values.max() >= _CLOSE * len(values):
        return None
    flags = np.zeros(int(values.max()) + 1, bool)
    flags[values] = True
    return flags

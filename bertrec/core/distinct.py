"""Distinct numbers by sorting.

``numpy.unique`` of numpy 2.3 and newer hashes integers where neither places nor counts are asked for, which is some fifty times slower here
(numpy 2.4, 100,000 keys of users and items) than sorting and comparing neighbours.
"""

from __future__ import annotations

import numpy as np

from bertrec.core.ragged import IntArray


def distinct(values: IntArray) -> IntArray:
    """Return the distinct values, ascending.

    >>> distinct(np.array([3, 1, 3]))
    array([1, 3])
    """
    ordered = np.sort(values)
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def without(values: IntArray, others: IntArray) -> IntArray:
    """Return the distinct values that are not among the others, ascending.

    >>> without(np.array([3, 1, 2, 3]), np.array([2, 5]))
    array([1, 3])
    """
    kept, gone = distinct(values), np.sort(others)
    place = np.searchsorted(gone, kept)
    inside = place < len(gone)
    found = np.zeros(len(kept), bool)
    found[inside] = gone[place[inside]] == kept[inside]
    return kept[~found]

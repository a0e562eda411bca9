"""Counts in buckets, and moments as hours and days."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray

BUCKETS = 20
"""Of counts: the last one begins at 524,287."""
_SECONDS_A_DAY, _THURSDAY = 86_400, 3  # 1 January 1970 was a Thursday, the fourth day from Monday


def log_buckets(counts: IntArray) -> IntArray:
    """Return the bucket of each count: ``floor(log2(1 + count))``, at most the last one.

    >>> log_buckets(np.array([0, 1, 2, 3, 6, 7, 10**9])).tolist()
    [0, 1, 1, 2, 2, 3, 19]
    """
    return np.minimum(np.log2(1.0 + counts).astype(np.int64), BUCKETS - 1)


def hours_and_days(times: npt.NDArray[np.float64] | None, count: int) -> tuple[IntArray, IntArray]:
    """Return hour (1 to 24) and day of the week (1, Monday, to 7) of times in seconds since 1970, by UTC; 0 where there is none.

    >>> [part.tolist() for part in hours_and_days(np.array([0.0, 100_000.0, np.nan]), 3)]
    [[1, 4, 0], [4, 5, 0]]
    """
    if times is None:
        return np.zeros(count, np.int64), np.zeros(count, np.int64)
    known = np.isfinite(times)
    seconds = np.floor(np.where(known, times, 0.0)).astype(np.int64)
    hours = seconds % _SECONDS_A_DAY // 3600 + 1
    days = (seconds // _SECONDS_A_DAY + _THURSDAY) % 7 + 1
    return np.where(known, hours, 0), np.where(known, days, 0)

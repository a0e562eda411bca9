"""How much was known before a moment: counts of events strictly before it, never one at it or later."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray

BUCKETS = 20
"""Of counts: the last one begins at 524,287."""
_SECONDS_A_DAY, _THURSDAY = 86_400, 3  # 1 January 1970 was a Thursday, the fourth day from Monday


class EventCounts:
    """Events of owners (items, or users) in time.

    Args:
        owners: ``[total]``, from 0.
        times: ``[total]`` of the events.
        n_owners: one more than the largest owner that may be asked for.
    """

    def __init__(self, owners: IntArray, times: npt.NDArray[np.float64], n_owners: int) -> None:
        self._moments = np.unique(times)
        self._step = len(self._moments) + 1
        # One sorted array of (owner, number of the moment), so that every question is a binary search.
        self._keys = np.sort(owners * self._step + np.searchsorted(self._moments, times))
        self._starts = np.searchsorted(self._keys, np.arange(n_owners) * self._step)

    def before(self, owners: IntArray, times: npt.NDArray[np.float64]) -> IntArray:
        """Return how many events each of ``owners [n]`` had strictly before ``times [n]``; a time that is NaN has none before it.

        >>> events = EventCounts(np.array([1, 1, 2]), np.array([5.0, 7.0, 6.0]), 3)
        >>> events.before(np.array([1, 1, 1, 2, 0]), np.array([5.0, 6.0, 8.0, 7.0, 9.0])).tolist()
        [0, 1, 2, 1, 0]
        """
        passed = np.searchsorted(self._moments, np.where(np.isnan(times), -np.inf, times), side="left")
        return np.asarray(np.searchsorted(self._keys, owners * self._step + passed, side="left") - self._starts[owners], np.int64)


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

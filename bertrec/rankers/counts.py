"""How much was known before a moment: counts of events strictly before it, never one at it or later."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray


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


def without_own(counts: IntArray, labels: npt.NDArray[np.integer]) -> IntArray:
    """Return how often each candidate ``[n]`` was met but for its own click, which is in the counts and would tell the label.

    >>> without_own(np.array([3, 3, 0]), np.array([1, 0, 1])).tolist()
    [2, 3, 0]
    """
    return np.asarray(np.maximum(counts - (labels == 1), 0), np.int64)

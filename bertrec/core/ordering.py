"""The order by group and time, with rows that tie in the order in which they stand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray

Numbers = npt.NDArray[Any]
_BITS = 64


def stable_order(groups: Numbers, times: Numbers | None = None) -> IntArray:
    """Return the places of rows by group, then time, then place: what ``numpy.lexsort((times, groups))`` returns, in less time and memory.

    Args:
        groups: whole numbers, ``[n]``.
        times: finite numbers, ``[n]``; None sorts by group alone.

    >>> stable_order(np.array([2, 1, 2, 1]), np.array([5.0, 7.0, 3.0, 7.0])).tolist()
    [1, 3, 2, 0]
    """
    if times is None or is_ascending(times):
        return _order_of(groups)
    first = _order_of(times)
    return first[_order_of(groups[first])]


def is_ascending(values: Numbers) -> bool:
    """Say whether no value is below the one before it."""
    return bool(np.all(values[1:] >= values[:-1]))


def _order_of(values: Numbers) -> IntArray:
    """Sort one column: value and place are put into one number each, as sorting numbers is much quicker than sorting places by them."""
    shift = max(len(values) - 1, 0).bit_length()
    keys = _from_zero(values, _BITS - shift)
    if keys is None:
        return np.argsort(values, kind="stable")
    keys <<= np.uint64(shift)
    keys |= np.arange(len(values), dtype=np.uint64)
    keys.sort()
    keys &= np.uint64((1 << shift) - 1)
    return keys.view(np.int64)


def _from_zero(values: Numbers, bits: int) -> npt.NDArray[np.uint64] | None:
    """Return the values less the least of them where they are whole numbers of so many bits, else None."""
    if not len(values):
        return np.zeros(0, np.uint64)
    low, high = values.min(), values.max()
    if values.dtype.kind == "f" and (max(abs(low), abs(high)) >= 2**53 or not _all_whole(values)):
        return None
    if (int(high) - int(low)).bit_length() > bits:
        return None
    # A difference of two int64 may not fit one, but modulo 2 ** 64 it is right.
    return values.astype(np.int64).view(np.uint64) - np.int64(low).view(np.uint64)


def _all_whole(values: Numbers) -> bool:
    return all(bool(np.all(np.floor(part) == part)) for part in np.array_split(values, len(values) // (1 << 20) + 1))

"""What is odd about the times of interactions."""

from __future__ import annotations

import datetime as dt
import time

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
# From here on a time is in milliseconds, microseconds or nanoseconds (in seconds it would be the year 5138).
_UNITS = (1e11, 1e14, 1e17)
_NAMES = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_DAY = 86400.0
# Seconds of 1980-01-01; of January 12 and the end of February 1970, between which all times lie that were divided by 1000 too often.
_MODERN, _FIRST, _EARLY = 3.155e8, 1e6, 5e6


def odd_times(times: FloatArray) -> list[str]:
    """Return one line for each thing that is odd: several units, one moment for all, moments that cannot be.

    Args:
        times: ``[n]``, as they were read; small numbers are a count and no times.
    """
    if len(times) > 1 and times.min() == times.max():
        return [f"all times are equal ({_day(times[0])}): the order of the rows counts"]
    units = np.searchsorted(_UNITS, np.abs(times), side="right")
    used = [unit for unit in range(len(_NAMES)) if ((units == unit) & (times != 0)).any()]
    if len(used) > 1:
        counts = ", ".join(f"{int((units == unit).sum())} in {_NAMES[unit]}" for unit in used)
        return [f"times are of several units ({counts}): their order is wrong; write all in one"]
    found = [f"times are in {_NAMES[used[0]]}, not in seconds"] if used and used[0] else []
    return found + _impossible(times / 1000.0**units)


def _impossible(seconds: FloatArray) -> list[str]:
    found = []
    if (later := seconds > time.time() + _DAY).any():
        found.append(f"{int(later.sum())} of {len(seconds)} times lie in the future, the last on {_day(seconds.max())}")
    if (before := seconds < (_FIRST if seconds.max() > _MODERN else 0)).any():
        found.append(f"{int(before.sum())} of {len(seconds)} times lie before {_day(_FIRST)}, the first on {_day(seconds.min())}")
    if _FIRST < seconds.max() < _EARLY and seconds.min() > _FIRST:
        found.append(f"all times lie before {_day(_EARLY)}: they were perhaps seconds that were taken for milliseconds")
    return found


def _day(seconds: float) -> str:
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return f"second {seconds:.3g}"

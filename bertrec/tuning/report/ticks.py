"""Ticks that both kinds of chart take as they are, so that the page and its still pictures say the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bertrec.pages.axes import value_range


@dataclass(frozen=True)
class Axis:
    """A numeric axis: its ends in its own units, its ticks, and whether it is logarithmic."""

    low: float
    high: float
    ticks: dict[float, str]
    log: bool = False


def linear_axis(values: Sequence[float], *, most: int = 6, from_zero: bool = False) -> Axis:
    """Return an axis that holds all values with some room, with round ticks."""
    low, high = value_range(values, from_zero=from_zero)
    return Axis(low, high, _labelled(round_ticks(low, high, most)))


def log_axis(values: Sequence[float], *, most: int = 4) -> Axis:
    """Return a logarithmic axis of values above 0: ticks at powers of ten, finer ones where fewer than two would show."""
    low, high = min(values), max(values)
    room = (high / low) ** 0.06 if high > low else 1.5
    low, high = low / room, high * room
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [step * 10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) > 1:
            break
    if len(ticks) < 2:
        ticks = [min(values)] if min(values) == max(values) else [min(values), max(values)]
    every = -(-len(ticks) // most)
    return Axis(low, high, _labelled(ticks[::every]), log=True)


def count_axis(last: int, *, first: int = 0, most: int = 8) -> Axis:
    """Return an axis of whole numbers from ``first`` to ``last``, with some room at both ends."""
    step = max(1, math.ceil(_round_step((last - first) / most))) if last > first else 1
    start = first - first % step
    ticks = [tick for tick in range(start, last + 1, step) if tick >= first]
    room = max(0.7, 0.03 * (last - first))
    return Axis(first - room, last + room, {float(tick): str(tick) for tick in ticks})


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` round numbers from ``low`` to ``high``.

    >>> round_ticks(0.02, 0.31, 4)
    [0.1, 0.2, 0.3]
    """
    step = _round_step((high - low) / most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{place * step:.10g}") for place in range(first, last + 1)]


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def _labelled(ticks: Sequence[float]) -> dict[float, str]:
    return {tick: f"{tick:.6g}" for tick in ticks}

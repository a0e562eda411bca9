"""Axes and labels that both kinds of chart share: ranges, time ticks, and labels that do not lie on one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# A model that only counts is done in no time; a logarithmic axis needs some.
SHORTEST = 0.1
_TIME_TICKS = {
    0.1: "0.1 s",
    1: "1 s",
    10: "10 s",
    60: "1 min",
    600: "10 min",
    3600: "1 h",
    36_000: "10 h",
    360_000: "100 h",
}
_FINE_TICKS = {0.3: "0.3 s", 3: "3 s", 30: "30 s", 180: "3 min", 1800: "30 min", 10_800: "3 h", 108_000: "30 h"}
_RADII = (12, 20, 30, 42, 56, 72, 90, 110)
# The side that reads best first: right, left, above, below, then between.
_ANGLES = (0, 180, 270, 90, 330, 30, 210, 150, 300, 240, 60, 120)


@dataclass(frozen=True)
class TimeAxis:
    """A logarithmic axis of seconds: its ends and its ticks."""

    low: float
    high: float
    ticks: dict[float, str]


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the common area."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0.0) * max(high, 0.0)

    @property
    def area(self) -> float:
        """Return width times height."""
        return (self.right - self.left) * (self.bottom - self.top)


def time_axis(seconds: Sequence[float]) -> TimeAxis:
    """Return an axis that holds all times, with ticks at the times that people say."""
    times = [max(value, SHORTEST) for value in seconds] or [1.0]
    low, high = min(times) / 1.5, max(times) * 1.5
    ticks = {at: text for at, text in _TIME_TICKS.items() if low <= at <= high}
    if len(ticks) < 3:
        ticks = {at: text for at, text in sorted((_TIME_TICKS | _FINE_TICKS).items()) if low <= at <= high}
    return TimeAxis(low, high, ticks or {min(times): f"{min(times):.3g} s"})


def value_range(values: Sequence[float], *, from_zero: bool = False) -> tuple[float, float]:
    """Return the ends of an axis that holds all values with some room."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if from_zero:
        low = min(low, 0.0)
    room = 0.06 * ((high - low) or abs(high) or 1.0)
    return (low if from_zero and low == 0 else low - room), high + room


def text_width(text: str, size: float) -> float:
    """Estimate the width of a text in pixels at a font size in pixels; a little too wide rather than too narrow."""
    return 0.6 * size * len(text) + 4


def place_labels(
    points: Sequence[tuple[float, float]], widths: Sequence[float], *, height: float, area: Box, avoid: Sequence[Box] = ()
) -> list[tuple[float, float]]:
    """Place one label a point so that labels cover neither one another nor points, as far as there is room.

    Each label in turn takes the cheapest of some rings of places: leaving the area costs most, then covering a label or a point, then a
    line to the point that crosses one; distance and covering what is in ``avoid`` (error bars) cost a little.

    Args:
        points: ``(x, y)`` in pixels, y downwards.
        widths: of the labels.
        height: of a label.
        area: what labels must stay in.
        avoid: boxes that had better stay free.

    Returns:
        Offset of each label's centre from its point, in pixels.
    """
    marks = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    placed: list[Box] = []
    offsets = []
    for (x, y), width in zip(points, widths, strict=True):
        candidates = _candidates(width, height)
        boxes = [_around(x + dx, y + dy, width, height) for dx, dy in candidates]
        others = [*placed, *(mark for mark, at in zip(marks, points, strict=True) if at != (x, y))]
        costs = [
            _cost(box, [*placed, *marks], avoid, area) + preference + _crossed((x, y), offset, others)
            for box, offset, preference in zip(boxes, candidates, _preferences(candidates, width, height), strict=True)
        ]
        best = costs.index(min(costs))
        placed.append(boxes[best])
        offsets.append(candidates[best])
    return offsets


def _candidates(width: float, height: float) -> list[tuple[float, float]]:
    found = []
    for radius in _RADII:
        for angle in _ANGLES:
            across, down = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            found.append((round(across * (radius + width / 2), 1), round(down * (radius + height / 4), 1)))
    return found


def _around(x: float, y: float, width: float, height: float) -> Box:
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _preferences(candidates: Sequence[tuple[float, float]], width: float, height: float) -> list[float]:
    """Return a small cost for the distance of a label's nearest edge from its point, and for sides that read less well."""
    gaps = [math.hypot(max(abs(dx) - width / 2, 0.0), max(abs(dy) - height / 2, 0.0)) for dx, dy in candidates]
    return [0.4 * gap + 0.7 * (place % len(_ANGLES)) for place, gap in enumerate(gaps)]


def _crossed(point: tuple[float, float], offset: tuple[float, float], others: Sequence[Box]) -> float:
    """Return what it costs that the line from point to label crosses other labels or points."""
    steps = [(point[0] + offset[0] * share / 8, point[1] + offset[1] * share / 8) for share in range(1, 8)]
    return 15.0 * sum(box.left <= x <= box.right and box.top <= y <= box.bottom for x, y in steps for box in others)


def _cost(box: Box, taken: Sequence[Box], avoid: Sequence[Box], area: Box) -> float:
    outside = box.area - box.overlap(area)
    return 60 * outside + 10 * sum(box.overlap(other) for other in taken) + 0.3 * sum(box.overlap(other) for other in avoid)

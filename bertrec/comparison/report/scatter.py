"""Quality against training time: what is drawn where, for both kinds of chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bertrec.comparison.report.view import View, figure
from bertrec.pages.axes import SHORTEST, Box, TimeAxis, place_labels, text_width, time_axis, value_range
from bertrec.pages.blocks import Json
from bertrec.pages.palette import family
from bertrec.pages.wording import shortened


@dataclass(frozen=True)
class Point:
    """A model: its time, its figure, and its interval (the figure itself where it has none)."""

    name: str
    family: str
    seconds: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scatter:
    """All points and the axes that hold them."""

    points: list[Point]
    time: TimeAxis
    values: tuple[float, float]

    def label_offsets(self, width: float, height: float, size: float) -> list[tuple[float, float]]:
        """Place the points' names on a plot of ``width`` by ``height`` pixels, written ``size`` pixels high."""
        places = [self._pixel(point, point.value, width, height) for point in self.points]
        bars = [self._bar(point, width, height) for point in self.points]
        widths = [text_width(shortened(point.name), size) for point in self.points]
        return place_labels(places, widths, height=size * 1.3, area=Box(0, 0, width, height), avoid=bars)

    def _pixel(self, point: Point, value: float, width: float, height: float) -> tuple[float, float]:
        across = math.log(point.seconds / self.time.low) / math.log(self.time.high / self.time.low)
        up = (value - self.values[0]) / (self.values[1] - self.values[0])
        return across * width, (1 - up) * height

    def _bar(self, point: Point, width: float, height: float) -> Box:
        x, top = self._pixel(point, point.high, width, height)
        return Box(x - 3, top, x + 3, self._pixel(point, point.low, width, height)[1])


def scatter(view: View) -> Scatter:
    """Return every ranked model whose training time is known, best first."""
    points = [_point(view, model) for model in view.ranked if model.get("fit_seconds") is not None]
    ends = [end for point in points for end in (point.low, point.high)]
    return Scatter(points, time_axis([point.seconds for point in points]), value_range(ends))


def _point(view: View, model: Json) -> Point:
    found = figure(model, view.primary) or {}
    value = float(found["mean"])
    low, high = _ends(found.get("ci95"), value)
    return Point(str(model["name"]), family(model), max(float(model["fit_seconds"]), SHORTEST), value, low, high)


def _ends(ci95: Sequence[float] | None, value: float) -> tuple[float, float]:
    return (float(ci95[0]), float(ci95[1])) if ci95 else (value, value)

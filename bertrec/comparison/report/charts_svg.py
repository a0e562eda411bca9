"""The charts as SVG by matplotlib: for print, for Markdown and for papers. The same comparison gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from bertrec.comparison.report.curves import Line, with_curves
from bertrec.comparison.report.scatter import Scatter, scatter
from bertrec.comparison.report.view import View, figure, mean, not_converged
from bertrec.pages.axes import TimeAxis, time_axis, value_range
from bertrec.pages.blocks import Json
from bertrec.pages.palette import FAMILIES, FAMILY_NAMES, HATCHES, LIGHT, MARKERS, family
from bertrec.pages.svg_style import LABEL_SIZE, WIDTH, new_figure, svg_bytes, svg_style
from bertrec.pages.wording import shortened, slice_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def svg_charts(view: View) -> dict[str, bytes]:
    """Draw every chart; one without anything to draw says so.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with svg_style():
        return {name: svg_bytes(draw(view)) for name, draw in _CHARTS.items()}


def _nothing(text: str) -> Figure:
    drawn = new_figure(1.0, constrained=False)
    drawn.text(0.5, 0.5, text, ha="center", va="center")
    return drawn


def _quality_time(view: View) -> Figure:
    found = scatter(view)
    if not found.points:
        return _nothing("No model has both a figure and a training time.")
    height = 5.2
    drawn = new_figure(height, constrained=False)
    left, bottom, wide, high = 0.095, 0.1, 0.885, 0.83
    axes = drawn.add_axes((left, bottom, wide, high))
    _points(axes, found)
    _time(axes, found.time)
    axes.set_ylim(*found.values)
    axes.set_xlabel("training time, all seeds and the search")
    axes.set_ylabel(view.primary)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    _names(axes, found, found.label_offsets(wide * WIDTH * 72, high * height * 72, LABEL_SIZE))
    return drawn


def _points(axes: Axes, found: Scatter) -> None:
    for kind in FAMILIES:
        points = [point for point in found.points if point.family == kind]
        if not points:
            continue
        x, y = [point.seconds for point in points], [point.value for point in points]
        below, above = [p.value - p.low for p in points], [p.high - p.value for p in points]
        axes.errorbar(x, y, yerr=[below, above], fmt="none", ecolor=LIGHT["error"], elinewidth=0.7, capsize=2, alpha=0.6, zorder=2)
        axes.plot(x, y, MARKERS[kind], color=LIGHT[f"family-{kind}"], markersize=7, label=FAMILY_NAMES[kind], zorder=3)


def _names(axes: Axes, found: Scatter, offsets: Sequence[tuple[float, float]]) -> None:
    line = {"arrowstyle": "-", "color": LIGHT["quiet"], "linewidth": 0.5, "shrinkA": 0, "shrinkB": 5}
    for point, (dx, dy) in zip(found.points, offsets, strict=True):
        axes.annotate(
            shortened(point.name),
            (point.seconds, point.value),
            (dx, -dy),
            textcoords="offset points",
            ha="center",
            va="center",
            arrowprops=line,
            zorder=4,
        )


def _slices(view: View) -> Figure:
    parts = [name for name in view.slices if any(mean(model, view.primary, name) is not None for model in view.ranked)]
    if not parts:
        return _nothing("No model has figures of a slice.")
    columns = min(3, len(parts))
    rows = -(-len(parts) // columns)
    drawn = new_figure(rows * (0.19 * len(view.ranked) + 0.75))
    grid = drawn.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, name in zip(grid, parts, strict=False):
        _bars(axes, view, name)
    _switch_off(grid[len(parts) :])
    drawn.supxlabel(view.primary, fontsize=LABEL_SIZE)
    return drawn


def _bars(axes: Axes, view: View, part: str) -> None:
    for place, model in enumerate(view.ranked):
        found, kind = figure(model, view.primary, part), family(model)
        if found is None:
            continue
        value, ends = found["mean"], found.get("ci95")
        errors = [[value - ends[0]], [ends[1] - value]] if ends else None
        style = {"ecolor": LIGHT["ink"], "elinewidth": 0.7, "capsize": 1.5}
        axes.barh(place, value, color=LIGHT[f"family-{kind}"], hatch=HATCHES[kind], height=0.72, xerr=errors, error_kw=style)
    axes.set_title(f"{slice_name(part)}, {view.slice_users(part)} users", fontsize=LABEL_SIZE, loc="left")
    axes.set_yticks(range(len(view.ranked)), [shortened(str(model["name"])) for model in view.ranked])
    axes.set_ylim(len(view.ranked) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _curves(view: View) -> Figure:
    found = with_curves(view)
    if not found:
        return _nothing("No learning curve was recorded.")
    every = [line for _, drawn in found for line in drawn]
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    whole = new_figure(rows * 1.55 + 0.4 + (0.6 if rows == 1 else 0))
    grid = whole.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (model, own) in zip(grid, found, strict=False):
        _curve_panel(axes, model, own, every)
    _switch_off(grid[len(found) :])
    whole.supxlabel("elapsed time", fontsize=LABEL_SIZE)
    whole.supylabel(f"validation {view.primary}", fontsize=LABEL_SIZE)
    return whole


def _curve_panel(axes: Axes, model: Json, own: Sequence[Line], every: Sequence[Line]) -> None:
    for line in every:
        axes.plot(line.seconds, line.values, color=LIGHT["context"], linewidth=0.7, zorder=1)
    colour = LIGHT[f"family-{family(model)}"]
    for line in own:
        marker = "." if len(line.seconds) == 1 else None
        axes.plot(line.seconds, line.values, color=colour, linewidth=1.2 if line.chosen else 0.6, marker=marker, zorder=2)
    if not_converged(model):
        axes.text(0.98, 0.05, "not converged", transform=axes.transAxes, ha="right", fontsize=LABEL_SIZE - 1.5)
    axes.set_title(shortened(str(model["name"]), 24), fontsize=LABEL_SIZE - 1, loc="left")
    _time(axes, time_axis([second for line in every for second in line.seconds]))
    axes.set_ylim(*value_range([value for line in every for value in line.values], from_zero=True))


def _time(axes: Axes, time: TimeAxis) -> None:
    axes.set_xscale("log")
    axes.set_xlim(time.low, time.high)
    axes.set_xticks(list(time.ticks), list(time.ticks.values()))
    axes.minorticks_off()


def _switch_off(rest: Iterable[Axes]) -> None:
    for axes in rest:
        axes.set_visible(False)


_CHARTS: dict[str, Callable[[View], Figure]] = {"quality_time": _quality_time, "slices": _slices, "curves": _curves}

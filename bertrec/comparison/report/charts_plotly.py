"""The page's charts as plotly.js takes them: plain dictionaries whose colours are CSS variables, which follow the reader's scheme."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from bertrec.comparison.report.curves import Line, with_curves
from bertrec.comparison.report.scatter import Point, Scatter, scatter
from bertrec.comparison.report.view import View, figure, mean, not_converged
from bertrec.pages.axes import TimeAxis, text_width, time_axis, value_range
from bertrec.pages.blocks import Json
from bertrec.pages.drawing import FONT_SIZE, LABEL_WIDTHS, Figure, Panel, base_layout
from bertrec.pages.palette import FAMILIES, FAMILY_NAMES, PATTERNS, SYMBOLS, family
from bertrec.pages.wording import duration, interval, number, shortened, slice_name

_SCATTER_HEIGHT = 540
_SCATTER_MARGIN = {"l": 60, "r": 12, "t": 40, "b": 52}


def panels(view: View, name: str) -> list[Panel]:
    """Return the drawings of a chart; none where there is nothing to draw."""
    return _PANELS[name](view)


def context(view: View) -> list[Figure]:
    """Return all learning curves as one grey trace, which every panel of curves draws first."""
    x: list[float | None] = []
    y: list[float | None] = []
    for _, drawn in with_curves(view):
        for line in drawn:
            x += [*line.seconds, None]
            y += [*line.values, None]
    return [{"type": "scatter", "mode": "lines", "x": x, "y": y, "line": {"color": "var(--context)", "width": 1}, "hoverinfo": "skip"}]


def _quality_time(view: View) -> list[Panel]:
    found = scatter(view)
    if not found.points:
        return []
    layout = base_layout(_SCATTER_HEIGHT, _SCATTER_MARGIN)
    layout["xaxis"] |= _time_axis(found.time) | {"title": {"text": "training time, all seeds and the search"}}
    layout["yaxis"] |= {"range": list(found.values), "title": {"text": escape(view.primary, quote=False)}}
    layout |= {"showlegend": True, "legend": {"orientation": "h", "x": 0.5, "xanchor": "center", "y": 1.01, "yanchor": "bottom"}}
    traces = [_family_trace(kind, [point for point in found.points if point.family == kind]) for kind in FAMILIES]
    labels = {str(width): _annotations(found, width) for width in LABEL_WIDTHS}
    drawn = {"data": [trace for trace in traces if trace["x"]], "layout": layout, "labels": labels}
    return [Panel("", f"{view.primary} against training time of {len(found.points)} models; the figures are in the table of models", drawn)]


def _family_trace(kind: str, points: Sequence[Point]) -> Figure:
    errors = {
        "type": "data",
        "symmetric": False,
        "array": [point.high - point.value for point in points],
        "arrayminus": [point.value - point.low for point in points],
        "color": "var(--error)",
        "thickness": 1,
        "width": 3,
    }
    return {
        "type": "scatter",
        "mode": "markers",
        "name": FAMILY_NAMES[kind],
        "x": [point.seconds for point in points],
        "y": [point.value for point in points],
        "error_y": errors,
        "marker": {"symbol": SYMBOLS[kind], "size": 11, "color": f"var(--family-{kind})", "line": {"color": "var(--paper)", "width": 1}},
        "hovertext": [_hover(point) for point in points],
        "hoverinfo": "text",
    }


def _hover(point: Point) -> str:
    span = interval([point.low, point.high]) if point.low != point.high else ""
    return f"{escape(point.name, quote=False)}<br>{number(point.value)} {span}<br>{duration(point.seconds)}"


def _annotations(found: Scatter, width: int) -> list[Figure]:
    margin = _SCATTER_MARGIN
    inner = width - margin["l"] - margin["r"], _SCATTER_HEIGHT - margin["t"] - margin["b"]
    size = 11 if width < 540 else FONT_SIZE
    offsets = found.label_offsets(*inner, size)
    return [_annotation(point, offset, size) for point, offset in zip(found.points, offsets, strict=True)]


def _annotation(point: Point, offset: tuple[float, float], size: int) -> Figure:
    return {
        "text": escape(shortened(point.name), quote=False),
        "x": math.log10(point.seconds),
        "y": point.value,
        "ax": offset[0],
        "ay": offset[1],
        "xanchor": "center",
        "yanchor": "middle",
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 0.7,
        "arrowcolor": "var(--quiet)",
        "standoff": 6,
        "borderpad": 0,
        "font": {"size": size, "color": "var(--ink)"},
    }


def _slices(view: View) -> list[Panel]:
    parts = [name for name in view.slices if any(mean(model, view.primary, name) is not None for model in view.ranked)]
    values = [end for name in parts for model in view.ranked for end in _ends(figure(model, view.primary, name))]
    span = list(value_range(values, from_zero=True))
    return [_slice_panel(view, name, span) for name in parts]


def _slice_panel(view: View, part: str, span: list[float]) -> Panel:
    models = view.ranked
    labels = [shortened(str(model["name"]), 22) for model in models]
    left = max(text_width(text, 11) for text in labels) + 8
    layout = base_layout(22 * len(models) + 52, {"l": left, "r": 10, "t": 4, "b": 44})
    layout["xaxis"] |= {"range": span, "nticks": 4, "title": {"text": escape(view.primary, quote=False), "standoff": 6}}
    layout["yaxis"] |= {"range": [len(models) - 0.4, -0.6], "tickvals": list(range(len(models))), "showgrid": False}
    layout["yaxis"] |= {"ticktext": [escape(text, quote=False) for text in labels], "tickfont": {"size": 11, "color": "var(--ink)"}}
    title = f"{slice_name(part)}: {view.slice_users(part)} users"
    return Panel(
        title, f"{view.primary} by model, {title}; the figures are in the table below", {"data": [_bars(view, part)], "layout": layout}
    )


def _bars(view: View, part: str) -> Figure:
    figures = [figure(model, view.primary, part) for model in view.ranked]
    values = [None if found is None else float(found["mean"]) for found in figures]
    ends = [_ends(found) for found in figures]
    kinds = [family(model) for model in view.ranked]
    errors = {
        "type": "data",
        "symmetric": False,
        "array": [max(pair) - value if pair and value is not None else 0.0 for pair, value in zip(ends, values, strict=True)],
        "arrayminus": [value - min(pair) if pair and value is not None else 0.0 for pair, value in zip(ends, values, strict=True)],
        "color": "var(--ink)",
        "thickness": 1,
        "width": 2,
    }
    names = [escape(str(model["name"]), quote=False) for model in view.ranked]
    spans = [interval(found.get("ci95")) if found else "" for found in figures]
    return {
        "type": "bar",
        "orientation": "h",
        "x": values,
        "y": list(range(len(values))),
        "error_x": errors,
        "marker": {
            "color": [f"var(--family-{kind})" for kind in kinds],
            "pattern": {
                "shape": [PATTERNS[kind] for kind in kinds],
                "fillmode": "overlay",
                "fgcolor": "var(--paper)",
                "size": 6,
                "solidity": 0.2,
            },
        },
        "hovertext": [f"{name}<br>{number(value)} {span}" for name, value, span in zip(names, values, spans, strict=True)],
        "hoverinfo": "text",
    }


def _ends(found: Json | None) -> list[float]:
    """Return what an axis must hold of a figure: the mean and its interval."""
    return [] if found is None else [found["mean"], *(found.get("ci95") or [])]


def _curves(view: View) -> list[Panel]:
    found = with_curves(view)
    every = [line for _, drawn in found for line in drawn]
    time = time_axis([second for line in every for second in line.seconds])
    span = list(value_range([value for line in every for value in line.values], from_zero=True))
    return [_curve_panel(model, drawn, time, span) for model, drawn in found]


def _curve_panel(model: Json, drawn: Sequence[Line], time: TimeAxis, span: list[float]) -> Panel:
    layout = base_layout(190, {"l": 44, "r": 8, "t": 6, "b": 28})
    layout["xaxis"] |= _time_axis(time)
    layout["yaxis"] |= {"range": span, "nticks": 4}
    end = " · not converged" if not_converged(model) else ""
    title = f"{model['name']}{end}"
    traces = [_curve_trace(line, family(model)) for line in drawn]
    return Panel(title, f"validation figure against elapsed time, {title}", {"data": traces, "layout": layout, "context": True})


def _curve_trace(line: Line, kind: str) -> Figure:
    colour = f"var(--family-{kind})"
    return {
        "type": "scatter",
        "mode": "lines" if len(line.seconds) > 1 else "markers",
        "x": line.seconds,
        "y": line.values,
        "line": {"color": colour, "width": 1.6 if line.chosen else 0.8},
        "marker": {"color": colour, "size": 5},
        "hovertext": [
            f"seed {line.seed}, {duration(second)}: {number(value)}" for second, value in zip(line.seconds, line.values, strict=True)
        ],
        "hoverinfo": "text",
    }


def _time_axis(time: TimeAxis) -> Figure:
    ends = [math.log10(time.low), math.log10(time.high)]
    return {"type": "log", "range": ends, "tickvals": list(time.ticks), "ticktext": list(time.ticks.values())}


_PANELS: dict[str, Callable[[View], list[Panel]]] = {"quality_time": _quality_time, "slices": _slices, "curves": _curves}

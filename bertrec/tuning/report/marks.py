"""Traces that the charts of a study are made of: points and lines of one meaning look alike everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from bertrec.pages.drawing import Figure, base_layout
from bertrec.tuning.report.ticks import Axis
from bertrec.tuning.report.view import StudyView
from bertrec.tuning.report.wording import figure_text

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# Colour never stands alone: each meaning has a shape and a size of its own.
_POINTS: dict[str, dict[str, Any]] = {
    "complete": {"symbol": "circle", "size": 7, "color": "var(--family-text)"},
    "pruned": {"symbol": "x", "size": 7, "color": "var(--family-other)"},
    "failed": {"symbol": "x", "size": 7, "color": "var(--bad)"},
    "front": {"symbol": "circle", "size": 9, "color": "var(--family-id)"},
    "default": {"symbol": "square", "size": 11, "color": "var(--ink)"},
    "best": {"symbol": "diamond", "size": 13, "color": "var(--family-id)"},
}
LEGEND = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": 1.01, "yanchor": "bottom"}


def plain_text(text: str) -> str:
    """Return text that plotly.js shows as it is: it reads a little HTML in labels."""
    return escape(text, quote=False)


def points(kind: str, name: str, x: Sequence[Any], y: Sequence[Any], hover: Sequence[str]) -> Figure:
    """Return markers of one meaning, named so in the legend."""
    marker = _POINTS[kind] | {"line": {"color": "var(--paper)", "width": 1}}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": plain_text(name),
        "x": list(x),
        "y": list(y),
        "marker": marker,
        "hovertext": [plain_text(text) for text in hover],
        "hoverinfo": "text",
    }


def lines(name: str, x: Sequence[Any], y: Sequence[Any], *, color: str, width: float = 1.0, dash: str = "solid") -> Figure:
    """Return a line; None in ``x`` and ``y`` breaks it."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": plain_text(name),
        "x": list(x),
        "y": list(y),
        "line": {"color": f"var(--{color})", "width": width, "dash": dash},
        "hoverinfo": "skip",
    }


def layout(height: float, x: Axis, y: Axis, *, x_title: str = "", y_title: str = "", legend: bool = False) -> Figure:
    """Return the layout of a chart with two numeric axes."""
    top = 40 if legend else 8
    found = base_layout(height, {"l": 64 if y_title else 48, "r": 12, "t": top, "b": 48 if x_title else 30})
    found["xaxis"] |= axis(x) | {"title": {"text": plain_text(x_title), "standoff": 8}}
    found["yaxis"] |= axis(y) | {"title": {"text": plain_text(y_title), "standoff": 8}}
    return found | ({"showlegend": True, "legend": dict(LEGEND)} if legend else {})


def axis(found: Axis) -> Figure:
    """Return a numeric axis as plotly.js takes it: ranges of a logarithmic one are powers of ten."""
    ends = [math.log10(found.low), math.log10(found.high)] if found.log else [found.low, found.high]
    return {"type": "log" if found.log else "linear", "range": ends, "tickvals": list(found.ticks), "ticktext": list(found.ticks.values())}


def with_marked(view: StudyView, objective: int, place_of: dict[int, Any], *, named: bool = True) -> list[Figure]:
    """Return the default and the best as points of their own, where ``place_of`` (x by trial number) holds them."""
    found = []
    for kind, trial in (("default", view.default), ("best", view.best)):
        if trial is not None and trial in view.measured and trial.number in place_of:
            x, y = place_of[trial.number], trial.values[objective]
            name = f"{'the default' if kind == 'default' else 'best'}: trial {trial.number}" if named else kind
            found.append(points(kind, name, [x], [y], [hover(view, trial, objective)]))
    return found


def hover(view: StudyView, trial: FrozenTrial, objective: int) -> str:
    """Return what a point says when it is pointed at."""
    return f"trial {trial.number}: {view.objectives[objective]} {figure_text(trial.values[objective])}"

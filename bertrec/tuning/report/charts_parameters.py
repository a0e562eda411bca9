"""Charts of the parameters: how much each mattered, the figure at each value, and whole trials as lines through their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bertrec.pages.axes import text_width
from bertrec.pages.drawing import LABEL_WIDTHS, Figure, Panel, base_layout
from bertrec.pages.wording import shortened
from bertrec.tuning.report.importances import Importances
from bertrec.tuning.report.marks import axis, hover, layout, lines, plain_text, points, with_marked
from bertrec.tuning.report.scales import Scale, varied_scales
from bertrec.tuning.report.ticks import linear_axis
from bertrec.tuning.report.view import StudyView
from bertrec.tuning.report.wording import setting_text

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_ROW = 54
_NAME_LENGTH = 20
_SMALL = 10
# Where the lines of trials pass that do not use a parameter.
_UNUSED = -0.1


def importance_bars(found: Importances) -> list[Panel]:
    """Return a bar a parameter, the most important on top."""
    if not found.shares:
        return []
    names = [shortened(name) for name in found.shares]
    values = list(found.shares.values())
    figure = base_layout(26 * len(names) + 56, {"l": max(text_width(name, 12) for name in names) + 8, "r": 40, "t": 6, "b": 46})
    figure["xaxis"] |= axis(linear_axis([*values, 0.0], most=5, from_zero=True)) | {
        "title": {"text": "share of what mattered", "standoff": 8}
    }
    figure["yaxis"] |= {"range": [len(names) - 0.4, -0.6], "tickvals": list(range(len(names))), "showgrid": False}
    figure["yaxis"] |= {"ticktext": [plain_text(name) for name in names]}
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": values,
        "y": list(range(len(names))),
        "marker": {"color": "var(--family-text)"},
        "text": [f"{100 * value:.0f} %" for value in values],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertext": [f"{plain_text(name)}: {100 * value:.1f} %" for name, value in found.shares.items()],
        "hoverinfo": "text",
    }
    return [Panel("", "Importance of each parameter; the figures are in the table below", {"data": [bars], "layout": figure})]


def slices(view: StudyView, first: list[str]) -> list[Panel]:
    """Return one panel a parameter and objective: the figure of each trial against the parameter's value."""
    scales = varied_scales(view, first)
    return [_slice(view, scale, objective) for objective in range(len(view.objectives)) for scale in scales]


def _slice(view: StudyView, scale: Scale, objective: int) -> Panel:
    name = view.objectives[objective]
    trials = [trial for trial in view.measured if trial.number in scale.used]
    places = {number: scale.place(value) for number, value in scale.used.items()}
    texts = [f"{hover(view, trial, objective)}, {setting_text(scale.used[trial.number])}" for trial in trials]
    values = [float(trial.values[objective]) for trial in trials]
    traces = [points("complete", "completed", [places[trial.number] for trial in trials], values, texts)]
    traces[0]["marker"] |= {"size": 7, "opacity": 0.8, "line": {"color": "var(--paper)", "width": 0.5}}
    traces += with_marked(view, objective, places, named=False)
    found = layout(210, scale.axis(), linear_axis([float(trial.values[objective]) for trial in view.measured], most=4))
    found["margin"]["l"] = 56
    found["xaxis"]["ticktext"] = [plain_text(shortened(text, 14)) for text in found["xaxis"]["ticktext"]]
    if scale.choices is not None:
        # Long choices stand aslant, and the margin grows to hold them.
        found["xaxis"] |= {"automargin": True, "showgrid": False}
    title = scale.name if view.single else f"{scale.name} · {name}"
    return Panel(title, f"{name} against {scale.name} of {len(trials)} trials", {"data": traces, "layout": found})


def parallel(view: StudyView, first: list[str]) -> list[Panel]:
    """Return one line a trial through its settings, a row a parameter and a row an objective, the best ones in colour.

    Rows, not columns: names and values stay legible however many parameters there are and however narrow the page is.
    """
    scales = [*varied_scales(view, first), *(_objective_scale(view, place) for place in range(len(view.objectives)))]
    if len(scales) == len(view.objectives):
        return []
    names = [shortened(scale.name, _NAME_LENGTH) for scale in scales]
    unused = any(len(scale.used) < len(view.measured) for scale in scales)
    figure = base_layout(_ROW * len(scales) + 70, {"l": max(text_width(name, 12) for name in names) + 8, "r": 14, "t": 40, "b": 10})
    figure["xaxis"] |= {"range": [_UNUSED - 0.06 if unused else -0.03, 1.03], "visible": False}
    figure["yaxis"] |= {"range": [len(scales) - 0.35, -0.35], "tickvals": list(range(len(names))), "showline": False}
    figure["yaxis"] |= {"ticktext": [plain_text(name) for name in names], "gridcolor": "var(--quiet)"}
    figure |= {"showlegend": True, "legend": {"orientation": "h", "x": 0.5, "xanchor": "center", "y": 1, "yanchor": "bottom"}}
    groups = _groups(view)
    traces = [_parallel_lines(name, trials, scales, **style) for name, trials, style in groups if trials]
    labels = {str(width): _row_labels(scales, width - figure["margin"]["l"], unused) for width in LABEL_WIDTHS}
    described = f"Settings and figures of {len(view.measured)} trials as lines; they are in the table of trials"
    return [Panel("", described, {"data": traces, "layout": figure, "labels": labels})]


def _objective_scale(view: StudyView, place: int) -> Scale:
    return Scale(view.objectives[place], {trial.number: trial.values[place] for trial in view.measured}, None, log=False)


def _groups(view: StudyView) -> list[tuple[str, list[FrozenTrial], dict[str, Any]]]:
    """Return the trials by how good they are, the best last, since they lie on top."""
    best = [view.best] if view.best is not None else view.front
    top: list[FrozenTrial] = []
    if view.single:
        ordered = sorted(view.measured, key=lambda trial: -view.gains(trial)[0])
        top = [trial for trial in ordered[: max(1, len(ordered) // 10)] if trial not in best]
    chosen = {trial.number for trial in [*best, *top]}
    rest = [trial for trial in view.measured if trial.number not in chosen]
    return [
        ("other trials", rest, {"color": "family-other", "width": 0.6}),
        ("the best tenth", top, {"color": "family-text", "width": 1.6}),
        ("best" if view.single else "Pareto front", best, {"color": "family-id", "width": 2.4}),
    ]


def _parallel_lines(name: str, trials: list[FrozenTrial], scales: list[Scale], **style: Any) -> Figure:
    x: list[float | None] = []
    y: list[float | None] = []
    for trial in trials:
        x += [*(scale.share(scale.used[trial.number]) if trial.number in scale.used else _UNUSED for scale in scales), None]
        y += [*range(len(scales)), None]
    return lines(name, x, y, **style)


def _row_labels(scales: list[Scale], width: float, unused: bool) -> list[Figure]:
    """Return what stands under each row: its values, cut to what the width has room for."""
    found = []
    for row, scale in enumerate(scales):
        ends = scale.ends()
        length = max(3, int(width * 0.8 / len(ends) / (0.6 * _SMALL)) - 1)
        found += [_label(at, row, shortened(text, length)) for at, text in ends.items()]
        if unused and len(scale.used) < len(scales[-1].used):
            found.append(_label(_UNUSED, row, "–", anchor="center"))
    return found


def _label(at: float, row: int, text: str, *, anchor: str | None = None) -> Figure:
    side = anchor or ("left" if at == 0 else "right" if at == 1 else "center")
    return {
        "text": plain_text(text),
        "x": at,
        "y": row,
        "xanchor": side,
        "yanchor": "top",
        "yshift": -3,
        "showarrow": False,
        "borderpad": 1,
        # The lines of many trials pass behind.
        "bgcolor": "var(--paper)",
        "font": {"size": _SMALL, "color": "var(--quiet)"},
    }

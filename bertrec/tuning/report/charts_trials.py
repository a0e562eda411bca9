"""Charts of the trials one after another: the best so far, the learning curves, the time each took."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from bertrec.pages.drawing import Figure, Panel
from bertrec.pages.palette import PATTERNS
from bertrec.pages.wording import duration
from bertrec.tuning.report.marks import hover, layout, lines, plain_text, points, with_marked
from bertrec.tuning.report.ticks import count_axis, linear_axis
from bertrec.tuning.report.view import StudyView, curve_of, seconds_of, state_of
from bertrec.tuning.report.wording import counted, figure_text

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# The colour and the fill of a bar by what became of its trial.
_BARS = {"complete": ("family-text", "text"), "pruned": ("family-other", "other"), "failed": ("bad", "id")}


def history(view: StudyView) -> list[Panel]:
    """Return one panel an objective: the figure of each completed trial, and the best so far."""
    return [_history_panel(view, place) for place in range(len(view.objectives))] if view.measured else []


def _history_panel(view: StudyView, objective: int) -> Panel:
    name = view.objectives[objective]
    numbers = [trial.number for trial in view.measured]
    values = [float(trial.values[objective]) for trial in view.measured]
    best = list(accumulate(values, max if view.larger_is_better[objective] else min))
    # Flat until a better trial comes: a step, not a slope.
    stepped_x = [x for pair in zip(numbers, [*numbers[1:], view.trials[-1].number], strict=True) for x in pair]
    stepped_y = [y for y in best for _ in range(2)]
    traces = [
        lines("best so far", stepped_x, stepped_y, color="family-id", width=1.6),
        points("complete", "completed trial", numbers, values, [hover(view, trial, objective) for trial in view.measured]),
        *with_marked(view, objective, {number: number for number in numbers}),
    ]
    x, y = count_axis(view.trials[-1].number), linear_axis(values)
    figure = {"data": traces, "layout": layout(360, x, y, x_title="trial", y_title=name, legend=view.single)}
    return Panel("" if view.single else name, f"{name} of {counted(len(numbers), 'completed trial')} and the best so far", figure)


def curves(view: StudyView) -> list[Panel]:
    """Return the figures that trials reported while they ran: a line a trial, with a mark where one was pruned or failed."""
    found = [(trial, curve_of(trial)) for trial in view.trials]
    drawn = [(trial, curve) for trial, curve in found if curve]
    if not drawn or not view.single:
        return []
    best = None if view.best is None else view.best.number
    groups = {state: [pair for pair in drawn if state_of(pair[0]) == state and pair[0].number != best] for state in _LINES}
    traces = [trace for state, group in groups.items() if group for trace in _curve_group(view, state, group)]
    traces += [_curve_lines("best", [pair], color="family-id", width=2.4) for pair in drawn if pair[0].number == best]
    steps = [step for _, curve in drawn for step, _ in curve]
    x = count_axis(max(steps), first=min(steps))
    y = linear_axis([value for _, curve in drawn for _, value in curve])
    step = "chunk of users" if reports_chunks(view) else "step"
    figure = {"data": traces, "layout": layout(380, x, y, x_title=step, y_title=view.objectives[0], legend=True)}
    return [Panel("", f"{view.objectives[0]} by step of {counted(len(drawn), 'trial')}, pruned ones marked", figure)]


def reports_chunks(view: StudyView) -> bool:
    """Say whether trials report chunks of users, as the Wilcoxon pruner compares them, and not epochs."""
    return "wilcoxon" in str(view.about.get("pruner") or "").casefold()


# What a group of lines is called, its colour and its dash; the quietest first, since later ones lie on top.
_LINES = {
    "pruned": ("pruned", "family-other", "dot"),
    "failed": ("failed", "bad", "dash"),
    "running": ("still running", "family-other", "solid"),
    "complete": ("completed", "family-text", "solid"),
}


def _curve_group(view: StudyView, state: str, group: Sequence[tuple[FrozenTrial, list[tuple[int, float]]]]) -> list[Figure]:
    name, colour, dash = _LINES[state]
    drawn = _curve_lines(name, group, color=colour, width=1.1, dash=dash)
    if state not in ("pruned", "failed"):
        return [drawn]
    drawn["mode"] = "lines"
    steps, values = [curve[-1][0] for _, curve in group], [curve[-1][1] for _, curve in group]
    texts = [f"trial {trial.number}, {state} at step {curve[-1][0]}: {figure_text(curve[-1][1])}" for trial, curve in group]
    marks = points(state, "where it was pruned" if state == "pruned" else "where it failed", steps, values, texts)
    return [drawn, marks]


def _curve_lines(name: str, group: Sequence[tuple[FrozenTrial, list[tuple[int, float]]]], **style: Any) -> Figure:
    """Return the lines of several trials as one trace, broken between trials."""
    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for trial, curve in group:
        x += [*(step for step, _ in curve), None]
        y += [*(value for _, value in curve), None]
        texts += [*(f"trial {trial.number}, step {step}: {figure_text(value)}" for step, value in curve), ""]
    single = all(len(curve) == 1 for _, curve in group)
    marked = {"mode": "lines+markers" if single else "lines", "marker": {"color": f"var(--{style['color']})", "size": 5}}
    return lines(name, x, y, **style) | marked | {"hovertext": [plain_text(text) for text in texts], "hoverinfo": "text"}


def times(view: StudyView) -> list[Panel]:
    """Return how long each finished trial took, by what became of it."""
    found = [(trial, seconds_of(trial)) for trial in view.trials]
    timed = [(trial, seconds) for trial, seconds in found if seconds is not None]
    if not timed:
        return []
    longest = max(seconds for _, seconds in timed)
    unit, name = (60.0, "minutes") if longest >= 180 else (1.0, "seconds")
    traces = [_bars(state, [pair for pair in timed if state_of(pair[0]) == state], unit) for state in _BARS]
    y = linear_axis([seconds / unit for _, seconds in timed] or [0.0], most=5, from_zero=True)
    x = count_axis(view.trials[-1].number)
    figure = {"data": [trace for trace in traces if trace["x"]], "layout": layout(300, x, y, x_title="trial", y_title=name, legend=True)}
    return [Panel("", f"time of {counted(len(timed), 'finished trial')}, in {name}", figure)]


def _bars(state: str, timed: Sequence[tuple[FrozenTrial, float]], unit: float) -> Figure:
    colour, pattern = _BARS[state]
    fill = {"shape": PATTERNS[pattern], "fillmode": "overlay", "fgcolor": "var(--paper)", "size": 6, "solidity": 0.2}
    return {
        "type": "bar",
        "name": "completed" if state == "complete" else state,
        "x": [trial.number for trial, _ in timed],
        "y": [seconds / unit for _, seconds in timed],
        "marker": {"color": f"var(--{colour})", "pattern": fill},
        "hovertext": [f"trial {trial.number}, {state}: {duration(seconds)}" for trial, seconds in timed],
        "hoverinfo": "text",
    }

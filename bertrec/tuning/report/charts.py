"""The charts of a study, by matplotlib.

Optuna draws such charts too, but marks neither the default nor what was pruned, writes one legend entry per trial, and
colours by a map that is lost on dark ground.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from bertrec.pages.charts import HATCHES, LABEL_SIZE, LIGHT, legend_above, new_figure, panel_grid
from bertrec.pages.wording import setting_text, shortened
from bertrec.tuning.study_view import StudyView, curve_of, is_number, seconds_of, state_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial

# Colour never stands alone: each meaning has a shape, a size, a dash or a fill of its own.
_POINTS = {
    "complete": ("o", 5.0, "family-text"),
    "pruned": ("x", 5.0, "family-other"),
    "failed": ("x", 5.0, "bad"),
    "front": ("o", 7.0, "family-id"),
    "default": ("s", 8.0, "ink"),
    "best": ("D", 9.0, "family-id"),
}
# Name, colour, dash and fill by what became of a trial; the quietest first, since later ones lie on top.
_STATES = {
    "pruned": ("pruned", "family-other", ":", "other"),
    "failed": ("failed", "bad", "--", "id"),
    "running": ("still running", "family-other", "-", "other"),
    "complete": ("completed", "family-text", "-", "text"),
}
# Where the lines of trials pass that do not use a parameter, and the letters that a row of such lines has room for.
_UNUSED, _ROW_LETTERS = -0.08, 110


@dataclass(frozen=True)
class Scale:
    """Where the values of a parameter stand: numbers by size, on a logarithm where they were drawn so, choices in their order.

    Attributes:
        name: of the parameter.
        places: a number for each measured trial that used it, by trial number; of a choice its place in ``choices``.
        choices: the used ones as text, each once, in the order in which they were given; None for numbers.
        log: whether it was drawn on a logarithmic scale.
    """

    name: str
    places: dict[int, float]
    choices: list[str] | None = None
    log: bool = False

    def shares(self) -> dict[int, float]:
        """Return the places between the least (0) and the greatest (1)."""
        turned = {number: math.log(place) if self.log else place for number, place in self.places.items()}
        low, high = min(turned.values()), max(turned.values())
        return {number: (place - low) / (high - low) if high > low else 0.5 for number, place in turned.items()}

    def ends(self) -> dict[float, str]:
        """Return what is written along an axis from 0 to 1: every choice, or the least and the greatest number."""
        if self.choices is None:
            return {0.0: f"{min(self.places.values()):.4g}", 1.0: f"{max(self.places.values()):.4g}"}
        return {place / max(1, len(self.choices) - 1): text for place, text in enumerate(self.choices)}


def varied_scales(view: StudyView, first: Sequence[str] = ()) -> list[Scale]:
    """Return the parameters that took several values in the measured trials, those of ``first`` first."""
    names = dict.fromkeys([*(name for name in first if name in view.parameters), *view.parameters])
    return [scale for scale in (_scale(view, name) for name in names) if len(set(scale.places.values())) > 1]


def _scale(view: StudyView, name: str) -> Scale:
    trials = [trial for trial in view.measured if name in trial.params]
    used = {trial.number: trial.params[name] for trial in trials}
    given = [choice for trial in trials for choice in getattr(trial.distributions[name], "choices", ())]
    if not given and all(map(is_number, used.values())):
        log = any(getattr(trial.distributions[name], "log", False) for trial in trials) and min(used.values()) > 0
        return Scale(name, {number: float(value) for number, value in used.items()}, log=log)
    # 1, True and "1" are three choices.
    keys = {number: json.dumps(value, default=str) for number, value in used.items()}
    texts = {json.dumps(value, default=str): setting_text(value) for value in [*given, *used.values()]}
    order = [key for key in texts if key in keys.values()]
    return Scale(name, {number: float(order.index(key)) for number, key in keys.items()}, [texts[key] for key in order])


def history(view: StudyView) -> Figure:
    """Draw the figure of each completed trial and the best so far, a panel per objective."""
    drawn, grid = panel_grid(len(view.objectives), columns=2, height=4.0)
    numbers = [trial.number for trial in view.measured]
    for place, axes in enumerate(grid):
        values = [float(trial.values[place]) for trial in view.measured]
        best = list(accumulate(values, max if view.larger_is_better[place] else min))
        # Flat until a better trial comes: a step, not a slope.
        steps = [*numbers, view.trials[-1].number], [*best, best[-1]]
        axes.step(*steps, where="post", color=LIGHT["family-id"], linewidth=1.2, label="best so far")
        _points(axes, "complete", numbers, values, "completed trial")
        _marked(axes, view, place, {number: number for number in numbers})
        axes.set(xlabel="trial", ylabel=shortened(view.objectives[place]))
        axes.locator_params(axis="x", integer=True)
    legend_above(drawn)
    return drawn


def front(view: StudyView) -> Figure:
    """Draw all measured trials of two objectives by their two figures, the border of what the front reaches as steps."""
    drawn = new_figure(4.6)
    axes = drawn.subplots()
    # Steps: nothing between two trials was reached, so no slope joins them.
    axes.step(*_both(view.front), where="post", color=LIGHT["family-id"], linewidth=0.9)
    on_front = {trial.number for trial in view.front}
    _points(axes, "complete", *_both([trial for trial in view.measured if trial.number not in on_front]), "other trials")
    _points(axes, "front", *_both(view.front), "Pareto front")
    if view.default is not None and view.default in view.measured:
        _points(axes, "default", *_both([view.default]), f"the default: trial {view.default.number}")
    axes.set(xlabel=shortened(view.objectives[0]), ylabel=shortened(view.objectives[1]))
    legend_above(drawn)
    return drawn


def _both(trials: Sequence[FrozenTrial]) -> tuple[list[float], list[float]]:
    return [float(trial.values[0]) for trial in trials], [float(trial.values[1]) for trial in trials]


def importances(shares: Mapping[str, float]) -> Figure:
    """Draw a bar per parameter, the most important on top."""
    drawn = new_figure(0.26 * len(shares) + 0.8)
    axes = drawn.subplots()
    bars = axes.barh(range(len(shares)), list(shares.values()), height=0.72, color=LIGHT["family-text"])
    axes.bar_label(bars, [f"{100 * share:.0f} %" for share in shares.values()], padding=3)
    axes.set_yticks(range(len(shares)), [shortened(name, 40) for name in shares])
    axes.set(ylim=(len(shares) - 0.4, -0.6), xlabel="share of what mattered")
    axes.margins(x=0.08)
    axes.grid(visible=False, axis="y")
    return drawn


def slices(view: StudyView, scales: Sequence[Scale]) -> Figure:
    """Draw the figure of each trial against each parameter's value, a panel per parameter and objective."""
    drawn, grid = panel_grid(len(scales) * len(view.objectives), columns=3, height=2.2)
    for place, axes in enumerate(grid):
        objective, scale = place // len(scales), scales[place % len(scales)]
        _axis(axes, scale)
        trials = [trial for trial in view.measured if trial.number in scale.places]
        x, y = [scale.places[trial.number] for trial in trials], [float(trial.values[objective]) for trial in trials]
        _points(axes, "complete", x, y, "completed")
        _marked(axes, view, objective, scale.places)
        name = shortened(view.objectives[objective], 12)
        axes.set_title(shortened(scale.name, 40) if view.single else f"{shortened(scale.name)} · {name}")
        axes.sharey(grid[objective * len(scales)])
    legend_above(drawn)
    return drawn


def _axis(axes: Axes, scale: Scale) -> None:
    """Give x the scale and ticks of a parameter."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if scale.choices is not None:
        texts = [shortened(text, 14) for text in scale.choices]
        axes.set_xticks(range(len(texts)), texts)
        if sum(map(len, texts)) > 32:
            axes.tick_params(axis="x", rotation=30, rotation_mode="xtick")
        axes.set_xlim(-0.5, len(texts) - 0.5)
        axes.grid(visible=False, axis="x")
    elif scale.log:
        axes.set_xscale("log")
        spread = max(scale.places.values()) / min(scale.places.values())
        axes.xaxis.set_major_locator(MaxNLocator(3) if spread < 10 else LogLocator(subs=(1, 3) if spread < 100 else (1,), numticks=6))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=all(place.is_integer() for place in scale.places.values())))


def parallel(view: StudyView, scales: Sequence[Scale]) -> Figure:
    """Draw one line per trial through its settings, one row per parameter and per objective, the best ones in colour.

    Rows, not columns: names and values stay legible however many parameters there are.
    """
    ends = [Scale(name, {t.number: float(t.values[place]) for t in view.measured}) for place, name in enumerate(view.objectives)]
    rows = [*scales, *ends]
    shares = [scale.shares() for scale in rows]
    drawn = new_figure(0.55 * len(rows) + 0.7)
    axes = drawn.subplots()
    for name, colour, width, trials in _groups(view):
        paths = [[(share.get(trial.number, _UNUSED), row) for row, share in enumerate(shares)] for trial in trials]
        _lines(axes, paths, name, color=LIGHT[colour], linewidth=width)
    for row, scale in enumerate(rows):
        texts = scale.ends() | ({_UNUSED: "–"} if len(scale.places) < len(view.measured) else {})
        # The lines of many trials pass behind.
        box = {"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 0.5}
        style: dict[str, Any] = {"va": "top", "size": LABEL_SIZE - 1.5, "color": LIGHT["quiet"], "bbox": box, "zorder": 5}
        for at, text in texts.items():
            side = {0.0: "left", 1.0: "right"}.get(at, "center")
            axes.text(at, row + 0.07, shortened(text, max(4, _ROW_LETTERS // len(texts))), ha=side, **style)
    axes.set_yticks(range(len(rows)), [shortened(scale.name) for scale in rows])
    axes.set(ylim=(len(rows) - 0.4, -0.3), xticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(axis="y", color=LIGHT["quiet"])
    legend_above(drawn)
    return drawn


def _groups(view: StudyView) -> list[tuple[str, str, float, list[FrozenTrial]]]:
    """Return name, colour, width and trials by how good they are, the best last, since they lie on top."""
    best = [view.best] if view.best is not None else view.front
    ordered = sorted(view.measured, key=lambda trial: -view.gains(trial)[0]) if view.single else []
    top = [trial for trial in ordered[: max(1, len(ordered) // 10)] if trial not in best]
    chosen = {trial.number for trial in [*best, *top]}
    rest = [trial for trial in view.measured if trial.number not in chosen]
    first = "best" if view.single else "Pareto front"
    return [("other trials", "family-other", 0.4, rest), ("the best tenth", "family-text", 1.1, top), (first, "family-id", 1.7, best)]


def curves(view: StudyView) -> Figure:
    """Draw what trials reported while they ran: a line per trial, with a mark where one was pruned or failed."""
    drawn = new_figure(4.2)
    axes = drawn.subplots()
    found = [(trial, curve) for trial in view.trials if (curve := curve_of(trial))]
    best = [curve for trial, curve in found if trial is view.best]
    for state, (name, colour, dash, _) in _STATES.items():
        group = [curve for trial, curve in found if state_of(trial) == state and trial is not view.best]
        _lines(axes, group, name, color=LIGHT[colour], linestyle=dash, linewidth=0.9)
        if state in ("pruned", "failed"):
            steps, values = [curve[-1][0] for curve in group], [curve[-1][1] for curve in group]
            _points(axes, state, steps, values, "where it was pruned" if state == "pruned" else "where it failed")
    _lines(axes, best, "best", color=LIGHT["family-id"], linewidth=1.8)
    axes.set(xlabel="chunk of users" if view.reports_chunks else "step", ylabel=shortened(view.objectives[0]))
    axes.locator_params(axis="x", integer=True)
    legend_above(drawn)
    return drawn


def _lines(axes: Axes, lines: Sequence[Sequence[tuple[float, float]]], name: str, **style: Any) -> None:
    """Draw lines of one meaning as one, broken between them; lines of one point each as dots."""
    points = [point for line in lines for point in (*line, (math.nan, math.nan))]
    if points:
        marker = "." if all(len(line) == 1 for line in lines) else None
        axes.plot(*zip(*points, strict=True), label=name, marker=marker, **style)


def times(view: StudyView) -> Figure:
    """Draw how long each finished trial took, by what became of it."""
    found = [(trial, seconds) for trial in view.trials if (seconds := seconds_of(trial)) is not None]
    unit, name = (60.0, "minutes") if max(seconds for _, seconds in found) >= 180 else (1.0, "seconds")
    drawn = new_figure(3.2)
    axes = drawn.subplots()
    for state, (label, colour, _, fill) in _STATES.items():
        own = [(trial.number, seconds / unit) for trial, seconds in found if state_of(trial) == state]
        if own:
            axes.bar([number for number, _ in own], [time for _, time in own], color=LIGHT[colour], hatch=HATCHES[fill], label=label)
    axes.set(xlabel="trial", ylabel=name)
    axes.locator_params(axis="x", integer=True)
    legend_above(drawn)
    return drawn


def _points(axes: Axes, kind: str, x: Sequence[float], y: Sequence[float], name: str) -> None:
    """Draw markers of one meaning, where there are any, named so in the legend."""
    marker, size, colour = _POINTS[kind]
    # A cross has no face: its edge is what is seen.
    edge: dict[str, Any] = {} if marker == "x" else {"markeredgecolor": LIGHT["paper"], "markeredgewidth": 0.5}
    if x:
        axes.plot(x, y, marker, markersize=size, color=LIGHT[colour], label=name, zorder=4, **edge)


def _marked(axes: Axes, view: StudyView, objective: int, place_of: Mapping[int, float]) -> None:
    """Draw the default and the best as points of their own, where ``place_of`` (x by trial number) holds them."""
    for kind, name, trial in (("default", "the default", view.default), ("best", "best", view.best)):
        if trial is not None and trial in view.measured and trial.number in place_of:
            _points(axes, kind, [place_of[trial.number]], [float(trial.values[objective])], f"{name}: trial {trial.number}")

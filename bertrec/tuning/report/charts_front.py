"""The Pareto front of two objectives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from bertrec.pages.drawing import Panel
from bertrec.tuning.report.marks import layout, lines, points
from bertrec.tuning.report.ticks import linear_axis
from bertrec.tuning.report.view import StudyView
from bertrec.tuning.report.wording import figure_text

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def front(view: StudyView) -> list[Panel]:
    """Return all measured trials by their two figures, those of the front joined; nothing unless there are two objectives."""
    if len(view.objectives) != 2 or not view.measured:
        return []
    first, second = view.objectives
    on_front = {trial.number for trial in view.front}
    rest = [trial for trial in view.measured if trial.number not in on_front]
    traces = [lines("", *_steps(view.front), color="family-id", width=1.2) | {"showlegend": False}]
    for kind, name, trials in (("complete", "other trials", rest), ("front", "Pareto front", view.front)):
        if trials:
            texts = [f"trial {t.number}: {first} {figure_text(t.values[0])}, {second} {figure_text(t.values[1])}" for t in trials]
            traces.append(points(kind, name, *_both(trials), texts))
    if view.default is not None and view.default in view.measured:
        text = f"the default: trial {view.default.number}"
        traces.append(points("default", text, *_both([view.default]), [text]))
    x, y = (linear_axis([float(trial.values[place]) for trial in view.measured]) for place in (0, 1))
    figure = {"data": traces, "layout": layout(420, x, y, x_title=first, y_title=second, legend=True)}
    return [Panel("", f"{second} against {first}: {len(on_front)} of {len(view.measured)} trials on the Pareto front", figure)]


def _steps(front: Sequence[FrozenTrial]) -> tuple[list[float], list[float]]:
    """Return the border of what the front reaches, as steps: nothing between two trials was reached, so no slope joins them."""
    x, y = _both(front)
    corners_x = [value for pair in pairwise(x) for value in pair] + x[-1:]
    corners_y = [value for value in y[:-1] for _ in range(2)] + y[-1:]
    return corners_x, corners_y


def _both(trials: Sequence[FrozenTrial]) -> tuple[list[float], list[float]]:
    return [float(trial.values[0]) for trial in trials], [float(trial.values[1]) for trial in trials]

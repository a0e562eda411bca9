"""Learning curves as lines that a chart can draw, the same for both kinds of chart."""

from __future__ import annotations

from dataclasses import dataclass

from bertrec.comparison.report.view import View
from bertrec.pages.blocks import Json


@dataclass(frozen=True)
class Line:
    """One training run.

    Attributes:
        seed: of the run.
        chosen: whether it was trained with the settings that the model ended with.
        seconds: elapsed, all above 0 so that a logarithmic axis holds them.
        values: validation figure at each of them.
    """

    seed: int
    chosen: bool
    seconds: list[float]
    values: list[float]


def lines(model: Json) -> list[Line]:
    """Return the runs of a model that have a point to draw, those of the chosen settings last (on top)."""
    curves = model.get("curves") or []
    # A search may train the chosen settings under names of its own: then no curve matches and all count as chosen.
    matched = any(curve.get("settings") == model.get("settings") for curve in curves)
    found = [_line(curve, not matched or curve.get("settings") == model.get("settings")) for curve in curves]
    return sorted((line for line in found if line.seconds), key=lambda line: line.chosen)


def with_curves(view: View) -> list[tuple[Json, list[Line]]]:
    """Return the models that have a learning curve, ranked ones first."""
    found = [(model, lines(model)) for model in [*view.ranked, *view.unranked]]
    return [(model, drawn) for model, drawn in found if drawn]


def _line(curve: Json, chosen: bool) -> Line:
    points = [p for p in curve.get("points") or [] if p.get("metric") is not None and (p.get("seconds") or 0) > 0]
    return Line(int(curve.get("seed") or 0), chosen, [float(p["seconds"]) for p in points], [float(p["metric"]) for p in points])

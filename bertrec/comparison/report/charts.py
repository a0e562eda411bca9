"""The charts of a comparison: quality against time, the slices, the learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertrec.comparison.report.view import View, figure, not_converged
from bertrec.pages.blocks import Json
from bertrec.pages.charts import FAMILY_NAMES, HATCHES, LABEL_SIZE, LIGHT, MARKERS, family, new_figure, panel_grid, time_axis
from bertrec.pages.wording import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A model that only counts is done in no time; a logarithmic axis needs some.
_SHORTEST = 0.1


@dataclass(frozen=True)
class Line:
    """One training run: whether its settings are those that the model ended with, elapsed seconds above 0, validation figures."""

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


def _line(curve: Json, chosen: bool) -> Line:
    points = [p for p in curve.get("points") or [] if p.get("metric") is not None and (p.get("seconds") or 0) > 0]
    return Line(chosen, [float(p["seconds"]) for p in points], [float(p["metric"]) for p in points])


def with_curves(view: View) -> list[tuple[Json, list[Line]]]:
    """Return the models that have a learning curve, ranked ones first."""
    found = [(model, lines(model)) for model in [*view.ranked, *view.unranked]]
    return [(model, own) for model, own in found if own]


def timed(view: View) -> list[Json]:
    """Return the ranked models whose training time is known."""
    return [model for model in view.ranked if model.get("fit_seconds") is not None]


def quality_time(view: View) -> Figure:
    """Draw the primary metric against training time, the models' names in the order of their figures beside the plot."""
    models = timed(view)
    drawn = new_figure(max(5.2, 0.24 * len(models) + 1))
    axes = drawn.subplots()
    for kind, name in FAMILY_NAMES.items():
        points = [_point(model, view.primary) for model in models if family(model) == kind]
        if points:
            style = {"color": LIGHT[f"family-{kind}"], "ecolor": LIGHT["quiet"], "elinewidth": 0.7, "capsize": 2, "zorder": 3}
            x, y, *errors = zip(*points, strict=True)
            axes.errorbar(x, y, yerr=errors, fmt=MARKERS[kind], markersize=7, label=name, **style)
    for place, model in enumerate(models):
        _name_beside(axes, model, _point(model, view.primary)[:2], 1 - (place + 0.5) / len(models))
    time_axis(axes, most=9)
    axes.set_xlabel("training time, all seeds and the search")
    axes.set_ylabel(shortened(view.primary))
    drawn.legend(loc="outside upper center", ncols=3)
    return drawn


def _point(model: Json, metric: str) -> tuple[float, ...]:
    """Return seconds, value, and how far its interval reaches below and above."""
    found = figure(model, metric) or {}
    value = float(found["mean"])
    low, high = found.get("ci95") or (value, value)
    return max(float(model["fit_seconds"]), _SHORTEST), value, max(value - low, 0.0), max(high - value, 0.0)


def _name_beside(axes: Axes, model: Json, point: Sequence[float], height: float) -> None:
    """Write a name right of the plot, at its own height, and join it to its point: names never lie on one another."""
    axes.annotate(
        shortened(str(model["name"])),
        point,
        xytext=(1.02, height),
        textcoords="axes fraction",
        va="center",
        color=LIGHT[f"family-{family(model)}"],
        arrowprops={"arrowstyle": "-", "color": LIGHT["quiet"], "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 4},
    )


def slices(view: View) -> Figure:
    """Draw the primary metric of every model, a panel a slice."""
    drawn, grid = panel_grid(len(view.drawn_slices), columns=3, height=0.2 * len(view.ranked) + 0.7, sharex=True, sharey=True)
    for axes, name in zip(grid, view.drawn_slices, strict=True):
        _bars(axes, view, name)
    grid[0].set_yticks(range(len(view.ranked)), [shortened(str(model["name"])) for model in view.ranked])
    grid[0].set_ylim(len(view.ranked) - 0.4, -0.6)
    drawn.supxlabel(shortened(view.primary))
    return drawn


def _bars(axes: Axes, view: View, part: str) -> None:
    for place, model in enumerate(view.ranked):
        found, kind = figure(model, view.primary, part), family(model)
        if found is not None:
            value = found["mean"]
            low, high = found.get("ci95") or (value, value)
            style = {"ecolor": LIGHT["ink"], "elinewidth": 0.7, "capsize": 1.5}
            errors = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
            axes.barh(place, value, color=LIGHT[f"family-{kind}"], hatch=HATCHES[kind], height=0.72, xerr=errors, error_kw=style)
    axes.set_title(f"{shortened(view.slice_title(part))}, {view.slice_users(part)} users")
    axes.grid(visible=False, axis="y")


def curves(view: View) -> Figure:
    """Draw validation figures against elapsed time, a panel a model, all other models' lines in grey."""
    found = with_curves(view)
    every = [line for _, own in found for line in own]
    drawn, grid = panel_grid(len(found), columns=4, height=1.8, sharex=True, sharey=True)
    for axes, (model, own) in zip(grid, found, strict=True):
        for line in every:
            axes.plot(line.seconds, line.values, color=LIGHT["context"], linewidth=0.7, zorder=1)
        for line in own:
            marker, width = "." if len(line.seconds) == 1 else None, 1.4 if line.chosen else 0.7
            axes.plot(line.seconds, line.values, color=LIGHT[f"family-{family(model)}"], linewidth=width, marker=marker, zorder=2)
        if not_converged(model):
            axes.text(0.98, 0.05, "not converged", transform=axes.transAxes, ha="right", fontsize=LABEL_SIZE - 1)
        axes.set_title(shortened(str(model["name"])))
    time_axis(grid[0], most=3)
    grid[0].set_ylim(bottom=min([0.0, *(value for line in every for value in line.values)]))
    drawn.supxlabel("elapsed time")
    drawn.supylabel(f"validation {shortened(view.primary)}")
    return drawn

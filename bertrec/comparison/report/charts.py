"""The charts of a comparison: quality against time, the slices, the learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bertrec.comparison.view import View, figure, not_converged
from bertrec.pages.blocks import Json
from bertrec.pages.charts import FAMILY_NAMES, HATCHES, LABEL_SIZE, LIGHT, MARKERS, family, legend_above, new_figure, panel_grid, time_axis
from bertrec.pages.wording import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A model that only counts is done in no time; a logarithmic axis needs some.
_SHORTEST = 0.1
Line = tuple[bool, list[float], list[float]]


def lines(model: Json) -> list[Line]:
    """Return the runs of a model that have a point to draw, those of the settings that it ended with last (on top).

    Returns:
        For each run whether its settings are those, elapsed seconds above 0, and validation figures.
    """
    curves = model.get("curves") or []
    # A search may train the chosen settings under names of its own: then no curve matches and all count as chosen.
    matched = any(curve.get("settings") == model.get("settings") for curve in curves)
    found = []
    for curve in curves:
        points = [p for p in curve.get("points") or [] if p.get("metric") is not None and (p.get("seconds") or 0) > 0]
        chosen = not matched or curve.get("settings") == model.get("settings")
        found += [(chosen, [float(p["seconds"]) for p in points], [float(p["metric"]) for p in points])] if points else []
    return sorted(found, key=lambda line: line[0])


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
    for place, model in enumerate(models):
        value, below, above = _value(model, view.primary)
        kind, point = family(model), (max(float(model["fit_seconds"]), _SHORTEST), value)
        style: dict[str, Any] = {"color": LIGHT[f"family-{kind}"], "ecolor": LIGHT["quiet"], "elinewidth": 0.7, "capsize": 2, "zorder": 3}
        axes.errorbar(*point, yerr=[[below], [above]], fmt=MARKERS[kind], markersize=7, label=FAMILY_NAMES[kind], **style)
        # Each name at a height of its own right of the plot, joined to its point: names never lie on one another.
        line = {"arrowstyle": "-", "color": LIGHT["quiet"], "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 4}
        beside: dict[str, Any] = {
            "xytext": (1.02, 1 - (place + 0.5) / len(models)),
            "textcoords": "axes fraction",
            "va": "center",
            "arrowprops": line,
        }
        axes.annotate(shortened(str(model["name"])), point, color=LIGHT[f"family-{kind}"], **beside)
    time_axis(axes, most=9)
    axes.set(xlabel="training time, all seeds and the search", ylabel=shortened(view.primary))
    legend_above(drawn)
    return drawn


def _value(model: Json, metric: str, part: str = "all") -> tuple[float, float, float]:
    """Return a figure and how far its interval reaches below and above; no figure is nan."""
    found = figure(model, metric, part) or {"mean": float("nan")}
    value = float(found["mean"])
    low, high = found.get("ci95") or (value, value)
    return value, max(value - low, 0.0), max(high - value, 0.0)


def slices(view: View) -> Figure:
    """Draw the primary metric of every model, a panel per slice that has figures."""
    parts = [name for name in view.slices if any(figure(model, view.primary, name) for model in view.ranked)]
    drawn, grid = panel_grid(len(parts), columns=3, height=0.2 * len(view.ranked) + 0.7, sharex=True, sharey=True)
    for axes, part in zip(grid, parts, strict=True):
        for place, model in enumerate(view.ranked):
            (value, below, above), kind = _value(model, view.primary, part), family(model)
            errors: dict[str, Any] = {"xerr": [[below], [above]], "error_kw": {"ecolor": LIGHT["ink"], "elinewidth": 0.7, "capsize": 1.5}}
            axes.barh(place, value, color=LIGHT[f"family-{kind}"], hatch=HATCHES[kind], height=0.72, **errors)
        if not any(_value(model, view.primary, part)[0] for model in view.ranked):
            axes.text(0.5, 0.5, "all figures are 0", transform=axes.transAxes, ha="center")
        axes.set_title(f"{shortened(view.slice_title(part))}, {view.slice_users(part)} users")
        axes.grid(visible=False, axis="y")
    grid[0].set_yticks(range(len(view.ranked)), [shortened(str(model["name"])) for model in view.ranked])
    grid[0].set_ylim(len(view.ranked) - 0.4, -0.6)
    drawn.supxlabel(shortened(view.primary))
    return drawn


def curves(view: View) -> Figure:
    """Draw validation figures against elapsed time, a panel per model, all other models' lines in grey."""
    found = with_curves(view)
    drawn, grid = panel_grid(len(found), columns=4, height=1.8, sharex=True, sharey=True)
    for axes, (model, own) in zip(grid, found, strict=True):
        for _, seconds, values in (line for _, others in found for line in others):
            axes.plot(seconds, values, color=LIGHT["context"], linewidth=0.7, zorder=1)
        for chosen, seconds, values in own:
            style: dict[str, Any] = {"linewidth": 1.4 if chosen else 0.7, "marker": "." if len(seconds) == 1 else None}
            axes.plot(seconds, values, color=LIGHT[f"family-{family(model)}"], zorder=2, **style)
        if not_converged(model):
            axes.text(0.98, 0.05, "not converged", transform=axes.transAxes, ha="right", fontsize=LABEL_SIZE - 1)
        axes.set_title(shortened(str(model["name"])))
    time_axis(grid[0], most=3)
    grid[0].set_ylim(bottom=min(0.0, grid[0].dataLim.ymin))
    drawn.supxlabel("elapsed time")
    drawn.supylabel(f"validation {shortened(view.primary)}")
    return drawn

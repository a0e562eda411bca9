"""The charts of the performance page as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bertrec.pages.charts import LABEL_SIZE, LIGHT, new_figure, svg_bytes, svg_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"hnsw": LIGHT["family-text"], "ivfpq": LIGHT["family-id"], "flat": LIGHT["family-other"]}
_NAMES = {"around-items": "around trained item vectors", "gaussian": "Gaussian"}


def draw_ratios(records: Sequence[dict[str, Any]]) -> bytes:
    """Draw each case's ratio with its interval, and its goal."""
    shown = [record for record in records if "ratio" in record]
    with svg_style():
        figure = new_figure(0.24 * len(shown) + 0.9)
        axes = figure.subplots()
        for place, record in enumerate(shown):
            ratio = record["ratio"]
            axes.plot([ratio["low"], ratio["high"]], [place, place], color=LIGHT["quiet"], linewidth=1.2, zorder=2)
            at_least = record["theirs"]["figures"].get("lower_bound")  # the other side was cut short: an arrow to the right
            axes.plot(ratio["median"], place, ">" if at_least else "o", color=LIGHT["family-text"], markersize=5, zorder=3)
            if record["goal"] is not None:
                axes.plot(record["goal"], place, "|", color=LIGHT["family-id"], markersize=11, markeredgewidth=2, zorder=4)
        axes.axvline(1, color=LIGHT["quiet"], linewidth=0.8)
        axes.set_xscale("log")
        ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if _within(tick, shown)]
        axes.set_xticks(ticks, [f"{tick:g} ×" for tick in ticks])
        axes.minorticks_off()
        axes.set_yticks(range(len(shown)), [record["case"] for record in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlabel("times as fast as the other side: median and interval of the rounds (arrow: at least); bar: goal")
        return svg_bytes(figure)


def _within(tick: float, records: Sequence[dict[str, Any]]) -> bool:
    values = [value for record in records for value in (record["ratio"]["low"], record["ratio"]["high"], record["goal"] or 1)]
    return 0.5 * min(values, default=1) <= tick <= 2 * max(values, default=1)


_TIMES = (1, 3, 10, 20, 50, 100, 200, 500, 1000)


def draw_index_curves(points: Sequence[dict[str, Any]]) -> bytes:
    """Draw recall against the speed in flat searches, one panel for each set of vectors and number of threads."""
    panels = sorted({(point["data"], point["threads"]) for point in points})
    with svg_style():
        figure = new_figure(3.2 * -(-len(panels) // 2) + 0.3)
        grid = figure.subplots(-(-len(panels) // 2), min(2, len(panels)), sharex=True, sharey=True, squeeze=False).ravel()
        for axes, (data, threads) in zip(grid, panels, strict=False):
            own = [point for point in points if (point["data"], point["threads"]) == (data, threads)]
            _curves(axes, own)
            axes.set_title(f"{_NAMES.get(data, data)}, {threads} thread{'s' if threads > 1 else ''}", fontsize=LABEL_SIZE, loc="left")
        grid[0].legend(loc="lower left")
        figure.supxlabel("recall@10", fontsize=LABEL_SIZE)
        figure.supylabel("speed, times FAISS's flat index", fontsize=LABEL_SIZE)
        return svg_bytes(figure)


def _curves(axes: Axes, points: Sequence[dict[str, Any]]) -> None:
    for kind in ("hnsw", "ivfpq"):
        factors = sorted({point.get("refine_factor", 0) for point in points if point["kind"] == kind})
        for factor, style in zip(factors, ("-", "--", ":"), strict=False):
            line = sorted((p["recall"], p["times_flat"]) for p in points if p["kind"] == kind and p.get("refine_factor", 0) == factor)
            label = "HNSW" if kind == "hnsw" else f"IVF-PQ, refined {factor} ×"
            axes.plot([x for x, _ in line], [y for _, y in line], style, marker=".", color=_COLOURS[kind], linewidth=1, label=label)
    scan = [point for point in points if point["kind"] == "scan"]
    axes.plot([p["recall"] for p in scan], [p["times_flat"] for p in scan], "s", color=LIGHT["quiet"], markersize=4, label="bertrec, exact")
    axes.axhline(20, color=LIGHT["quiet"], linewidth=0.8)
    axes.axvline(0.95, color=LIGHT["quiet"], linewidth=0.8)
    axes.set_yscale("log")
    axes.set_yticks(_TIMES, [f"{times:,}" for times in _TIMES])
    axes.set_yticks([], minor=True)
    axes.set_ylim(0.7 * min([20, *(p["times_flat"] for p in scan)]), 1.5 * max(p["times_flat"] for p in points))


def draw_scaling(series: Sequence[dict[str, Any]]) -> bytes:
    """Draw seconds against size, one panel per series."""
    columns = 3
    with svg_style():
        figure = new_figure(2.1 * -(-len(series) // columns) + 0.3)
        grid = figure.subplots(-(-len(series) // columns), columns, squeeze=False).ravel()
        for axes, one in zip(grid, series, strict=False):
            axes.plot([p["size"] for p in one["points"]], [p["seconds"] for p in one["points"]], "o-", color=_COLOURS["hnsw"], markersize=4)
            axes.set_xscale("log")
            axes.set_yscale("log")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(lambda value, _: _short(value))
                axis.set_minor_formatter("")
            found = one["exponents"].get("seconds")
            slope = f", exponent {found['exponent']:.2f}" if found else ""
            axes.set_title(f"{one['series']}{slope}", fontsize=LABEL_SIZE - 1, loc="left")
            axes.set_xlabel(one["unit"], fontsize=LABEL_SIZE - 1)
        for axes in grid[len(series) :]:
            axes.set_visible(False)
        figure.supylabel("seconds", fontsize=LABEL_SIZE)
        return svg_bytes(figure)


def _short(value: float) -> str:
    """Write a number as ``1M``, ``30k`` or as it is."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"

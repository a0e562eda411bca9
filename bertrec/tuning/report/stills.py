"""Still pictures for print and for readers without scripts: the page's own figures, drawn once more by matplotlib.

Only what the charts of a study are made of is understood: lines, markers, bars, numeric axes with ticks, a legend and plain labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import unescape
from typing import TYPE_CHECKING, Any, Literal

from bertrec.pages.drawing import Figure, Panel
from bertrec.pages.palette import LIGHT
from bertrec.pages.svg_style import LABEL_SIZE, new_figure, svg_bytes, svg_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "x": "x"}
_DASHES = {"solid": "-", "dot": ":", "dash": "--"}
_HATCHES = {"": "", "/": "////", "x": "xxx"}
# Inches a pixel of the page, at three panels a row and at one.
_SCALE = 0.0105
_COLUMNS = 3


def still_charts(drawn: Mapping[str, Sequence[Panel]]) -> dict[str, bytes]:
    """Return each chart as SVG, by name; charts without panels are left out.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with svg_style():
        return {name: _chart(panels) for name, panels in drawn.items() if panels}


def _chart(panels: Sequence[Panel]) -> bytes:
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    height = max(panel.figure["layout"]["height"] for panel in panels) * _SCALE
    whole = new_figure(rows * (height + (0.25 if panels[0].title else 0.0)))
    grid = whole.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _panel(axes, panel, dense=columns > 1)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    return svg_bytes(whole)


def _panel(axes: Axes, panel: Panel, *, dense: bool) -> None:
    layout = panel.figure["layout"]
    # Scales first: a logarithmic axis drawn over later would move what stands on it.
    _axis(axes, "x", layout["xaxis"], dense=dense)
    _axis(axes, "y", layout["yaxis"], dense=dense)
    for order, trace in enumerate(panel.figure["data"]):
        (_bars if trace["type"] == "bar" else _scatter)(axes, trace, order + 2)
    for label in _widest(panel.figure):
        _label(axes, label)
    if panel.title:
        axes.set_title(panel.title, fontsize=LABEL_SIZE, loc="left")
    if layout.get("showlegend"):
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def _axis(axes: Axes, side: Literal["x", "y"], found: Figure, *, dense: bool) -> None:
    ends = found["range"]
    log = found.get("type") == "log"
    getattr(axes, f"set_{side}scale")("log" if log else "linear")
    getattr(axes, f"set_{side}lim")(*(10.0**end for end in ends) if log else ends)
    if found.get("visible", True) and "tickvals" in found:
        texts = [unescape(text) for text in found["ticktext"]]
        slant = {"rotation": 30, "ha": "right"} if side == "x" and dense and sum(map(len, texts)) > 32 else {}
        getattr(axes, f"set_{side}ticks")(found["tickvals"], texts, fontsize=LABEL_SIZE - 1 if dense else LABEL_SIZE, **slant)
        axes.tick_params(axis=side, which="minor", length=0, labelsize=0)
        getattr(axes, f"{side}axis").minorticks_off()
    else:
        getattr(axes, f"set_{side}ticks")([])
    axes.grid(visible=found.get("showgrid", True) and found.get("visible", True), axis=side)
    getattr(axes, f"set_{side}label")(unescape((found.get("title") or {}).get("text", "")))


def _scatter(axes: Axes, trace: Figure, order: int) -> None:
    style: dict[str, Any] = {"linestyle": "none", "zorder": order}
    if "lines" in trace["mode"]:
        line = trace["line"]
        style |= {"linestyle": _DASHES[line["dash"]], "linewidth": line["width"] * 0.75, "color": _colour(line["color"])}
    if "markers" in trace["mode"]:
        marker = trace["marker"]
        symbol = _MARKERS[marker.get("symbol", "circle")]
        # A cross has no face: its edge is what is seen.
        edge = {} if symbol == "x" else {"markeredgecolor": LIGHT["paper"], "markeredgewidth": 0.5}
        style |= {"marker": symbol, "markersize": marker["size"] * 0.75, "color": _colour(marker["color"])} | edge
    axes.plot(_numbers(trace["x"]), _numbers(trace["y"]), label=_legend_name(trace), **style)


def _bars(axes: Axes, trace: Figure, order: int) -> None:
    marker = trace["marker"]
    hatch = _HATCHES[(marker.get("pattern") or {}).get("shape", "")]
    style: dict[str, Any] = {"color": _colour(marker["color"]), "hatch": hatch, "zorder": order, "label": _legend_name(trace)}
    if trace.get("orientation") != "h":
        axes.bar(trace["x"], trace["y"], width=0.8, **style)
        return
    drawn = axes.barh(trace["y"], trace["x"], height=0.72, **style)
    axes.bar_label(drawn, labels=trace.get("text", [""] * len(trace["x"])), padding=3)


def _label(axes: Axes, label: Figure) -> None:
    axes.annotate(
        unescape(label["text"]),
        (label["x"], label["y"]),
        (0, label["yshift"] - 1),
        textcoords="offset points",
        ha=label["xanchor"],
        va=label["yanchor"],
        fontsize=LABEL_SIZE - 2,
        color=_colour(label["font"]["color"]),
        annotation_clip=False,
        bbox={"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 0.5},
    )


def _widest(figure: Figure) -> list[Figure]:
    labels = figure.get("labels") or {}
    return list(labels[max(labels, key=int)]) if labels else []


def _legend_name(trace: Figure) -> str:
    shown = trace.get("showlegend", True) and trace.get("name")
    # Matplotlib leaves names that begin with an underscore out of the legend.
    return unescape(str(trace["name"])) if shown else "_"


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


def _colour(variable: str) -> str:
    found = re.fullmatch(r"var\(--([\w-]+)\)", variable)
    return LIGHT[found[1]] if found else variable

"""How every chart looks and how it becomes SVG: the same drawing gives the same bytes on every machine."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from bertrec.core.errors import MissingExtraError
from bertrec.pages.blocks import Json
from bertrec.pages.wording import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that stay apart for colour-blind readers (Okabe and Ito 2008), on light and on dark ground. Charts are drawn in the light ones;
# in a page each is a CSS variable of its name, so no two names share a light colour.
LIGHT = {
    "paper": "#ffffff",
    "raised": "#f6f7f8",
    "ink": "#1b1f24",
    "quiet": "#57606a",
    "rule": "#d5d9de",
    "family-text": "#0072b2",
    "family-id": "#d55e00",
    "family-other": "#6e7781",
    "context": "#c9ced5",
    "link": "#0a5c8f",
    "bad": "#a4133c",
}
DARK = {
    "paper": "#14171a",
    "raised": "#1e2226",
    "ink": "#e8eaed",
    "quiet": "#a4abb3",
    "rule": "#3a4047",
    "family-text": "#56b4e9",
    "family-id": "#e69f00",
    "family-other": "#a4abb3",
    "context": "#4d565e",
    "link": "#7cc4ef",
    "bad": "#ff8fa3",
}
# Colour never stands alone: each family has a shape and a fill of its own.
FAMILY_NAMES = {"text": "text models", "id": "ID models", "other": "other models"}
MARKERS = {"text": "o", "id": "D", "other": "s"}
HATCHES = {"text": "", "id": "////", "other": "xxx"}
# Inches and points; a page as wide as the figure shows both as they are.
WIDTH = 11.0
LABEL_SIZE = 9.5
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bertrec",
    "figure.dpi": 72,
    "font.size": LABEL_SIZE,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    # A model's name may hold a dollar sign; it is never a formula.
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LIGHT["quiet"],
    "axes.labelcolor": LIGHT["ink"],
    "axes.titlesize": LABEL_SIZE,
    "axes.titlelocation": "left",
    "axes.labelsize": LABEL_SIZE,
    "axes.formatter.useoffset": False,
    "figure.labelsize": LABEL_SIZE,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["quiet"],
    "ytick.color": LIGHT["quiet"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.6,
    "hatch.color": LIGHT["paper"],
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
}
_TIMES = (0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10_800, 36_000, 108_000, 360_000)
_VARIABLES = {colour: f"var(--{name})" for name, colour in LIGHT.items()}
_COLOUR = re.compile("|".join(_VARIABLES))
# Where an attribute refers to an id.
_REFERENCE = re.compile(r"(^#|url\(#)")
_BEYOND_TENTHS = re.compile(r"(?<=\.\d)\d+")


def family(model: Json) -> str:
    """Return the family that a model is drawn as."""
    return str(model.get("family")) if model.get("family") in ("text", "id") else "other"


@contextmanager
def svg_style() -> Iterator[None]:
    """Draw within this block.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("matplotlib", "report") from error
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in a script that our font lacks is written as text all the same: the reader's font shows it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()  # a reader's own matplotlibrc must not change the bytes
        matplotlib.rcParams.update(_STYLE)
        yield


def drawn(charts: Mapping[str, Callable[[], Figure]]) -> dict[str, str]:
    """Return each chart as SVG, by name.

    Raises:
        MissingExtraError: there is a chart and matplotlib is not installed.
    """
    if not charts:
        return {}
    with svg_style():
        return {name: svg_bytes(draw()).decode() for name, draw in charts.items()}


def svg_bytes(figure: Figure) -> bytes:
    """Return a figure as SVG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None}, facecolor=LIGHT["paper"])
    return stream.getvalue()


def inline_svg(svg: str, name: str) -> str:
    """Return an SVG as an element of a page: its colours are CSS variables, its ids begin with ``name``, its style is the page's."""
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(svg)
    for part in [*root.findall("{*}metadata"), root.find("{*}defs")]:
        if part is not None:
            root.remove(part)
    root.attrib = {"viewBox": root.attrib["viewBox"]}
    for element in root.iter():
        element.tail = None
        element.text = (element.text or "").strip() or None
        if element.tag.endswith("}g"):
            element.attrib.pop("id", None)  # nothing refers to it
        for key, value in element.items():
            element.set(key, f"{name}-{value}" if key == "id" else _attribute(key, value, name))
    for group in root.iterfind(".//{*}g"):
        marks = group.findall("{*}use")
        if len({mark.get("style") for mark in marks}) == 1:
            # Thousands of marks that look alike say so once.
            group.set("style", marks[0].attrib["style"])
            for mark in marks:
                del mark.attrib["style"]
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(key: str, value: str, name: str) -> str:
    if key in ("d", "x", "y"):
        return _BEYOND_TENTHS.sub("", value).replace("\n", "")
    return _REFERENCE.sub(rf"\g<1>{name}-", _COLOUR.sub(lambda found: _VARIABLES[found[0]], value))


def new_figure(height: float) -> Figure:
    """Return an empty figure of the page's width that is ``height`` inches high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def panel_grid(count: int, *, columns: int, height: float, **shared: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``count`` panels in rows of at most ``columns``, each ``height`` inches high, and the panels."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(rows * height + 0.5)
    grid = list(figure.subplots(rows, columns, squeeze=False, **shared).ravel())
    for axes in grid[count:]:
        axes.set_visible(False)
    for axes in grid[count - columns : count]:
        axes.tick_params(labelbottom=True)  # also above an empty place in the last row
    return figure, grid[:count]


def time_axis(axes: Axes, *, most: int) -> None:
    """Make x, with all its data drawn, a logarithmic axis of seconds with at most ``most`` ticks, at times that people say."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [tick for tick in _TIMES if low <= tick <= high] or [(low * high) ** 0.5]
    ticks = ticks[:: -(-len(ticks) // most)]
    axes.set_xticks(ticks, [duration(tick).replace(".0 ", " ") for tick in ticks])
    axes.minorticks_off()

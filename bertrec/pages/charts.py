"""How every chart looks and how it becomes SVG: the same drawing gives the same bytes on every machine."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from bertrec.core.errors import MissingExtraError
from bertrec.pages.blocks import Json
from bertrec.pages.wording import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours on light and on dark ground that stay apart for colour-blind readers (Okabe and Ito 2008). Charts are drawn in the light ones;
# in a page each is a CSS variable of its name, so no two names share a light colour.
_COLOURS = {
    "paper": ("#ffffff", "#14171a"),
    "raised": ("#f6f7f8", "#1e2226"),
    "ink": ("#1b1f24", "#e8eaed"),
    "quiet": ("#57606a", "#a4abb3"),
    "rule": ("#d5d9de", "#3a4047"),
    "family-text": ("#0072b2", "#56b4e9"),
    "family-id": ("#d55e00", "#e69f00"),
    "family-other": ("#6e7781", "#a4abb3"),
    "context": ("#c9ced5", "#4d565e"),
    "link": ("#0a5c8f", "#7cc4ef"),
    "bad": ("#a4133c", "#ff8fa3"),
}
LIGHT = {name: light for name, (light, _) in _COLOURS.items()}
DARK = {name: dark for name, (_, dark) in _COLOURS.items()}
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
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a model's name may hold a dollar sign; it is never a formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.8,
    "legend.frameon": False,
    **dict.fromkeys(("axes.titlesize", "axes.labelsize", "figure.labelsize"), LABEL_SIZE),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), LIGHT["quiet"]),
    **dict.fromkeys(("axes.labelcolor", "text.color"), LIGHT["ink"]),
    **{"grid.color": LIGHT["rule"], "hatch.color": LIGHT["paper"]},
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
    """Draw within this block; without matplotlib it is a `MissingExtraError`."""
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
    for part in [part for part in root if not part.tag.endswith("}g")][:2]:  # who made it, and a style for all elements
        root.remove(part)
    root.attrib = {"viewBox": root.attrib["viewBox"]}
    for element in root.iter():
        element.text, element.tail = (element.text or "").strip(), None
        marks = element.findall("{*}use")
        styles = {mark.get("style", "") for mark in marks}
        if len(styles) == 1:  # thousands of marks that look alike say so once
            element.set("style", styles.pop())
            for mark in marks:
                mark.attrib.pop("style", None)
        for key, value in element.items():
            element.set(key, _attribute(key, value, name))
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
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


def legend_above(figure: Figure) -> None:
    """Write one legend above all panels: each name once."""
    named = {name: mark for axes in figure.axes for mark, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(named.values()), list(named), loc="outside upper center", ncols=7)


def time_axis(axes: Axes, *, most: int) -> None:
    """Make x, with all its data drawn, a logarithmic axis of seconds with at most ``most`` ticks, at times that people say."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    ticks = [tick for tick in _TIMES if low <= tick <= high] or [(low * high) ** 0.5]
    ticks = ticks[:: -(-len(ticks) // most)]
    axes.set_xticks(ticks, [duration(tick).replace(".0 ", " ") for tick in ticks])
    axes.minorticks_off()

"""How still charts look and how they become bytes: the same drawing gives the same bytes on every machine."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bertrec.core.errors import MissingExtraError
from bertrec.pages.palette import LIGHT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 8.0
LABEL_SIZE = 9.0
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bertrec",
    "figure.dpi": 72,
    "font.size": LABEL_SIZE,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    # A model's name may hold a dollar sign; it is never a formula.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LIGHT["quiet"],
    "axes.labelcolor": LIGHT["ink"],
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


def svg_bytes(drawn: Figure) -> bytes:
    """Return a figure as SVG."""
    stream = io.BytesIO()
    drawn.savefig(stream, format="svg", metadata={"Date": None}, facecolor=LIGHT["paper"])
    return stream.getvalue()


def new_figure(height: float, *, constrained: bool = True) -> Figure:
    """Return an empty figure of the page's width that is ``height`` inches high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained" if constrained else None)

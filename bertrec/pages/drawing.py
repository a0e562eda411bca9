"""What every chart of a page is made of: a panel, and a layout whose colours follow the reader's scheme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FONT_SIZE = 12
# Labels are placed for some widths of the chart; the page takes the widest that fits its own.
LABEL_WIDTHS = (280, 340, 420, 540, 700, 900, 1080)

Figure = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One drawing: a title above it, what it says in words, and the figure.

    ``figure`` is ``{"data", "layout"}``; ``labels`` (annotations by width) and ``context`` (draw the grey lines first) are the page's own.
    """

    title: str
    description: str
    figure: Figure


def base_layout(height: float, margin: dict[str, Any]) -> Figure:
    """Return a layout of plotly.js that is ``height`` pixels high, without data, titles or ranges."""
    # Zooming is off: on a phone a drag must scroll the page, and every figure stands in a table.
    axis = {"gridcolor": "var(--rule)", "linecolor": "var(--quiet)", "tickcolor": "var(--quiet)", "zeroline": False, "fixedrange": True}
    return {
        "height": height,
        "margin": margin,
        "font": {"family": "system-ui, sans-serif", "size": FONT_SIZE, "color": "var(--ink)"},
        "paper_bgcolor": "var(--paper)",
        "plot_bgcolor": "var(--paper)",
        "showlegend": False,
        "dragmode": False,
        "hoverlabel": {"bgcolor": "var(--raised)", "bordercolor": "var(--rule)", "font": {"color": "var(--ink)"}},
        "xaxis": dict(axis),
        "yaxis": dict(axis),
    }

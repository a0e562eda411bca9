"""Numbers, settings and states as the reader sees them; one way of writing each, whatever the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bertrec.pages.blocks import Cell, Json, Table, label

ABSENT = "–"
_REASON_LENGTH = 300


def number(value: float | None, decimals: int = 4) -> str:
    """Write a number with fixed decimals, or a dash where there is none."""
    return ABSENT if value is None else f"{value:.{decimals}f}"


def number_cell(value: float | None, decimals: int = 4, ci95: Sequence[float] | None = None) -> Cell:
    """Return a cell of a `number`, its interval below."""
    return Cell(number(value, decimals), value, interval(ci95))


def signed(value: float | None) -> str:
    """Write a difference with its sign, four decimals."""
    return ABSENT if value is None else f"{value:+.4f}".replace("-", "−")


def figure_text(value: float | None) -> str:
    """Write a figure of any size with four decimals; a smaller one with two digits, a larger one with six."""
    if value is None or value == 0 or 0.001 <= abs(value) < 100:
        return number(value)
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.6g}"


def interval(ci95: Sequence[float] | None) -> str:
    """Write a confidence interval, or nothing where there is none."""
    return "" if not ci95 else f"[{ci95[0]:.4f}, {ci95[1]:.4f}]".replace("-", "−")


def difference_cell(difference: float | None, ci95: Sequence[float] | None = None) -> Cell:
    """Return a cell of a `signed` difference, its interval below."""
    return Cell(signed(difference), difference, interval(ci95))


def figure_cell(figure: Json | None, seeds: int, *, mark: str = "") -> Cell:
    """Return ``mean ± sd`` where there were several seeds, else the mean, with a mark, and its interval below."""
    if not figure or figure.get("mean") is None:
        return Cell(ABSENT)
    spread = figure.get("sd")
    text = number(figure["mean"]) + (f" ± {spread:.4f}" if spread is not None and seeds > 1 else "")
    return Cell(f"{text} {mark}".strip(), float(figure["mean"]), interval(figure.get("ci95")))


def p_value(p: float | None) -> str:
    """Write a p value with three decimals; below 0.001 it says so."""
    return "< 0.001" if p is not None and p < 0.001 else number(p, 3)


def p_cell(p: float | None) -> Cell:
    """Return a cell of a `p_value`."""
    return Cell(p_value(p), p)


def duration(seconds: float | None) -> str:
    """Write a time as a reader says it."""
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def one_line(text: str) -> str:
    """Write a reason on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _REASON_LENGTH else line[: _REASON_LENGTH - 1] + "…"


def shortened(name: str, length: int = 26) -> str:
    """Cut the middle of a name that a chart has no room for, and what cannot be drawn; the tables hold it whole."""
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    tail = (length - 1) // 2
    return name if len(name) <= length else f"{name[: length - 1 - tail]}…{name[-tail:]}"


def counted(count: int, noun: str) -> str:
    """Write a number of things."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str]) -> str:
    """List names, the last after ``and``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def setting_text(value: Any) -> str:
    """Write the value of a setting as a YAML file would hold it."""
    if isinstance(value, str):
        return value
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, default=str, ensure_ascii=False)


def setting_cell(value: Any) -> Cell:
    """Return a cell of a setting: numbers sort as such, those that are not finite last."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Cell(setting_text(value), value if math.isfinite(value) else None)
    return label(setting_text(value))


def settings_text(values: Mapping[str, Any] | None, none: str = "the defaults") -> str:
    """Write settings as ``name = value``, comma-separated; ``none`` where there are none."""
    return ", ".join(f"{name} = {setting_text(value)}" for name, value in (values or {}).items()) or none


def plain(value: Any) -> str:
    """Write a JSON value without quotes or braces."""
    if value is None or isinstance(value, bool):
        return {None: ABSENT, True: "yes", False: "no"}[value]
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {plain(part)}" for name, part in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(part) for part in value) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def flattened(values: Json, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one of dotted names; an empty mapping stays a value."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping) and value
        found |= flattened(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return found


def values_table(caption: str, values: Any) -> Table:
    """Return a table of nested values by their dotted names; a value that is no mapping stands under the caption."""
    found = values if isinstance(values, Mapping) else {caption.lower(): values}
    return Table(caption, ["name", "value"], [[name, plain(value)] for name, value in flattened(found).items()], sortable=False)


def values_tables(caption: str, values: Json, apart: Mapping[str, str]) -> list[Table]:
    """Return a table of nested values, and those that ``apart`` names (with their captions) in tables of their own."""
    parts: dict[str, Any] = {caption: {name: value for name, value in values.items() if name not in apart}}
    parts |= {title: values.get(name) for name, title in apart.items()}
    return [values_table(title, part) for title, part in parts.items() if part]

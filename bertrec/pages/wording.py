"""Numbers, settings and states as the reader sees them; one way of writing each, whatever the file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bertrec.pages.blocks import Cell, Json, Row, Table

ABSENT = "–"
NO_DIFFERENCE = "no difference shown"
_REASON_LENGTH = 300


def number(value: float | None, decimals: int = 4) -> str:
    """Write a number with fixed decimals, or a dash where there is none."""
    return ABSENT if value is None else f"{value:.{decimals}f}"


def number_cell(value: float | None, decimals: int = 4, *, below: str = "") -> Cell:
    """Return a cell of a `number`."""
    return Cell(number(value, decimals), value, below)


def signed(value: float | None) -> str:
    """Write a difference with its sign, four decimals.

    >>> signed(0.0123)
    '+0.0123'
    """
    return ABSENT if value is None else f"{value:+.4f}".replace("-", "−")


def figure_text(value: float | None) -> str:
    """Write a figure of any size with four decimals; a smaller one with two digits, a larger one with six.

    >>> [figure_text(x) for x in (0.12345, 1250.0, 0.00012345, None)]
    ['0.1235', '1250', '0.00012', '–']
    """
    if value is None or value == 0 or 0.001 <= abs(value) < 100:
        return number(value)
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.6g}"


def interval(ci95: Sequence[float] | None) -> str:
    """Write a confidence interval, or nothing where there is none.

    >>> interval([0.09, 0.11])
    '[0.0900, 0.1100]'
    """
    return "" if not ci95 else f"[{ci95[0]:.4f}, {ci95[1]:.4f}]".replace("-", "−")


def figure_cell(figure: Json | None, seeds: int, *, mark: str = "") -> Cell:
    """Return ``mean ± sd`` where there were several seeds, else the mean, with a mark, and its interval below.

    >>> figure_cell({"mean": 0.1, "sd": 0.002}, 3, mark="▲").text
    '0.1000 ± 0.0020 ▲'
    """
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
    """Write a time as a reader says it.

    >>> [duration(s) for s in (0.25, 42.0, 95.0, 5400.0)]
    ['0.2 s', '42 s', '1.6 min', '1.5 h']
    """
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
    """Cut the middle of a name that a chart has no room for, and what cannot be drawn; the tables hold it whole.

    >>> shortened("abcdefghij", 5)
    'ab…ij'
    """
    name = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    tail = (length - 1) // 2
    return name if len(name) <= length else f"{name[: length - 1 - tail]}…{name[-tail:]}"


def counted(count: int, noun: str) -> str:
    """Write a number of things.

    >>> [counted(1, "trial"), counted(3, "trial")]
    ['1 trial', '3 trials']
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str]) -> str:
    """List names, the last after ``and``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def setting_text(value: Any) -> str:
    """Write the value of a setting as a YAML file would hold it.

    >>> [setting_text(x) for x in (True, None, 0.0003, "last:2", [1, 2])]
    ['true', 'null', '0.0003', 'last:2', '[1, 2]']
    """
    if isinstance(value, str):
        return value
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, default=str, ensure_ascii=False)


def setting_cell(value: Any) -> Cell:
    """Return a cell of a setting: numbers sort as such, those that are not finite last."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Cell(setting_text(value), value if math.isfinite(value) else None)
    return Cell(setting_text(value), setting_text(value).casefold())


def settings_text(values: Mapping[str, Any] | None, *, none: str) -> str:
    """Write settings as ``name = value``, comma-separated; ``none`` where there are none."""
    return ", ".join(f"{name} = {setting_text(value)}" for name, value in (values or {}).items()) or none


def plain(value: Any) -> str:
    """Write a JSON value without quotes or braces."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {plain(part)}" for name, part in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(part) for part in value) or "none"
    return ABSENT if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def flattened(values: Json, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted name, value)`` of nested mappings; an empty mapping stays a value.

    >>> list(flattened({"split": {"method": "time"}, "ks": [5, 10]}))
    [('split.method', 'time'), ('ks', [5, 10])]
    """
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def values_tables(caption: str, values: Json, apart: Mapping[str, str]) -> list[Table]:
    """Return nested values as a table of dotted names, and those that ``apart`` names (their captions) in tables of their own."""
    parts = {caption: {name: value for name, value in values.items() if name not in apart}}
    parts |= {title: values[name] for name, title in apart.items() if values.get(name)}
    return [values_table(title, part) for title, part in parts.items() if part]


def values_table(caption: str, values: Any) -> Table:
    """Return a table of nested values by their dotted names; a value that is no mapping stands under the caption."""
    found = values if isinstance(values, Mapping) else {caption.lower(): values}
    rows: list[Row] = [[name, plain(value)] for name, value in flattened(found)]
    return Table(caption, ["name", "value"], rows, sortable=False)

"""Nested values as a table of dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bertrec.pages.blocks import Cell, Column, Json, Table
from bertrec.pages.wording import plain


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


def values_table(caption: str, values: Any) -> Table:
    """Return a table of nested values by their dotted names; a value that is no mapping stands under the caption."""
    found = values if isinstance(values, Mapping) else {caption.lower(): values}
    rows = [[Cell(name), Cell(plain(value))] for name, value in flattened(found)]
    return Table(caption, [Column("name"), Column("value")], rows, sortable=False)

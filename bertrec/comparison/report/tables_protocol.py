"""The protocol as a reader needs it: every value of it by its dotted name, then versions and the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bertrec.comparison.report.blocks import Block, Cell, Column, Table, Text
from bertrec.comparison.report.view import Json, View
from bertrec.comparison.report.wording import plain

_APART = {"versions": "Versions", "machine": "Machine"}


def protocol_blocks(view: View) -> list[Block]:
    """Return the protocol, then versions and machine in tables of their own."""
    protocol = {name: value for name, value in view.protocol.items() if name not in _APART}
    if not view.protocol:
        return [Text("No protocol was recorded.")]
    apart = [values_table(title, view.protocol[name]) for name, title in _APART.items() if view.protocol.get(name)]
    return [values_table("What the figures were measured under", protocol), *apart]


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

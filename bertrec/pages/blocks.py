"""What a report is made of, before it is HTML or Markdown: plain text everywhere, escaped by whoever renders it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it says.
        key: what it sorts by; None sorts last either way.
        below: a second, quieter line, such as an interval.
        badge: a class that sets the text as a badge (``text``, ``id``, ``bad``), or nothing.
    """

    text: str
    key: float | str | None = None
    below: str = ""
    badge: str = ""


@dataclass(frozen=True)
class Column:
    """One column; numbers stand flush right and sort from the largest."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first cell of each row names the row.

    Attributes:
        caption: says what it shows; read out by screen readers.
        columns: in order.
        rows: what can be sorted.
        last: rows that stay last; their final cell spans what is left of the row.
        sorted_by: title of the column that ``rows`` come sorted by, from the largest.
        summary: where given, the table is folded away under this line.
        sortable: whether a click on a column's title sorts.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    last: Sequence[Sequence[Cell]] = ()
    sorted_by: str | None = None
    summary: str | None = None
    sortable: bool = True


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A short list."""

    items: Sequence[str]


@dataclass(frozen=True)
class Chart:
    """A chart, by its name in ``charts/``."""

    name: str
    caption: str


Block = Table | Text | Bullets | Chart


@dataclass(frozen=True)
class Section:
    """A titled part of the report; ``anchor`` names it in links."""

    anchor: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)


def label(text: str, *, badge: str = "") -> Cell:
    """Return a cell of text that sorts by itself, whatever its case."""
    return Cell(text, key=text.casefold(), badge=badge)

"""What a report is made of, before it is HTML or Markdown: plain text everywhere, escaped by whoever renders it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """One cell: its text, what it sorts by (None sorts last either way), a quieter line below, and a badge's class or nothing."""

    text: str
    key: float | str | None = None
    below: str = ""
    badge: str = ""


def label(text: str, *, below: str = "", badge: str = "") -> Cell:
    """Return a cell of text that sorts by itself."""
    return Cell(text, text, below, badge)


# Of cells, or of texts that are labels.
Row = Sequence[Any]


@dataclass(frozen=True)
class Table:
    """A table whose first cell of each row names the row.

    Attributes:
        caption: says what it shows; read out by screen readers.
        columns: titles in order.
        rows: what a click on a column's title sorts, where the table is ``sortable``.
        last: rows that stay last; their final cell spans what is left of the row.
        sorted_by: title of the column that ``rows`` come sorted by, from the largest.
        summary: where given, the table is folded away under this line.
        page_only: left out of Markdown, which has no room for it.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    last: Sequence[Row] = ()
    sorted_by: str | None = None
    summary: str | None = None
    sortable: bool = True
    page_only: bool = False

    @cached_property
    def heads(self) -> list[tuple[str, bool]]:
        """Title of each column, and whether it holds numbers: no text to sort by."""
        keys = zip(*([cell.key for cell in self.cells(row)] for row in self.rows), strict=True)
        numeric = [not any(isinstance(key, str) for key in column) for column in keys]
        return list(zip(self.columns, numeric or [False] * len(self.columns), strict=True))

    def cells(self, row: Row) -> list[Cell]:
        """Return a row's cells."""
        return [cell if isinstance(cell, Cell) else label(cell) for cell in row]


@dataclass(frozen=True)
class Chart:
    """A chart: its name in ``charts/``, what it shows in words, and how it is drawn."""

    name: str
    caption: str
    draw: Callable[[], Figure]


# A string is a paragraph and a list of them a list of points; what is empty is left out.
Block = Table | Chart | str | list[str] | None


@dataclass(frozen=True)
class Section:
    """A titled part of the report; ``anchor`` names it in links."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A whole report: title, the verdict in a sentence, when and over what it was found, and the sections."""

    title: str
    verdict: str
    when: str
    sections: Sequence[Section]

    @property
    def shown(self) -> list[tuple[Section, list[Any]]]:
        """Each section that has blocks, and those of its blocks that are not empty."""
        found = [(section, list(filter(None, section.blocks))) for section in self.sections]
        return [(section, blocks) for section, blocks in found if blocks]

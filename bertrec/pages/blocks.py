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
    """Return a cell of text that sorts by itself, whatever its case."""
    return Cell(text, text.casefold(), below, badge)


Row = Sequence[Cell | str]


@dataclass(frozen=True)
class Table:
    """A table whose first cell of each row names the row; a cell that is a string is a `label`.

    Attributes:
        caption: says what it shows; read out by screen readers.
        columns: titles in order; a column without a text to sort by holds numbers, which stand flush right and sort from the largest.
        rows: what can be sorted.
        last: rows that stay last; their final cell spans what is left of the row.
        sorted_by: title of the column that ``rows`` come sorted by, from the largest.
        summary: where given, the table is folded away under this line.
        sortable: whether a click on a column's title sorts.
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
        """Title of each column, and whether it holds numbers."""
        texts = [[isinstance(cell, str) or isinstance(cell.key, str) for cell in row] for row in self.rows]
        return [(title, bool(texts) and not any(row[place] for row in texts)) for place, title in enumerate(self.columns)]

    def cells(self, row: Row) -> list[Cell]:
        """Return a row's cells."""
        return [label(cell) if isinstance(cell, str) else cell for cell in row]


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
    """A titled part of the report; ``anchor`` names it in links. One without blocks is left out."""

    anchor: str
    title: str
    blocks: Sequence[Block]

    @property
    def shown(self) -> list[Block]:
        """The blocks that are not empty."""
        return [block for block in self.blocks if block]


@dataclass(frozen=True)
class Document:
    """A whole report: title, the verdict in a sentence, when and over what it was found, and the sections."""

    title: str
    verdict: str
    when: str
    sections: Sequence[Section]

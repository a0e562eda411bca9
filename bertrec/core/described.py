"""How public objects show themselves: a short line, and in a notebook a small table. Texts of others are shown and never obeyed."""

from __future__ import annotations

import html
import reprlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bertrec.core.shown import visible

PREVIEW_ROWS = 10
SHOWN_METRICS = ("HR@10", "NDCG@10", "MRR@10")
"""The figures that are shown where not all have room."""
_LONGEST = 200  # letters in a cell


class _Short(reprlib.Repr):
    """Values in a line: none of them takes all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 60
        self.maxlist = self.maxtuple = self.maxdict = 6

    def repr_float(self, value: float, level: int) -> str:
        """Return four digits."""
        return f"{value:.4g}"


_SHORT = _Short()


@dataclass(frozen=True)
class Preview:
    """A table below the facts: titles of columns, and rows of values; where ``more`` is above 0, so many rows follow that are not shown."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: int = 0

    @classmethod
    def of(cls, columns: Sequence[str], rows: Iterable[Sequence[Any]], total: int) -> Preview:
        """Take the first rows of ``total``; no further one is made."""
        first = list(islice(rows, PREVIEW_ROWS))
        return cls(columns, first, total - len(first))


class Described:
    """What says of itself in a line what it is; a dataclass of this kind is made with ``repr=False``."""

    def _facts(self) -> Mapping[str, object]:
        """Return what the line says, by name; what is None is left out."""
        return {}

    def _preview(self) -> Preview | None:
        """Return what a notebook shows below the facts."""
        return None

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={_SHORT.repr(value)}" for name, value in self._facts().items() if value is not None)
        return visible(f"{type(self).__name__}({said})")

    def _repr_html_(self) -> str:
        facts = [[name, value] for name, value in self._facts().items() if value is not None]
        preview = self._preview()
        below = "" if preview is None or not preview.rows else _html_table(preview.columns, preview.rows)
        more = f"<p>… and {preview.more:,} more</p>" if preview is not None and preview.more > 0 else ""
        return f"<div><strong>{_cell(type(self).__name__)}</strong>{_html_table((), facts)}{below}{more}</div>"


def shown_metrics(known: Collection[str]) -> list[str]:
    """Return the `SHOWN_METRICS` among ``known``, or its first three where it has none of them."""
    return [name for name in SHOWN_METRICS if name in known] or list(known)[:3]


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = f"<thead>{_html_row('th', columns)}</thead>" if columns else ""
    return f"<table>{head}<tbody>{''.join(_html_row('td', row) for row in rows)}</tbody></table>"


def _html_row(tag: str, values: Iterable[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_cell(value)}</{tag}>' for value in values)}</tr>"


def _cell(value: object) -> str:
    """Return a value as the text of an HTML element: whole numbers with commas, fractions with four digits, texts cut."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "" if value is None else value if isinstance(value, str) else _SHORT.repr(value)
    return html.escape(visible(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"))

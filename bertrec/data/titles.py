"""Find the item that a typed title means, and the titles that hold what was typed so far."""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Self

from bertrec.core.errors import DataError

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog

_SHOWN = 5
_LOOKED_AT = 2_000  # titles that hold a word, of which the best are suggested


class Titles:
    """Titles made ready for many searches.

    Args:
        titles: by position.
        ids: of the same items, to be named where several have one title.
        listed: which of them are not withdrawn, ``[n]``; where a title fits several items, those are meant. None: all.
    """

    def __init__(self, titles: Sequence[str], *, ids: Sequence[str | int] = (), listed: Sequence[bool] | None = None) -> None:
        self.titles, self._ids, self._listed = titles, ids, listed
        self._exact = _positions(titles)
        folded = [_folded(title) for title in titles]
        self._stripped = _positions([title.strip() for title in folded])
        self._text = "\n" + "\n".join(folded) + "\n"  # a title begins and ends at a line break
        self._starts = list(accumulate((len(title) + 1 for title in folded), initial=1))[:-1]

    @classmethod
    def of(cls, catalog: ItemCatalog) -> Self:
        """Return the titles of a catalogue."""
        return cls(catalog.titles, ids=catalog.ids.ids, listed=catalog.listed[1:].tolist())

    def find(self, typed: str, *, near: bool = True) -> int:
        """Return the position of the one title that ``typed`` means.

        Tried in this order, each where it leaves exactly one item: the same text; the same but for case; the only title that begins
        so; the only one that contains it.

        Args:
            typed: in any case.
            near: name the nearest titles where none fits, for which all are compared.

        Raises:
            DataError: no title or several fit; the text names the nearest ones.
        """
        folded = _folded(typed).strip()
        if not folded:
            raise DataError("an empty title names no item")
        for found in self._tried(typed, folded):
            hits = self._meant(found)
            if len(hits) == 1:
                return hits[0]
            if hits:
                ids = [self._ids[hit] for hit in hits[:_SHOWN]] if self._ids else []
                raise DataError(_ambiguous(typed, [self.titles[hit] for hit in hits], ids))
        raise DataError(_unknown(typed, self.titles if near else []))

    def _meant(self, hits: list[int]) -> list[int]:
        """Return those that are not withdrawn, or where there are none all."""
        return hits if self._listed is None else [hit for hit in hits if self._listed[hit]] or hits

    def _tried(self, typed: str, folded: str) -> Iterator[list[int]]:
        yield self._exact.get(typed, [])
        yield self._stripped.get(folded, [])
        yield list(self._holding("\n" + folded))
        yield list(self._holding(folded))

    def _holding(self, text: str) -> Iterator[int]:
        """Yield the positions of the titles that hold a text; one that starts with a line break is looked for where titles begin."""
        place = self._text.find(text)
        while place >= 0:
            row = bisect_right(self._starts, place + text.startswith("\n")) - 1
            yield row
            # From the line break before the next title on.
            place = self._text.find(text, self._starts[row + 1] - 1) if row + 1 < len(self._starts) else -1

    def suggest(self, typed: str, k: int) -> list[int]:
        """Return the positions of at most ``k`` titles that hold all words typed so far, best those that begin with them."""
        words = _folded(typed).split()
        if not words:
            return []
        whole, longest = " ".join(words), max(words, key=len)
        first = list(islice(self._holding("\n" + whole), _LOOKED_AT))
        held = islice(self._holding(longest), _LOOKED_AT)
        found = dict.fromkeys([*first, *(row for row in held if all(word in self._line(row) for word in words))])
        return sorted(found, key=lambda row: _fit(self._line(row), whole, words))[:k]

    def _line(self, row: int) -> str:
        stop = self._starts[row + 1] - 1 if row + 1 < len(self._starts) else len(self._text) - 1
        return self._text[self._starts[row] : stop]


def _folded(text: str) -> str:
    return text.casefold().replace("\n", " ")


def _positions(texts: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for position, text in enumerate(texts):
        found.setdefault(text, []).append(position)
    return found


def _fit(line: str, whole: str, words: Sequence[str]) -> tuple[bool, bool, int]:
    begun = all(f" {word}" in f" {line}" for word in words)
    return not line.startswith(whole), not begun, len(line)


def _ambiguous(typed: str, found: Sequence[str], ids: Sequence[str | int]) -> str:
    distinct = list(dict.fromkeys(found))
    if len(distinct) == 1:
        named = f", such as {' or '.join(map(str, ids))}" if ids else ""
        return f"{len(found)} items have the title '{typed}': name the item by its id{named}"
    more = f" and {len(distinct) - _SHOWN} more" if len(distinct) > _SHOWN else ""
    return f"the title '{typed}' fits {len(found)} items: {'; '.join(distinct[:_SHOWN])}{more}: give one of them whole"


def _unknown(typed: str, titles: Sequence[str]) -> str:
    by_folded = {title.casefold(): title for title in titles}
    near = [by_folded[name] for name in difflib.get_close_matches(typed.casefold(), list(by_folded), n=3, cutoff=0.5)]
    return f"no item has the title '{typed}'" + (f": the nearest are {'; '.join(near)}" if near else "")

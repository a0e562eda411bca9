"""Find the item that a typed title means."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from bertrec.core.errors import DataError

_SHOWN = 5


def find_title(typed: str, titles: Sequence[str]) -> int:
    """Return the position of the one title that ``typed`` means.

    Tried in this order, each where it leaves exactly one item: the same text; the same but for case; the only title that begins
    so; the only one that contains it.

    Raises:
        DataError: no title or several fit; the text names the nearest ones.
    """
    folded = typed.casefold().strip()
    if not folded:
        raise DataError("an empty title names no item")
    tests: tuple[Callable[[str], bool], ...] = (
        lambda title: title == typed,
        lambda title: title.casefold().strip() == folded,
        lambda title: title.casefold().startswith(folded),
        lambda title: folded in title.casefold(),
    )
    for test in tests:
        hits = [position for position, title in enumerate(titles) if test(title)]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise DataError(_ambiguous(typed, [titles[hit] for hit in hits]))
    raise DataError(_unknown(typed, titles))


def _ambiguous(typed: str, found: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(found))
    if len(distinct) == 1:
        return f"{len(found)} items have the title '{typed}': name the item with --history-ids"
    more = f" and {len(distinct) - _SHOWN} more" if len(distinct) > _SHOWN else ""
    return f"the title '{typed}' fits {len(found)} items: {'; '.join(distinct[:_SHOWN])}{more}"


def _unknown(typed: str, titles: Sequence[str]) -> str:
    by_folded = {title.casefold(): title for title in titles}
    near = [by_folded[name] for name in difflib.get_close_matches(typed.casefold(), list(by_folded), n=3, cutoff=0.5)]
    return f"no item has the title '{typed}'" + (f": the nearest are {'; '.join(near)}" if near else "")

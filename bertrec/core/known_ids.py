"""Words that name an id: ids may be whole numbers, while a command line or a path holds words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Container

from bertrec.core.errors import DataError

_WHOLE = re.compile(r"-?\d{1,18}")


def find_id(text: str, known: Container[str | int]) -> str | int | None:
    """Return the id that ``text`` names among ``known``, or None; see `known_id`."""
    if text in known:
        return text
    number = whole_number(text)
    return number if number is not None and number in known else None


def whole_number(text: str) -> int | None:
    """Return the whole number that a text writes, None where it writes none that is an id."""
    return int(text) if _WHOLE.fullmatch(text) else None


def known_id(text: str, known: Collection[str | int], *, option: str = "", mend: str = "") -> str | int:
    """Return the id that ``text`` names among ``known``; ids may be whole numbers there, while a command line holds words.

    Args:
        text: as it was typed.
        known: the ids there are.
        option: what held it, for the message.
        mend: what else can be done, for the message.

    Raises:
        DataError: no such id; the text names near ones.
    """
    if (found := find_id(text, known)) is not None:
        return found
    near = difflib.get_close_matches(text, [str(value) for value in known], n=3, cutoff=0.6)
    said = f"{option}: " if option else ""
    mends = [*([f"near it are {', '.join(near)}"] if near else []), *([mend] if mend else [])]
    raise DataError(f"{said}unknown id '{text}'" + (f": {'; '.join(mends)}" if mends else ""))

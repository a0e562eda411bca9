"""External ids as they come in calls: lists of lists of them, and words that name one."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Collection, Container, Mapping, Set
from itertools import chain
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import is_list, mend_of
from bertrec.core.errors import DataError

IntArray = npt.NDArray[np.int64]


def id_lists(rows: object, what: str, *, a: str) -> tuple[list[Any], IntArray]:
    """Return the ids of lists of ids, one after the other, and how many each list has, ``[n]``.

    Args:
        rows: any iterable of sequences of external ids.
        what: the argument, such as ``histories``.
        a: one of the lists, such as ``history``.

    Raises:
        DataError: it is no list of lists, such as one string that would be read letter by letter, or an id is neither text nor a whole
            number.
    """
    lists = _as_lists(rows)
    if lists is None or not all(map(is_list, set(map(type, lists)))):
        mend = mend_of(rows, "Ragged") if lists is None else ""
        raise DataError(f"{what} are lists of item ids, one list per user: give {mend or f'a single {a} as [{a}]'}")
    flat = list(chain.from_iterable(lists))
    check_id_types(flat, what)
    return flat, np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))


def check_id_types(ids: list[Any], what: str) -> None:
    """See that ids are text or whole numbers; numpy's will do.

    Raises:
        DataError: one is not; it is named.
    """
    wrong = {kind for kind in set(map(type, ids)) if kind is bool or not issubclass(kind, str | Integral)}
    if wrong:
        bad = next(value for value in ids if type(value) in wrong)
        raise DataError(f"{what}: {reprlib.repr(bad)} ({type(bad).__name__}) is no id: ids are text or whole numbers")


def _as_lists(rows: Any) -> list[Any] | None:
    if isinstance(rows, str | bytes | Mapping | Set):
        return None
    try:
        return list(rows)
    except TypeError:
        return None


def find_id(text: str, known: Container[str | int]) -> str | int | None:
    """Return the id that ``text`` names among ``known``, or None; see `known_id`."""
    candidates: list[str | int] = [text]
    if re.fullmatch(r"-?\d{1,18}", text):
        candidates.append(int(text))
    return next((candidate for candidate in candidates if candidate in known), None)


def known_id(text: str, known: Collection[str | int]) -> str | int:
    """Return the id that ``text`` names among ``known``; ids may be whole numbers there, while a command line holds words.

    Raises:
        DataError: no such id; the text names near ones.
    """
    if (found := find_id(text, known)) is not None:
        return found
    near = difflib.get_close_matches(text, [str(value) for value in known], n=3, cutoff=0.6)
    raise DataError(f"unknown id '{text}'" + (f": near it are {', '.join(near)}" if near else ""))

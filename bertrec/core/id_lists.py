"""Lists of lists of external ids, as histories and candidates come in public calls."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Set
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

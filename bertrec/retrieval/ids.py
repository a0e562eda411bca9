"""External ids beside the rows of an index: which row holds which id, and which rows are tombstones."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertrec.core.distinct import distinct
from bertrec.core.errors import DataError
from bertrec.core.id_lists import id_lists
from bertrec.core.ragged import Ragged
from bertrec.retrieval.checks import Id
from bertrec.retrieval.exact import BoolArray, IntArray


class IdTable:
    """Row number to id and back. A removed id keeps its row as a tombstone; added again it gets a new row.

    Attributes:
        ids: object array ``[rows]``; a change makes a new one, so results may keep the old.
        alive: ``[rows]``, False for tombstones.
        built: the ids at build time, in order: inner id ``i + 1`` is ``built[i]``, whatever was removed or compacted since.
    """

    def __init__(self, ids: Sequence[Id], *, alive: BoolArray | None = None, built: Sequence[Id] | None = None) -> None:
        self.ids = _object_array(ids)
        self.alive = np.ones(len(ids), dtype=np.bool_) if alive is None else np.array(alive, dtype=np.bool_)
        self.built = _object_array(ids if built is None else built)
        rows = np.flatnonzero(self.alive).tolist()
        self._row_of: dict[Any, int] = dict(zip(self.ids[self.alive].tolist(), rows, strict=True))
        if len(self._row_of) != len(rows):
            twice = next(item for item, count in Counter(self.ids[self.alive].tolist()).items() if count > 1)
            raise DataError(f"id {twice!r} is given more than once; ids must be distinct")
        self._inner: IntArray | None = None
        self._only_built: bool | None = None

    @property
    def only_built(self) -> bool:
        """Whether every id that is there now was there at build time, so that inner ids name all of them."""
        if self._only_built is None:
            self._only_built = self._row_of.keys() <= set(self.built.tolist())
        return self._only_built

    def __len__(self) -> int:
        return len(self._row_of)

    def __contains__(self, item: object) -> bool:
        return item in self._row_of

    def check_new(self, ids: Sequence[Id]) -> None:
        """Raise a DataError that names the first id that is already there, or that is given twice."""
        known = next((item for item in ids if item in self._row_of), None)
        if known is not None:
            raise DataError(f"id {known!r} is already in the index; remove it first to replace it")
        if len(set(ids)) != len(ids):
            twice = next(item for item, count in Counter(ids).items() if count > 1)
            raise DataError(f"id {twice!r} is given more than once; ids must be distinct")

    def extend(self, ids: Sequence[Id]) -> None:
        """Append ids that ``check_new`` has accepted."""
        start = len(self.ids)
        self.ids = np.concatenate([self.ids, _object_array(ids)])
        self.alive = np.concatenate([self.alive, np.ones(len(ids), dtype=np.bool_)])
        self._row_of.update(zip(ids, range(start, start + len(ids)), strict=True))
        self._inner = self._only_built = None

    def remove(self, ids: Sequence[Id]) -> None:
        """Make tombstones of ids, all or none.

        Raises:
            DataError: an id that is not there, or given twice; it is named.
        """
        rows = self.rows_of(ids)
        if (rows < 0).any():
            missing = ids[int(np.argmax(rows < 0))]
            raise DataError(f"id {missing!r} is not in the index ({int((rows < 0).sum())} of {len(ids)} ids to remove are not)")
        if len(distinct(rows)) != len(rows):
            twice = next(item for item, count in Counter(ids).items() if count > 1)
            raise DataError(f"id {twice!r} is given more than once")
        self.alive = self.alive.copy()
        self.alive[rows] = False
        for item in ids:
            del self._row_of[item]
        self._inner = None

    def rows_of(self, ids: Sequence[Id]) -> IntArray:
        """Return the row of each id, -1 where it is unknown or removed, ``[n]``."""
        return np.fromiter(map(self._row_of.get, ids, itertools.repeat(-1)), dtype=np.int64, count=len(ids))

    def banned(self, exclude: Sequence[Sequence[Any]] | Ragged) -> Ragged:
        """Return the rows that ``exclude`` names, sorted and distinct within a query; ids that are not in the index are left out.

        Raises:
            DataError: a Ragged with an inner id that the index was not built with, or a row that is a single string.
        """
        if isinstance(exclude, Ragged):
            return self._distinct(self._rows_of_inner(exclude.values), exclude.rows, len(exclude))
        flat, lengths = id_lists(exclude, "the excluded items", a="list")
        return self._distinct(self.rows_of(flat), np.repeat(np.arange(len(lengths)), lengths), len(lengths))

    def _rows_of_inner(self, inner: IntArray) -> IntArray:
        if len(inner) and (inner.min() < 0 or inner.max() > len(self.built)):
            worst = int(inner.max() if inner.max() > len(self.built) else inner.min())
            raise DataError(f"inner id {worst} is outside the {len(self.built)} items that the index was built with: exclude external ids")
        if self._inner is None:
            self._inner = np.concatenate([[-1], self.rows_of(self.built.tolist())]).astype(np.int64)
        return self._inner[inner]

    def _distinct(self, rows: IntArray, queries: IntArray, count: int) -> Ragged:
        known = rows >= 0
        keys = distinct(queries[known] * len(self.ids) + rows[known])
        lengths = np.bincount(keys // max(1, len(self.ids)), minlength=count)
        return Ragged.from_lengths(keys % max(1, len(self.ids)), lengths.astype(np.int64))


def _object_array(ids: Sequence[Id]) -> Any:
    out = np.empty(len(ids), dtype=object)
    out[:] = ids
    return out

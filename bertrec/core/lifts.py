"""What is added to the scores of a few pairs of a user and an item, beyond the inner product of their vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from bertrec.core.distinct import distinct
from bertrec.core.products import FloatArray, IntArray
from bertrec.core.ragged import Ragged

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FEW_PAIRS = 1 << 15
"""Up to so many pairs are sorted; more are added up by SciPy, which takes longer to load than sorting these takes."""


@dataclass(frozen=True)
class Lifts:
    """Some items of each row with what is added to their scores; all other items get nothing.

    Attributes:
        items: inner ids, ascending and each once within a row.
        values: ``[total]`` float32.
    """

    items: Ragged
    values: FloatArray

    @classmethod
    def constant(cls, items: Ragged, value: float) -> Self:
        """Add one number to the items of each row; an item that stands there twice gets it once.

        >>> Lifts.constant(Ragged.from_rows([[2, 1, 2], []]), 0.5).items[0].tolist()
        [1, 2]
        """
        width = int(items.values.max(initial=0)) + 1
        rows, once = np.divmod(distinct(items.rows * width + items.values), width)
        kept = Ragged.from_lengths(once, np.bincount(rows, minlength=len(items)))
        return cls(kept, np.full(len(once), value, np.float32))

    @classmethod
    def summed(cls, rows: IntArray, items: IntArray, values: npt.NDArray[np.floating], n_rows: int) -> Self:
        """Add up the values of equal pairs of row and item, in float64.

        >>> Lifts.summed(np.array([1, 0, 1]), np.array([4, 2, 4]), np.array([0.5, 1, 0.25]), 2).values.tolist()
        [1.0, 0.75]
        """
        if len(rows) < FEW_PAIRS:
            return cls._joined_by(np.add, rows, items, values.astype(np.float64), n_rows)
        from scipy.sparse import coo_array

        width = int(items.max(initial=0)) + 1
        return cls.of_table(coo_array((values.astype(np.float64), (rows, items)), shape=(n_rows, width)).tocsr())

    @classmethod
    def of_table(cls, table: csr_array) -> Self:
        """Take the entries of a sparse table ``[rows, items]``; equal ones are added up."""
        table.sum_duplicates()  # and sort
        kept = Ragged(table.indices.astype(np.int64), table.indptr.astype(np.int64))
        return cls(kept, table.data.astype(np.float32))

    @classmethod
    def largest(cls, rows: IntArray, items: IntArray, values: npt.NDArray[np.floating], n_rows: int) -> Self:
        """Take the largest of the values of equal pairs of row and item.

        >>> Lifts.largest(np.array([1, 0, 1]), np.array([4, 2, 4]), np.array([0.5, 1, 0.25]), 2).values.tolist()
        [1.0, 0.5]
        """
        return cls._joined_by(np.maximum, rows, items, values, n_rows)

    @classmethod
    def _joined_by(cls, join: np.ufunc, rows: IntArray, items: IntArray, values: npt.NDArray[np.floating], n_rows: int) -> Self:
        width = int(items.max(initial=0)) + 1
        keys = rows * width + items
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        first = np.flatnonzero(np.diff(ordered, prepend=-1))
        joined = join.reduceat(values[order], first) if len(first) else np.zeros(0)
        of_rows, of_items = np.divmod(ordered[first], width)
        return cls(Ragged.from_lengths(of_items, np.bincount(of_rows, minlength=n_rows)), joined.astype(np.float32))

    @classmethod
    def joined(cls, parts: Sequence[Lifts]) -> Self:
        """Add up lifts of the same rows."""
        rows, items = (np.concatenate(arrays) for arrays in zip(*((one.items.rows, one.items.values) for one in parts), strict=True))
        return cls.summed(rows, items, np.concatenate([one.values for one in parts]), len(parts[0]))

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def keys(self) -> IntArray:
        """``row * width + item``, ascending."""
        return self.items.rows * self.width + self.items.values

    @cached_property
    def width(self) -> int:
        """One more than the largest item."""
        return int(self.items.values.max(initial=0)) + 1

    def of(self, rows: IntArray, items: IntArray) -> FloatArray:
        """Return what each pair of a row and an item gets, 0 for most."""
        if not len(self.keys):
            return np.zeros(len(rows), np.float32)
        wanted = rows * self.width + items
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where((self.keys[place] == wanted) & (items < self.width), self.values[place], np.float32(0))

    def slice(self, start: int, stop: int) -> Self:
        """Return the rows from ``start`` to ``stop``."""
        return type(self)(self.items.slice(start, stop), self.values[self.items.offsets[start] : self.items.offsets[stop]])

    def where(self, keep: npt.NDArray[np.bool_]) -> Self:
        """Return the pairs that are kept, ``[total]``."""
        return type(self)(self.items.where(keep), self.values[keep])

    def add_to(self, scores: FloatArray) -> None:
        """Add to scores ``[rows, n_items + 1]`` in place."""
        scores[self.items.rows, self.items.values] += self.values

"""Ragged integer rows as two arrays, the form in which histories, targets and seen items travel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bertrec.core.described import Described, Preview

IntArray = npt.NDArray[np.int64]
NO_TIME = int(np.iinfo(np.int64).min)
"""Among times, one that is not known."""


@dataclass(frozen=True, repr=False)
class Ragged(Described):
    """``n`` rows of int64 of any length: row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    Attributes:
        values: ``[total]`` int64.
        offsets: ``[n + 1]`` int64, not decreasing, from 0 to ``total``.
        times: ``[total]`` int64, when each value was, in seconds, or `NO_TIME`; None where no time is known. They go where the values go.
    """

    values: IntArray
    offsets: IntArray
    times: IntArray | None = None

    def __post_init__(self) -> None:
        if self.times is not None:
            object.__setattr__(self, "times", np.ascontiguousarray(self.times, dtype=np.int64))
            if len(self.times) != len(self.values):
                raise ValueError(f"{len(self.times)} times for {len(self.values)} values")
        object.__setattr__(self, "values", np.ascontiguousarray(self.values, dtype=np.int64))
        object.__setattr__(self, "offsets", np.ascontiguousarray(self.offsets, dtype=np.int64))
        if self.offsets.ndim != 1 or not len(self.offsets) or self.offsets[0] != 0 or self.offsets[-1] != len(self.values):
            raise ValueError("offsets must run from 0 to the number of values")
        if np.any(np.diff(self.offsets) < 0):
            raise ValueError("offsets must not decrease")

    def _facts(self) -> dict[str, object]:
        return {"rows": len(self), "values": len(self.values)}

    def _preview(self) -> Preview:
        return Preview.of(["row", "values"], ([row, self[row].tolist()] for row in range(len(self))), len(self))

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[int] | IntArray]) -> Ragged:
        """Build from any iterable of rows."""
        arrays = [np.asarray(row, dtype=np.int64) for row in rows]
        return cls.from_lengths(
            np.concatenate(arrays) if arrays else np.zeros(0, np.int64), np.array([len(a) for a in arrays], dtype=np.int64)
        )

    @classmethod
    def from_lengths(cls, values: IntArray, lengths: IntArray) -> Ragged:
        """Build from values in row order and the length of each row, ``[n]``."""
        return cls(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    @classmethod
    def with_times(cls, rows: Sequence[Sequence[int] | IntArray], times: Sequence[Sequence[int] | IntArray | None]) -> Ragged:
        """Build from rows and the times of each, as long as the row, or None."""
        found = cls.from_rows(rows)
        if all(row is None for row in times):
            return found
        known = [np.full(length, NO_TIME) if row is None else row for row, length in zip(times, found.lengths, strict=True)]
        return cls(found.values, found.offsets, np.concatenate([np.asarray(row, np.int64) for row in known]))

    @classmethod
    def before(cls, values: IntArray, stops: IntArray, lengths: IntArray) -> Ragged:
        """Copy a row of ``lengths [n]`` values from just before each of the places ``stops [n]``, without a loop over them.

        >>> Ragged.before(np.array([7, 8, 9]), np.array([3, 1]), np.array([2, 1])).values.tolist()
        [8, 9, 7]
        """
        return cls(values, np.array([0, len(values)])).spans(stops, lengths)

    def spans(self, stops: IntArray, lengths: IntArray) -> Ragged:
        """Return rows of ``lengths [m]`` values from just before each of the places ``stops [m]`` among all values."""
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(offsets[-1]) + np.repeat(stops - lengths - offsets[:-1], lengths)
        return Ragged(self.values[places], offsets, None if self.times is None else self.times[places])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> IntArray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[IntArray]:
        return (self[row] for row in range(len(self)))

    @property
    def lengths(self) -> IntArray:
        """Length of each row, ``[n]``."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> IntArray:
        """The row number of each value, ``[total]``."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def take(self, rows: IntArray | Sequence[int]) -> Ragged:
        """Return the rows numbered ``rows``, in that order, without a loop over them (all of them in order are this very object)."""
        picked = np.asarray(rows, dtype=np.int64)
        if len(picked) == len(self) and np.array_equal(picked, np.arange(len(self))):
            return self
        return self.spans(self.offsets[1:][picked], self.lengths[picked])

    def slice(self, start: int, stop: int) -> Ragged:
        """Return rows ``start`` to ``stop`` as views, without a copy of the values."""
        offsets = self.offsets[start : stop + 1]
        part = slice(offsets[0], offsets[-1])
        return Ragged(self.values[part], offsets - offsets[0], None if self.times is None else self.times[part])

    def last(self, count: int) -> Ragged:
        """Return each row cut to its last ``count`` values (the newest of a history)."""
        return self.spans(self.offsets[1:], np.minimum(self.lengths, count))

    def where(self, keep: npt.NDArray[np.bool_]) -> Ragged:
        """Return the rows with only the values where ``keep`` (``[total]``) holds; rows may become empty."""
        before = np.concatenate([[0], np.cumsum(keep, dtype=np.int64)])
        return Ragged(self.values[keep], before[self.offsets], None if self.times is None else self.times[keep])

    def without_empty(self) -> Ragged:
        """Return the rows that hold something, with the same values."""
        return Ragged(self.values, np.concatenate([[0], self.offsets[1:][self.lengths > 0]]), self.times)

    def padded(self, width: int | None = None, *, left: bool = False) -> IntArray:
        """Return ``[n, width]``, rows cut to their last ``width`` values, padded with 0 on the right (or left)."""
        width = int(self.lengths.max(initial=1)) if width is None else width
        short = self.last(width)
        out = np.zeros((len(short), width), dtype=np.int64)
        column = np.arange(len(short.values)) - np.repeat(short.offsets[:-1], short.lengths)
        if left:
            column = column + np.repeat(width - short.lengths, short.lengths)
        out[short.rows, column] = short.values
        return out

    def padded_times(self, width: int | None = None) -> IntArray | None:
        """Return the times as `padded` does the values, on the right; None where they are not known."""
        return None if self.times is None else Ragged(self.times, self.offsets).padded(width)

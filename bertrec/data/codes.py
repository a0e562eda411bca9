"""Columns of few distinct values as numbers of those: Arrow's dictionaries, gathered batch by batch and numbered by appearance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.data.ids import is_plain_text

CodeArray = npt.NDArray[np.int32]
# So many distinct values of batches are gathered at least before they are brought together.
_FEW = 1 << 20
_STEP = 1 << 20


class Codes:
    """A column that grows by batches and holds four bytes a row, however long its values are."""

    def __init__(self) -> None:
        self._known: pa.Array | None = None
        self._codes: list[pa.Array] = []
        self._waiting: list[pa.DictionaryArray] = []
        self._new = 0

    def add(self, column: pa.Array) -> None:
        """Add the values of a batch: text or whole numbers of up to 64 bits, also dictionary-encoded."""
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        values = _widened(encoded.dictionary)
        self._waiting.append(pa.DictionaryArray.from_arrays(encoded.indices.cast(pa.int32()), values))
        self._new += len(values)
        # Each time costs as much as all that is known: rarely enough, it adds up to no more than a few times the values.
        if self._new > max(_FEW, 0 if self._known is None else len(self._known)):
            self._bring_together()

    def array(self, kind: pa.DataType) -> pa.Array:
        """Return all rows, dictionary-encoded; of none the empty column of the type ``kind``."""
        self._bring_together()
        if self._known is None:
            return pa.array([], kind)
        return pa.DictionaryArray.from_arrays(pa.concat_arrays(self._codes), self._known)

    def _bring_together(self) -> None:
        if not self._waiting:
            return
        start = [] if self._known is None else [pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), self._known)]
        one = pa.chunked_array([*start, *self._waiting]).unify_dictionaries()
        self._codes += [chunk.indices for chunk in one.chunks[len(start) :]]
        self._known, self._waiting, self._new = one.chunk(0).dictionary, [], 0


def _widened(values: pa.Array) -> pa.Array:
    """Return text, and whole numbers, in one type each, whatever the file had."""
    if pa.types.is_integer(values.type):
        return values if values.type == pa.uint64() else values.cast(pa.int64())
    return values.cast(pa.large_string())


def by_appearance(column: pa.DictionaryArray) -> tuple[pa.Array, CodeArray]:
    """Return the distinct values of a column without missing ones, in the order in which they first occur, and the number of each row.

    Returns:
        The values and, from 0, the place of each row's value among them, ``[n]``.
    """
    codes = column.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    first = _first_places(codes, len(column.dictionary))
    order = np.argsort(first, kind="stable")
    used = int(np.count_nonzero(first < len(codes)))
    if used == len(order) and np.array_equal(order, np.arange(len(order))):
        return column.dictionary, codes
    number = np.empty(len(order), np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    return column.dictionary.take(pa.array(order[:used])), number[codes]


def _first_places(codes: CodeArray, size: int) -> npt.NDArray[np.int64]:
    """Return where each code first occurs, ``[size]``; ``len(codes)`` where it does not."""
    first = np.full(size, len(codes), np.int64)
    for start in reversed(range(0, len(codes), _STEP)):  # of equal codes the last one written stays
        part = codes[start : start + _STEP]
        first[part[::-1]] = np.arange(start + len(part) - 1, start - 1, -1)
    return first


def appearing(column: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, CodeArray] | None:
    """Do as `by_appearance` with a dictionary-encoded column of ids (text as large text, numbers as int64).

    Returns:
        None where the column is not encoded, or something about it is unusual and it had better be looked at row by row: a missing or empty
        value, a type that ids do not have, a value that stands in the dictionary twice.
    """
    if not pa.types.is_dictionary(column.type):
        return None
    flat = column.unify_dictionaries().combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not isinstance(flat, pa.DictionaryArray) or flat.null_count or flat.dictionary.null_count:
        return None
    values = flat.dictionary
    if not (pa.types.is_signed_integer(values.type) or is_plain_text(values.type)):
        return None
    values = _widened(values)
    if pc.count_distinct(values).as_py() < len(values) or (is_plain_text(values.type) and pc.index(values, "").as_py() >= 0):
        return None
    return by_appearance(pa.DictionaryArray.from_arrays(flat.indices, values))

"""Columns of few distinct values as numbers of those: Arrow's dictionaries, gathered batch by batch and numbered by appearance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.data.ids import is_plain_text

CodeArray = npt.NDArray[np.int32]
_GATHERED = 1 << 29  # bytes
_STEP = 1 << 20


class Codes:
    """A column that grows by batches and holds four bytes a row, however long its values are, once some of them were gathered."""

    def __init__(self) -> None:
        self._plain: list[pa.Array] = []
        self._bytes = 0
        self._coded: list[pa.DictionaryArray] = []

    def add(self, column: pa.Array) -> None:
        """Add the values of a batch: text or whole numbers of up to 64 bits, also dictionary-encoded."""
        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        self._plain.append(plain if not self._plain or plain.type == self._plain[0].type else plain.cast(self._plain[0].type))
        self._bytes += column.nbytes
        if self._bytes > _GATHERED:
            self._encode()

    def array(self, kind: pa.DataType) -> pa.Array:
        """Return all rows, dictionary-encoded; of none the empty column of the type ``kind``."""
        self._encode()
        self._bring_together()
        return self._coded[0] if self._coded else pa.array([], kind)

    def _encode(self) -> None:
        if self._plain:
            # Over all that was gathered at once, for values that come again are then looked up rather than brought together.
            encoded = pa.chunked_array(self._plain).dictionary_encode()
            self._plain, self._bytes = [], 0
            self._coded.append(_one(encoded))
        # The last ones may grow to the size of the first before each is looked at again, so that this happens rarely.
        if sum(len(part.dictionary) for part in self._coded[1:]) > 2 * len(self._coded[0].dictionary if self._coded else ()):
            self._bring_together()

    def _bring_together(self) -> None:
        if len(self._coded) > 1:
            self._coded = [_one(pa.chunked_array(self._coded).unify_dictionaries())]


def _one(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Make one array of chunks that share a dictionary."""
    codes = pa.concat_arrays([chunk.indices for chunk in column.chunks])
    return pa.DictionaryArray.from_arrays(codes, _widened(column.chunk(0).dictionary))


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

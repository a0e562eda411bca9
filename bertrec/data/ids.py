"""External ids (any ``str`` or ``int``) to contiguous inner ids from 1; 0 is padding or unknown."""

from __future__ import annotations

import hashlib
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.checks import expect_list
from bertrec.core.described import Described
from bertrec.core.errors import DataError
from bertrec.core.known_ids import find_id, whole_number

IntArray = npt.NDArray[np.int64]
# Below this many look-ups a cached dict beats building Arrow's hash table anew.
_FEW = 10_000
_PIECE = 1 << 20


class IdMap(Described):
    """The two-way map between external and inner ids: ``ids[i]`` is the external id of inner id ``i + 1``.

    ``7`` and ``"7"`` are two different ids.

    Raises:
        DataError: an id that is neither ``str`` nor ``int``, or one that occurs twice.
    """

    def __init__(self, ids: Iterable[str | int]) -> None:
        if isinstance(ids, str) or not isinstance(ids, Iterable):
            expect_list(ids, "IdMap: ids", of="ids")
        self.__dict__["ids"] = [_plain(value) for value in ids]
        if len(self._inner) != len(self.ids):
            repeated = next(value for row, value in enumerate(self.ids) if self._inner[value] != row + 1)
            raise DataError(f"id {repeated!r} occurs more than once: ids must be distinct")

    @classmethod
    def of_distinct(cls, values: pa.Array) -> IdMap:
        """Number values of one type, text or int64, that are known to be distinct; they stay Arrow's until a list is asked for."""
        ids = cls.__new__(cls)
        ids.__dict__["_values"] = values
        return ids

    @classmethod
    def from_column(cls, column: pa.Array | pa.ChunkedArray) -> tuple[IdMap, IntArray]:
        """Number the distinct values of a text or integer column in the order in which they first occur.

        Returns:
            The map and the inner id of each row, ``[n]``.
        """
        encoded = flat_array(column).dictionary_encode()
        return cls._of_column(encoded.dictionary), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64) + 1

    @classmethod
    def _of_column(cls, values: pa.Array) -> IdMap:
        """Number the distinct values of a column; of types and values that ids do not have, the list is looked at."""
        plain = is_plain_text(values.type) or pa.types.is_signed_integer(values.type)
        return cls.of_distinct(values) if plain and not values.null_count else cls(values.to_pylist())

    @cached_property
    def ids(self) -> list[str | int]:
        """All external ids in order."""
        found: list[str | int] = [] if self._values is None else self._values.to_pylist()
        return found

    @cached_property
    def _inner(self) -> dict[str | int, int]:
        return {value: row + 1 for row, value in enumerate(self.ids)}

    @cached_property
    def _values(self) -> pa.Array | None:
        return _uniform(self.ids)

    @property
    def column(self) -> pa.Array | None:
        """All external ids as one Arrow column; None where they are not all text, or all whole numbers of 64 bits."""
        return self._values

    def __len__(self) -> int:
        held = self.__dict__.get("ids")
        return len(self._values if held is None and self._values is not None else self.ids)

    def __contains__(self, external: object) -> bool:
        return external in self._inner

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdMap):
            return False
        if "ids" not in self.__dict__ and "ids" not in other.__dict__ and self._values is not None and other._values is not None:
            return is_plain_text(self._values.type) == is_plain_text(other._values.type) and _same(self._values, other._values)
        return self.ids == other.ids and list(map(type, self.ids)) == list(map(type, other.ids))

    __hash__ = None  # type: ignore[assignment]  # equal by value, and the list of ids can be long

    def _facts(self) -> dict[str, object]:
        return {"ids": len(self), "first": self.decode([1])[0] if len(self) else None}

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the ids in order, each with its type."""
        digest = hashlib.sha256()
        for part in self._hashed():
            digest.update(part)
        return digest.hexdigest()

    def _hashed(self) -> Iterator[bytes | pa.Buffer]:
        """Yield what `bertrec.core.files.sha256_text` hashes of ``str:…`` and ``int:…``, id by id."""
        if self._values is None:
            yield from (f"{type(one).__name__}:{one}\0".encode("utf-8", "surrogatepass") for one in self.ids)
            return
        kind = "str:" if is_plain_text(self._values.type) else "int:"
        for start in range(0, len(self), _PIECE):
            piece = self._values[start : start + _PIECE].cast(pa.large_string())
            before, after, between = (pa.scalar(text, pa.large_string()) for text in (kind, "\0", ""))
            text = pc.binary_join_element_wise(before, piece, after, between)
            yield text.buffers()[2][: pc.sum(pc.binary_length(text)).as_py()]

    def encode(self, external: Sequence[str | int] | npt.NDArray[Any] | pa.Array | pa.ChunkedArray) -> IntArray:
        """Return the inner id of each external id, ``[n]`` int64, 0 where it is unknown."""
        if not isinstance(external, pa.Array | pa.ChunkedArray):
            expect_list(external, "IdMap.encode: external", of="ids")
        if len(external) >= _FEW and self._values is not None:
            column = flat_array(external) if isinstance(external, pa.Array | pa.ChunkedArray) else _uniform(external)
            if column is not None:
                return _look_up(column, self._values)
        rows = external.to_pylist() if isinstance(external, pa.Array | pa.ChunkedArray) else external
        try:
            return np.fromiter((self._inner.get(value, 0) for value in rows), dtype=np.int64, count=len(external))
        except TypeError as error:  # a list or an array is no id
            raise DataError(f"IdMap.encode: an id must be text or a whole number: {error}") from error

    def named(self, words: Sequence[str | int]) -> IntArray:
        """Return the inner ids that words name, ``[n]``, 0 where none: as `bertrec.core.known_ids.find_id`."""
        column = self.column
        if column is None or column.type == pa.uint64():
            found = [find_id(str(word), self._inner) for word in words]
            return np.array([0 if one is None else self._inner[one] for one in found], np.int64)
        if is_plain_text(column.type):
            return self.encode([str(word) for word in words])
        return self.encode(pa.array([whole_number(str(word)) for word in words], pa.int64()))

    def decode(self, inner: Iterable[int] | IntArray) -> list[str | int]:
        """Return the external ids of inner ids.

        Raises:
            DataError: an inner id outside 1 to ``len(self)`` (0 stands for no item).
        """
        found = np.asarray(inner)
        if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
            raise DataError(f"IdMap.decode: inner ids are a list of whole numbers, not {reprlib.repr(inner)}")
        if found.size and not (found.min() >= 1 and found.max() <= len(self)):
            raise DataError(f"inner ids run from 1 to {len(self)}, got {found.min()} to {found.max()}")
        if "ids" not in self.__dict__ and self._values is not None and found.size:
            some: list[str | int] = self._values.take(pa.array(found.astype(np.int64) - 1)).to_pylist()
            return some
        return [self.ids[row - 1] for row in found.tolist()]

    def take(self, rows: npt.NDArray[Any]) -> IdMap:
        """Return the ids of the rows numbered ``rows`` (from 0, each at most once), in that order."""
        if self._values is not None and self._values.type != pa.uint64():
            return self.of_distinct(self._values.take(pa.array(rows)))
        return IdMap(self.ids[row] for row in rows.tolist())

    def from_text(self, texts: Iterable[str]) -> list[str | int]:
        """Return ids typed by hand as this map holds them: ``"7"`` becomes ``7`` where only the number is known."""
        return [text if text in self._inner else _number(text) if _number(text) in self._inner else text for text in texts]


def flat_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array of plain (not dictionary-encoded) values."""
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(flat, pa.ChunkedArray):  # an empty or oversized chunked array stays chunked
        flat = pa.concat_arrays(flat.chunks) if flat.num_chunks else pa.array([], type=flat.type)
    return flat.dictionary_decode() if pa.types.is_dictionary(flat.type) else flat


def _plain(value: Any) -> str | int:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    raise DataError(f"an id must be text or a whole number, got {value!r} ({type(value).__name__})")


def _number(text: str) -> str | int:
    return int(text) if text.removeprefix("-").isdecimal() else text


def _uniform(values: Any) -> pa.Array | None:
    """Return the values as an Arrow array of all text or all int64, else None."""
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return None
    return array if is_plain_text(array.type) or pa.types.is_integer(array.type) else None


def is_plain_text(kind: pa.DataType) -> bool:
    """Say whether an Arrow type is text that is not dictionary-encoded."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _same(one: pa.Array, other: pa.Array) -> bool:
    common = pa.large_string() if is_plain_text(one.type) else pa.int64()
    return bool(one.cast(common).equals(other.cast(common)))


def _look_up(column: pa.Array, known: pa.Array) -> IntArray:
    if is_plain_text(column.type) != is_plain_text(known.type):
        return np.zeros(len(column), np.int64)
    common = pa.large_string() if is_plain_text(known.type) else pa.int64()
    if column.type == pa.uint64():  # values above the int64 range cannot be known
        column = pc.if_else(pc.greater(column, pa.scalar(2**63 - 1, pa.uint64())), None, column)
    found = pc.index_in(column.cast(common), value_set=known.cast(common), skip_nulls=True)
    return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1

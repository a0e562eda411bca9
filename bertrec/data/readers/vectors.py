"""Item vectors that another program made: Parquet with a column of ids, or a NumPy matrix with its ids beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bertrec.core.errors import DataError
from bertrec.core.parsing import parse_json
from bertrec.data.frames import id_column, is_text
from bertrec.data.ids import IdMap, flat_array
from bertrec.data.readers.content import as_utf8, read_bytes
from bertrec.data.readers.delimited import read_parquet, read_table

SUFFIXES = (".parquet", ".npy")
_IDS = ("item_id", "id")
_VECTORS = ("vector", "embedding")
_BESIDE = (".ids.txt", ".ids.csv", ".ids.json")


class VectorRows(NamedTuple):
    """What a file holds: float32 vectors ``[n, d]``, all finite, and the distinct ids of the rows; None where it names none."""

    ids: IdMap | None
    values: npt.NDArray[np.float32]


def is_vector_file(name: str) -> bool:
    """Say whether a name is that of a file of vectors, by how it ends."""
    return name.lower().endswith(SUFFIXES)


def files_beside(path: Path) -> list[Path]:
    """Return the places of a file that may hold the ids of the rows of a ``.npy``."""
    return [Path(f"{stem}{ending}") for stem in (path.with_suffix(""), path) for ending in _BESIDE]


def read_vector_file(path: str | Path) -> VectorRows:
    """Read ids and vectors.

    Args:
        path: a ``.parquet`` with a column of ids (``item_id``, ``id``, or the one that is no vector) and either one column of lists or
            columns of numbers; or a ``.npy`` of shape ``[n, d]``, its ids in ``NAME.ids.txt``, ``.ids.csv`` or ``.ids.json`` beside it.

    Raises:
        DataError: the file is absent or damaged, an id occurs twice, widths differ, or a value is not finite; the text names the row.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"{path}: no such file of item vectors")
    ids, values = _parquet(path) if path.suffix.lower() == ".parquet" else (_ids_beside(path), _matrix(path))
    if ids is not None and len(ids) != len(values):
        raise DataError(f"{path} has {len(values)} rows, and the file of ids beside it {len(ids)}: write one id for each row")
    known = None if ids is None else _distinct(ids, path)
    if not values.size:
        raise DataError(f"{path} holds no vectors: its shape is {list(values.shape)}")
    if len(bad := np.flatnonzero(~np.isfinite(values).all(axis=1))):
        shown = "" if ids is None else f" (id {ids[bad[0]]!r})"
        count = f"{len(bad)} of {len(values)} rows are not finite in 32-bit numbers"
        raise DataError(f"{path}: row {bad[0] + 1}{shown} has NaN, infinity or a number too large; {count}: mend them or leave them out")
    return VectorRows(known, values)


def _distinct(ids: list[str | int], path: Path) -> IdMap:
    try:
        return IdMap(ids)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _matrix(path: Path) -> npt.NDArray[np.float32]:
    try:
        # Mapped, so that a header that asks for more than the file holds takes no memory.
        values: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # A damaged header is parsed as Python and fails in as many ways as that can.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path}: cannot be read as a NumPy matrix of numbers ({reason:.120})") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "fiu":
        found = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else "an archive"
        raise DataError(f"{path} holds {found}: write a matrix of numbers with one row for each item, by numpy.save")
    return _float32(values)


def _float32(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused with its row
        return np.ascontiguousarray(values, np.float32)


def _ids_beside(path: Path) -> list[str | int] | None:
    """Return the ids of the rows of a matrix; None where no file beside it names them."""
    found = [place for place in files_beside(path) if place.is_file()]
    if len(found) > 1:
        raise DataError(f"{path}: {found[0].name} and {found[1].name} both stand beside it: keep the one that holds its ids")
    if not found:
        return None
    readers = {".txt": _lines, ".csv": _cells, ".json": _json}
    return readers[found[0].suffix](found[0])


def _lines(path: Path) -> list[str | int]:
    text = as_utf8(read_bytes(path), path).decode().removesuffix("\n")
    return _complete([line.removesuffix("\r") for line in text.split("\n")], path)


def _cells(path: Path) -> list[str | int]:
    table = read_table(path)
    return id_column(table, _id_name(table, [], path), str(path)).to_pylist()


def _json(path: Path) -> list[str | int]:
    try:
        ids = parse_json(read_bytes(path))
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from error
    if not isinstance(ids, list):
        raise DataError(f"{path} holds no list: write the ids of the rows as one list")
    return _complete(ids, path)


def _complete(ids: Sequence[str | int], path: Path) -> list[str | int]:
    for row, one in enumerate(ids, start=1):
        if isinstance(one, bool) or not isinstance(one, str | int) or one == "":
            raise DataError(f"{path}: row {row} is no id but {one!r}: write one id, text or a whole number, for each row of vectors")
    return [*ids]


def _parquet(path: Path) -> tuple[list[str | int], npt.NDArray[np.float32]]:
    table = read_parquet(path)
    lists = [name for name in table.column_names if _is_list(table[name].type)]
    if len(lists) > 1:
        lists = [name for name in lists if name in _VECTORS][:1] or lists
    if len(lists) > 1:
        raise DataError(f"{path}: {', '.join(lists)} are all columns of lists: call the one that holds the vectors {_VECTORS[0]}")
    ids: list[str | int] = id_column(table, name := _id_name(table, lists, path), str(path)).to_pylist()
    return ids, _lists(table[lists[0]], ids, path) if lists else _numbers(table.drop_columns([name]), path)


def _id_name(table: pa.Table, lists: list[str], path: Path) -> str:
    """Return the column of ids: by its name, else the one that can only be it."""
    names = [name for name in table.column_names if name not in lists]
    by_name = [name for name in _IDS if name in names]
    texts = [name for name in names if is_text(table[name].type)]
    free = names if len(names) == 1 else texts
    if not by_name and len(free) != 1:
        raise DataError(f"{path} has the columns {', '.join(table.column_names)}: call the one that holds the ids {_IDS[0]}")
    return (by_name or free)[0]


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _lists(column: pa.ChunkedArray, ids: list[str | int], path: Path) -> npt.NDArray[np.float32]:
    rows = flat_array(column)
    if not _is_number(rows.type.value_type):
        raise DataError(f"{path}: the vectors are lists of {rows.type.value_type}, not of numbers")
    if rows.null_count:
        row = int(np.flatnonzero(np.asarray(rows.is_null()))[0])
        raise DataError(f"{path}: row {row + 1} (id {ids[row]!r}) has no vector")
    widths = rows.value_lengths().to_numpy(zero_copy_only=False)
    if len(odd := np.flatnonzero(widths != widths[:1])):
        row, width = int(odd[0]), int(widths[odd[0]])
        raise DataError(f"{path}: row {row + 1} (id {ids[row]!r}) is {width} numbers wide and row 1 {widths[0]}: all must be equal")
    return _float32(rows.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1))


def _numbers(table: pa.Table, path: Path) -> npt.NDArray[np.float32]:
    if strange := [name for name in table.column_names if not _is_number(table[name].type)]:
        raise DataError(f"{path}: column '{strange[0]}' holds no numbers: leave it out, or give the vectors as one column of lists")
    columns = [flat_array(table[name]).to_numpy(zero_copy_only=False) for name in table.column_names]
    return _float32(np.stack(columns, axis=1)) if columns else np.zeros((len(table), 0), np.float32)

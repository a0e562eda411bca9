"""Vectors in one Parquet file or many, as ``bertrec embed`` and ``bertrec cluster encode`` write them, read into a file of their own."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bertrec.core.errors import DataError
from bertrec.core.files import disk_errors_named
from bertrec.core.progress import progress_bar
from bertrec.data.places import Place, place_of
from bertrec.data.readers.parts import parts_of
from bertrec.retrieval.checks import Id
from bertrec.retrieval.exact import FloatArray

_COLUMNS = ("id", "vector")
_HASH = b"bertrec.model_hash"


@dataclass(frozen=True)
class VectorParts:
    """Ids and vectors of all parts.

    Attributes:
        ids: ``n`` ids, in the order of the parts.
        vectors: ``[n, d]``, mapped from a file.
        model_hash: of the model that made them; "" where none is named.
    """

    ids: list[Id]
    vectors: FloatArray
    model_hash: str


def read_vector_parts(place: str | Path | Place, scratch: Path, *, progress: bool = False) -> VectorParts:
    """Read vectors part by part into a file under ``scratch``, so that memory holds one batch of them.

    Args:
        place: a Parquet file, a folder of such, or a pattern of names, each with the columns ``id`` and ``vector``.
        scratch: a folder on a disk with room for them; the file has no name there, and goes with the array.
        progress: show a progress bar.

    Raises:
        DataError: a part is no Parquet, lacks a column, has vectors of another width, or was made by another model than the first.
    """
    parts = parts_of(place_of(place, "vectors"))
    first = parts[0]
    described = [_described(part) for part in parts]
    for part, other in zip(parts, described, strict=True):
        if other[:2] != described[0][:2]:
            raise DataError(f"{part.name}: its vectors are of another width or another model than those of {first.name}: leave it out")
    width, model_hash, _ = described[0]
    count = sum(rows for *_, rows in described)
    vectors = _mapped(scratch, (count, width))
    ids: list[Id] = []
    with progress_bar(progress, "vectors", count) as bar:
        for part in parts:
            for batch in part.batches(_COLUMNS):
                vectors[len(ids) : len(ids) + len(batch)] = _values(part, batch.column("vector"), width)
                ids += batch.column("id").to_pylist()
                bar.update(len(batch))
    return VectorParts(ids, vectors, model_hash)


def _mapped(folder: Path, shape: tuple[int, int]) -> FloatArray:
    if not shape[0]:
        return np.zeros(shape, np.float32)
    with disk_errors_named(folder), tempfile.TemporaryFile(dir=folder, prefix="bertrec-") as file:
        size = 4 * shape[0] * shape[1]
        if hasattr(os, "posix_fallocate"):  # a full disk is then an error here, and not the end of the process at some later write
            os.posix_fallocate(file.fileno(), 0, size)
        file.truncate(size)
        return np.memmap(file, dtype=np.float32, mode="r+", shape=shape)


def _described(part: Any) -> tuple[int, str, int]:
    """Return width, hash of the model, and number of rows of a part."""
    opened = part.opened()
    schema = opened.schema_arrow
    if missing := [name for name in _COLUMNS if name not in schema.names]:
        raise DataError(
            f"{part.name} has no column {' and no column '.join(missing)}; wanted are id and vector, as bertrec embed writes them"
        )
    kind = schema.field("vector").type
    if not pa.types.is_fixed_size_list(kind) or not pa.types.is_floating(kind.value_type):
        raise DataError(f"{part.name}: the column vector must be a list of floats of one fixed length, as bertrec embed writes it")
    try:
        model_hash = (schema.metadata or {}).get(_HASH, b"").decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{part.name}: the hash of its model is damaged") from error
    return kind.list_size, model_hash, opened.metadata.num_rows


def _values(part: Any, column: pa.Array, width: int) -> FloatArray:
    if column.null_count:
        raise DataError(f"{part.name}: a row has no vector")
    values: FloatArray = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), width).astype(np.float32)
    return values

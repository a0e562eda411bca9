"""Vectors of items and users as tables of ``id`` and ``vector``, made and read a block at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from bertrec.core.errors import DataError
from bertrec.core.files import atomic_file, room_for
from bertrec.core.progress import progress_bar
from bertrec.data.erase import WHAT
from bertrec.data.places import Place
from bertrec.data.readers.parts import Part, like_parts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bertrec.data.one_table import Manner
    from bertrec.models.base import Recommender

Id = str | int
Block = tuple[Sequence[Id], "npt.NDArray[np.float32]"]
"""Ids and vectors ``[n, d]``."""
MODEL_HASH = "bertrec.model_hash"
USERS = "users:"
_AT_ONCE = 1 << 16
_MARKS = ("_manifest.json", "_SUCCESS")  # of a job's output


def vector_schema(dim: int, *, whole: bool) -> pa.Schema:
    """Return the columns: ids, which are ``whole`` numbers or text, and vectors of ``dim``."""
    return pa.schema({"id": pa.int64() if whole else pa.string(), "vector": pa.list_(pa.float32(), dim)})


def vector_table(ids: Sequence[Id], vectors: npt.NDArray[np.float32], schema: pa.Schema) -> pa.Table:
    """Return ids and vectors ``[n, d]`` as a table."""
    import numpy as np

    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    kind = schema.field("id").type
    column = pa.array(ids if kind == pa.int64() else [str(one) for one in ids], kind)
    return pa.table([column, pa.FixedSizeListArray.from_arrays(flat, schema.field("vector").type.list_size)], schema=schema)


def encode_part(model: Recommender, table: pa.Table, manner: Manner, *, what: str) -> pa.Table:
    """Return ids and vectors of a table of items, in its order; of an item that the model knows nothing of there is none.

    Args:
        model: reads what items say.
        table: ids and the text fields of the model's items.
        manner: how the table's columns are called.
        what: is named in messages.

    Raises:
        DataError: a text field is missing, or an id occurs twice with different content.
        ModelError: the model does not read what items say.
    """
    from bertrec.data.changes import ids_like
    from bertrec.data.one_table import items_like, items_of
    from bertrec.runs.lists import all_whole

    catalog = items_like(items_of(table, manner, what), manner.options, like=model.catalog, what=what)
    catalog = replace(catalog, ids=ids_like(catalog.ids, model.catalog.ids))  # a file may hold as numbers what the run has as text
    moved = model.with_catalog(catalog)
    known = moved.known_items()
    vectors = moved.item_embeddings()[known]
    ids = catalog.ids.decode(known)
    return vector_table(ids, vectors, vector_schema(vectors.shape[1], whole=all_whole(ids)))


def write_vectors(target: Path, blocks: Iterable[Block], schema: pa.Schema, *, model_hash: str, what: str) -> None:
    """Write blocks of ids and vectors as Parquet, atomically; what they are of and the model's hash go into its metadata."""
    import pyarrow.parquet as pq

    schema = schema.with_metadata({MODEL_HASH: model_hash, WHAT.decode(): what})
    with atomic_file(target) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for ids, vectors in blocks:
            writer.write_table(vector_table(ids, vectors, schema))


def read_vectors(place: Place, *, scratch: Path | None = None, progress: bool = False) -> tuple[list[Id], npt.NDArray[np.float32], str]:
    """Return ids, vectors ``[n, d]`` and the model's hash of what ``bertrec embed`` or ``bertrec cluster encode`` wrote.

    The hash of vectors of users begins with ``users:``, so that no run takes an index of them for one of its items.

    Args:
        place: a Parquet file, a folder of such, or a pattern of names.
        scratch: a folder for a file that holds the vectors in place of memory; the file has no name, and goes with the array.
        progress: show a progress bar.

    Raises:
        DataError: it is absent, damaged, not whole, or has no ``id`` and ``vector`` columns of one width and one model.
    """
    if place.is_dir() and (place / _MARKS[0]).exists() and not (place / _MARKS[1]).exists():
        raise DataError(f"{place} is not whole: it has no {_MARKS[1]}; give the command that wrote it again")
    parts = like_parts(place, {"id", "vector"})
    kind, model_hash = _checked(parts[0]), _hash_of(parts[0])
    for part in parts:
        if _hash_of(part) != model_hash:
            raise DataError(f"{part.name}: its vectors are of another model than those of {parts[0].name}: leave one out")
    ids: list[Id] = []
    vectors = room_for((sum(part.rows for part in parts), kind.list_size), scratch)
    with progress_bar(progress, "vectors", len(vectors)) as bar:
        for part, batch in ((one, batch) for one in parts for batch in one.batches({"id", "vector"}, rows=_AT_ONCE)):
            if batch["vector"].null_count or batch["vector"].flatten().null_count:
                raise _no_vectors(part)
            values = batch["vector"].flatten().to_numpy(zero_copy_only=False)
            vectors[len(ids) : len(ids) + batch.num_rows] = values.reshape(batch.num_rows, -1)
            ids += batch["id"].to_pylist()
            bar.update(batch.num_rows)
    return ids, vectors, model_hash


def _checked(part: Part) -> pa.DataType:
    names = part.schema.names
    if not {"id", "vector"} <= set(names):
        raise DataError(f"{part.name} has the columns {', '.join(names)}; wanted are id and vector, as bertrec embed writes them")
    kind = part.schema.field("vector").type
    if not pa.types.is_fixed_size_list(kind) or not pa.types.is_floating(kind.value_type):
        raise _no_vectors(part)
    return kind


def _no_vectors(part: Part) -> DataError:
    return DataError(f"{part.name}: the column vector must be a list of floats of one fixed length, as bertrec embed writes it")


def _hash_of(part: Part) -> str:
    """Return the hash of the model that made a file's vectors: of all columns' schema, or, in a part of a job, of the footer."""
    said = {**(part.metadata.metadata or {}), **(part.schema.metadata or {})}
    mark = USERS if said.get(WHAT) == b"users" else ""
    try:
        return f"{mark}{said.get(MODEL_HASH.encode(), b'').decode()}"
    except UnicodeDecodeError as error:
        raise DataError(f"{part.name}: the hash of its model is damaged") from error

"""Vectors of items and users as tables of ``id`` and ``vector``, made and read a block at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bertrec.data.one_table import Manner
    from bertrec.models.base import Recommender

Id = str | int


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
    from bertrec.data.one_table import items_like, items_of

    catalog = items_like(items_of(table, manner, what), manner.options, like=model.catalog, what=what)
    moved = model.with_catalog(catalog)
    known = moved.known_items()
    vectors = moved.item_embeddings()[known]
    ids = catalog.ids.decode(known)
    return vector_table(ids, vectors, vector_schema(vectors.shape[1], whole=all(isinstance(one, int) for one in ids)))

"""Parquet parts of ids and vectors, as ``bertrec embed`` and ``bertrec cluster encode`` write them, or damaged."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def write_part(path, ids, vectors, *, model_hash="abc", names=("id", "vector"), dtype=np.float32):
    flat = pa.array(np.ascontiguousarray(vectors, dtype).reshape(-1))
    table = pa.table([pa.array(ids), pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])], names=list(names))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"bertrec.model_hash": model_hash}), path, row_group_size=20)
    return path


def write_parts(folder, vectors, *, count=3):
    """Write items ``i0``, ``i1``, … as parts of one size, ``part-0.parquet`` first; return the folder."""
    for part, rows in enumerate(np.array_split(np.arange(len(vectors)), count)):
        write_part(folder / f"part-{part}.parquet", [f"i{row}" for row in rows], vectors[rows])
    return folder

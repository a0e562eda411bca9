"""``bertrec embed``: item or user vectors into a Parquet file, or item vectors into a RecBole data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, say
from bertrec.cli.outputs import check_files
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import item_vectors
from bertrec.core.errors import ConfigError, DataError
from bertrec.runs.data import fit_catalog, served_data
from bertrec.runs.folder import Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bertrec.data.load import Dataset

EXAMPLES = """
Examples:

bertrec embed runs/ml --what items --out items.parquet

bertrec embed runs/ml --what users --out users.parquet

bertrec embed runs/ml --what items --format recbole --out dataset/ml-100k
"""
FORMATS = ("parquet", "recbole")


@reads_data()
def embed(
    run: o.RunArgument,
    out: Annotated[Path, typer.Option(metavar="OUT", help="FILE.parquet (columns id and vector), or for recbole a FOLDER.")],
    reading: Reading,
    what: Annotated[str, typer.Option(help="items or users; a user's vector is that of the whole history.")] = "items",
    data: o.OtherData = None,
    vectors: o.Vectors = None,
    trusted: o.Classes = None,
    format_: Annotated[str, typer.Option("--format", help="parquet, or recbole: NAME.itemEmb and NAME.yaml in a folder.")] = "parquet",
    overwrite: o.Overwrite = False,
) -> None:
    """Write the vectors of RUN's items or users; the inner product of a user's and an item's is the score."""
    o.choice("kind of vector", what, ("items", "users"))
    if o.choice("format", format_, FORMATS) == "recbole" and what != "items":
        raise ConfigError("--format recbole is for --what items: users are numbers to RecBole's models, items may have vectors")
    if format_ == "parquet":
        check_files("--out", [out], overwrite=overwrite)
    place = Run(run)
    record, model = place.record(), place.load_model()
    untouched = what == "items" and data is None and vectors is None
    dataset = None if untouched else served_data(place, record, model, data, reading)
    name = _data_name(record, dataset)
    if format_ == "recbole":
        check_files("--out", _recbole_files(out, name), overwrite=overwrite)
    model = model if dataset is None else fit_catalog(model, dataset, vectors)
    if what == "items" or dataset is None:
        ids, rows = item_vectors(model)
    else:
        ids, rows = dataset.interactions.users.ids, model.user_embeddings(dataset.interactions.timed)
    if format_ == "recbole":
        out = _write_recbole(out, name, ids, rows)
    else:
        write_vectors(out, ids, rows, model_hash=model.model_hash, what=what)
    say(f"wrote {len(ids)} {what} x {rows.shape[1]} to {out}")


def write_vectors(target: Path, ids: list[str | int], vectors: npt.NDArray[np.float32], *, model_hash: str, what: str) -> None:
    """Write ``ids`` and ``vectors`` ``[n, d]`` as Parquet, atomically; what they are of and the model's hash go into its metadata."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bertrec.core.files import atomic_file

    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    table = pa.table({"id": _id_column(ids), "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])})
    with atomic_file(target) as temporary:
        pq.write_table(table.replace_schema_metadata({"bertrec.model_hash": model_hash, "bertrec.what": what}), temporary)


def read_vectors(path: Path) -> tuple[list[str | int], npt.NDArray[np.float32], str]:
    """Return ids, vectors ``[n, d]`` and the model's hash of a file that ``bertrec embed`` wrote.

    Raises:
        DataError: the file is absent, damaged, or has no ``id`` and ``vector`` columns of one width.
    """
    import numpy as np
    import pyarrow as pa

    from bertrec.data.readers.delimited import read_parquet

    table = read_parquet(path)
    if not {"id", "vector"} <= set(table.column_names):
        raise DataError(f"{path} has the columns {', '.join(table.column_names)}; wanted are id and vector, as bertrec embed writes them")
    rows = table["vector"].combine_chunks()
    if rows.null_count or not pa.types.is_fixed_size_list(rows.type) or not pa.types.is_floating(rows.type.value_type):
        raise DataError(f"{path}: the column vector must be a list of floats of one fixed length, as bertrec embed writes it")
    vectors = rows.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1).astype(np.float32)
    metadata = table.schema.metadata or {}
    try:
        return table["id"].to_pylist(), vectors, metadata.get(b"bertrec.model_hash", b"").decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the hash of its model is damaged") from error


def _recbole_files(folder: Path, name: str) -> list[Path]:
    from bertrec.recbole.export import file_name

    return [folder / f"{file_name(name)}{ending}" for ending in (".itemEmb", ".yaml")]


def _write_recbole(folder: Path, name: str, ids: list[str | int], vectors: npt.NDArray[np.float32]) -> Path:
    from bertrec.recbole.export import write_item_embeddings

    path, settings = write_item_embeddings(folder, name, ids, vectors)
    note(f"{settings} tells RecBole how to read them")
    return path


def _data_name(record: Mapping[str, Any], dataset: Dataset | None) -> str:
    return dataset.name if dataset is not None else str(record.get("manifest", {}).get("data") or Path(record["data"]).stem)


def _id_column(ids: list[str | int]) -> Any:
    import pyarrow as pa

    whole = all(isinstance(value, int) for value in ids)
    return pa.array(ids, pa.int64()) if whole else pa.array([str(value) for value in ids], pa.string())

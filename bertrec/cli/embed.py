"""``bertrec embed``: item or user vectors into a Parquet file, or item vectors into a RecBole data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, say
from bertrec.cli.outputs import check_files, check_parquet
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import item_vectors
from bertrec.core.errors import ConfigError
from bertrec.runs.data import fit_catalog, served_data
from bertrec.runs.folder import Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bertrec.data.interactions import Interactions
    from bertrec.data.load import Dataset
    from bertrec.models.base import Recommender
    from bertrec.runs.vectors import Block

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
        check_parquet("--out", out)
        check_files("--out", [out], overwrite=overwrite)
    place = Run(run)
    record, model = place.record(), place.load_model()
    untouched = what == "items" and data is None and vectors is None
    dataset = None if untouched else served_data(place, record, model, data, reading)
    name = _data_name(record, dataset)
    if format_ == "recbole":
        check_files("--out", _recbole_files(out, name), overwrite=overwrite)
    model = model if dataset is None else fit_catalog(model, dataset, vectors)
    if format_ == "recbole":
        ids, rows = item_vectors(model)
        out, count = _write_recbole(out, name, ids, rows), len(ids)
    else:
        users = None if what == "items" or dataset is None else dataset.interactions
        count = _write_parquet(out, model, users, what)
    say(f"wrote {count} {what} x {model.item_embeddings().shape[1]} to {out}")


def _write_parquet(out: Path, model: Recommender, users: Interactions | None, what: str) -> int:
    """Write the vectors of users, a block at a time, or of the items; return how many."""
    from bertrec.runs.lists import all_whole
    from bertrec.runs.vectors import vector_schema, write_vectors

    ids, vectors = item_vectors(model) if users is None else (users.users.ids, None)
    schema = vector_schema(model.item_embeddings().shape[1], whole=all_whole(ids))
    blocks = iter([(ids, vectors)]) if vectors is not None else _user_blocks(model, users) if users is not None else iter([])
    write_vectors(out, blocks, schema, model_hash=model.model_hash, what=what)
    return len(ids)


def _user_blocks(model: Recommender, users: Interactions) -> Iterator[Block]:
    for start in range(0, len(users.users), model.users_at_once):
        part = users.timed.slice(start, min(start + model.users_at_once, len(users.users)))
        yield users.users.ids[start : start + len(part)], model.user_embeddings(part)


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

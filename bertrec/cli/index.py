"""``bertrec index``: build a FAISS index of a run's items and change it afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, print_table, say
from bertrec.cli.outputs import check_folder
from bertrec.cli.runs import item_vectors
from bertrec.core.errors import BertrecError, ConfigError, IndexFileError
from bertrec.core.known_ids import known_id
from bertrec.runs.data import manner_of
from bertrec.runs.folder import Run
from bertrec.runs.indexes import check_there, open_index

if TYPE_CHECKING:
    from bertrec.retrieval.index import ItemIndex

VectorSource = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A folder of bertrec train or cluster encode, a .parquet of bertrec embed, or a RecBole checkpoint (.pth).",
    ),
]
Out = Annotated[Path, typer.Option(metavar="INDEX", help="Where to save the index.")]
TrustPickle = Annotated[bool, typer.Option("--trust-pickle", help="Read a RecBole checkpoint, which may run whatever code is in it.")]
Metric = Annotated[str | None, typer.Option(help="inner_product (the model's own score, the default) or cosine.")]
KINDS = ("auto", "flat", "ivf", "hnsw", "ivfpq")
METRICS = ("inner_product", "cosine")
IndexArgument = Annotated[Path, typer.Argument(metavar="INDEX", help="An index made by bertrec index build.")]
IdsFile = Annotated[Path | None, typer.Option(metavar="F", help="A file with one id per line.")]

app = typer.Typer(
    help="Build a FAISS index of a run's items, look into it, change it.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec index build runs/ml --out runs/ml.index

bertrec index build saved/LightGCN.pth --trust-pickle --out lightgcn.index

bertrec index build runs/ml --config tuned-index/best.yaml --out runs/ml.index

bertrec index train vectors/ --items 10000000 --out trained.index --kind ivfpq

bertrec index build vectors/part-00000.parquet --like trained.index --out shard-0.index

bertrec index merge shard-0.index shard-1.index --out whole.index

bertrec index info runs/ml.index

bertrec index add runs/ml.index --run runs/text --items new-items.csv

bertrec index add runs/images.index --run runs/images --items new-items.csv --vectors new-items.parquet

bertrec index remove runs/ml.index --id 42 --id 43

bertrec index compact runs/ml.index
""",
)


@app.command(epilog="Example: bertrec index build runs/ml --out runs/ml.index --kind hnsw")
def build(
    run: VectorSource,
    out: Out,
    kind: Annotated[str | None, typer.Option(help=f"{', '.join(KINDS)} (default auto: flat below 200,000 items).")] = None,
    metric: Metric = None,
    like: Annotated[
        Path | None,
        typer.Option(metavar="TRAINED", help="Build a shard: kind, settings and training of this index, so that index merge can join it."),
    ] = None,
    trusted: o.Classes = None,
    config: o.SettingsFile = None,
    set_: o.Settings = None,
    overwrite: o.Overwrite = False,
    trust_pickle: TrustPickle = False,
) -> None:
    """Build an index of RUN's items and measure its recall against exact search.

    A RecBole checkpoint is a pickle: reading it runs what is in it, so it is read with --trust-pickle alone.
    """
    from bertrec.retrieval.index import ItemIndex

    _check_target(out, overwrite=overwrite)
    settings = _settings(kind, metric, config, set_)
    if like is not None and settings:
        raise ConfigError(f"--like takes kind, metric and settings from {like}: leave out --kind, --metric, --config and --set")
    opened = None if like is None else open_index(like, mmap=True)
    ids, vectors, model_hash = _items(run, out.absolute().parent, trust_pickle=trust_pickle)
    how: dict[str, Any] = {"model_hash": model_hash, "copy": False, "progress": True}
    index = ItemIndex.build(vectors, ids, **how, **settings) if opened is None else opened.shard(vectors, ids, **how)
    index.save(out)
    _print_info(index, out)


@app.command(epilog="Example: bertrec index train vectors/ --items 10000000 --out trained.index --kind ivfpq")
def train(
    run: VectorSource,
    out: Out,
    items: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Items of all shards together, which the number of lists follows (default: those of RUN)."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="ivf (default) or ivfpq.")] = None,
    metric: Metric = None,
    trusted: o.Classes = None,
    config: o.SettingsFile = None,
    set_: o.Settings = None,
    overwrite: o.Overwrite = False,
    trust_pickle: TrustPickle = False,
) -> None:
    """Train an index on RUN's items and leave it empty: bertrec index build --like makes shards of it, bertrec index merge joins them."""
    from bertrec.retrieval.index import ItemIndex

    _check_target(out, overwrite=overwrite)
    settings = _settings(kind, metric, config, set_)
    _, vectors, model_hash = _items(run, out.absolute().parent, trust_pickle=trust_pickle)
    index = ItemIndex.trained(vectors, items=items, model_hash=model_hash, **settings)
    index.save(out)
    _print_info(index, out)


@app.command(epilog="Example: bertrec index merge shard-0.index shard-1.index --out whole.index")
def merge(
    shards: Annotated[list[Path], typer.Argument(metavar="SHARD…", help="Indexes of bertrec index build --like, or flat ones.")],
    out: Out,
    on_disk: Annotated[
        bool, typer.Option("--on-disk", help="Join lists and codes (ivf, ivfpq) in files beside INDEX: memory holds the ids alone.")
    ] = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Join shards into one index, in the order given, and measure its recall against exact search."""
    from bertrec.retrieval.index import ItemIndex

    _check_target(out, overwrite=overwrite)
    folder = out.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    index = ItemIndex.merged(shards, scratch=folder, on_disk=on_disk, progress=True)
    index.save(out)
    _print_info(index, out)


@app.command(epilog="Example: bertrec index info runs/ml.index")
def info(index: IndexArgument) -> None:
    """Show what an index holds."""
    _print_info(open_index(index), index)


@app.command(epilog="Example: bertrec index add runs/ml.index --vectors new-items.parquet")
def add(
    index: IndexArgument,
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="The run that embeds --items: the one the index was built from.")] = None,
    trusted: o.Classes = None,
    items: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="A table of new items: item_id and the text columns. They are in the index alone, without titles: "
            "bertrec catalog update takes them into the run too.",
        ),
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Or vectors written by bertrec embed; beside --run and --items, the items' vectors for a run trained with --vectors.",
        ),
    ] = None,
) -> None:
    """Add items, without building the index anew."""
    from bertrec.retrieval.index import ItemIndex
    from bertrec.runs.vectors import USERS

    if (vectors is None and items is None) or (items is not None) != (run is not None):
        raise BertrecError("give --run RUN with --items TABLE, or --vectors FILE.parquet")
    check_there(index)
    new_ids, rows, model_hash = _embedded(Run(run), items, vectors) if run and items else _stored(vectors)
    with ItemIndex.changing(index) as opened:
        if model_hash.startswith(USERS) and not opened.model_hash.startswith(USERS):
            raise IndexFileError(f"{vectors} holds vectors of users, and {index} items: write those of items with  bertrec embed RUN")
        if opened.model_hash and model_hash and opened.model_hash != model_hash:
            raise IndexFileError(f"{index} was built from another model: its vectors and the new ones cannot be compared")
        opened.add(rows, _as_in(opened, new_ids))
    say(f"added {len(new_ids)} items")
    _print_info(opened, index)


@app.command(epilog="Example: bertrec index remove runs/ml.index --id 42 --id 43")
def remove(
    index: IndexArgument,
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="An item's id; repeat for more.")] = None,
    ids_file: IdsFile = None,
) -> None:
    """Remove items, without building the index anew."""
    from bertrec.retrieval.index import ItemIndex

    check_there(index)
    with ItemIndex.changing(index) as opened:
        known = set(opened.ids)
        wanted = [known_id(value, known) for value in ids or []] + (o.listed_ids(ids_file, known) if ids_file else [])
        if not wanted:
            raise BertrecError("name the items to remove with --id ID or --ids-file F")
        opened.remove(wanted)
    say(f"removed {len(wanted)} items")
    _print_info(opened, index)


@app.command(epilog="Example: bertrec index compact runs/ml.index")
def compact(index: IndexArgument) -> None:
    """Build the index anew without the items that were only marked as removed."""
    from bertrec.retrieval.index import ItemIndex

    check_there(index)
    with ItemIndex.changing(index) as opened:
        opened.compact()
    _print_info(opened, index)


def _check_target(out: Path, *, overwrite: bool) -> None:
    from bertrec.retrieval.storage import FAISS, META

    check_folder(out, markers=[META, FAISS], holds="an index", overwrite=overwrite)


def _settings(kind: str | None, metric: str | None, config: Path | None, set_: list[str] | None) -> dict[str, Any]:
    from bertrec.retrieval.parameters import IndexConfig

    given = {"kind": kind and o.choice("index kind", kind, KINDS), "metric": metric and o.choice("metric", metric, METRICS)}
    settings = o.read_settings(config, set_ or []) | {name: value for name, value in given.items() if value is not None}
    IndexConfig.from_dict(settings)
    return settings


def _items(place: Path, scratch: Path, *, trust_pickle: bool) -> tuple[list[str | int], Any, str]:
    from bertrec.runs.vectors import read_vectors

    if place.suffix == ".pth" and not place.is_dir():
        return _checkpoint_items(place, trust_pickle=trust_pickle)
    if not _holds_vectors(place) if place.is_dir() else place.suffix != ".parquet":
        return _run_items(Run(place))
    scratch.mkdir(parents=True, exist_ok=True)
    return read_vectors(place, scratch=scratch, progress=True)


def _holds_vectors(folder: Path) -> bool:
    """Say whether a folder is what ``bertrec cluster encode`` writes, and no run."""
    from bertrec.data.readers.parts import has_parts

    return not Run(folder).finished and not Run(folder).pending and has_parts(folder)


def _run_items(run: Run) -> tuple[list[str | int], Any, str]:
    model = run.load_model()
    return *item_vectors(model), model.model_hash


def _checkpoint_items(path: Path, *, trust_pickle: bool) -> tuple[list[str | int], Any, str]:
    from bertrec.core.files import sha256_file
    from bertrec.recbole.export import recbole_item_vectors

    ids, vectors = recbole_item_vectors(path, trust_pickle=trust_pickle)
    return [*ids], vectors, f"recbole:{sha256_file(path)}"  # so that no run of ours takes the index for its own


def _stored(path: Path | None) -> tuple[list[str | int], Any, str]:
    from bertrec.runs.vectors import read_vectors

    if path is None:
        raise BertrecError("give --vectors FILE.parquet")
    return read_vectors(path)


def _embedded(run: Run, table: Path, vectors: Path | None) -> tuple[list[str | int], Any, str]:
    from bertrec.data.one_table import read_items

    record, model = run.record(), run.load_model()
    if vectors is not None:
        model.add_vectors(vectors)
    least = 0 if model.takes_vectors else 1
    catalog = read_items(table, manner_of(record, None, {}), like=model.catalog, least=least)
    note(f"embedding {len(catalog)} items from {vectors or ', '.join(catalog.fields)}")
    how = f"--items {table}" + ("" if vectors is None else f" --vectors {vectors}")
    mend = f"bertrec catalog update {run.folder} {how} --delta --index INDEX"
    inner = model.catalog.ids.encode(catalog.ids.ids)
    if new := int((inner == 0).sum()):
        note(f"note: {run.folder} does not know {new} of them: with  {mend}  it would")
    if gone := int((~model.catalog.listed[inner[inner > 0]]).sum()):
        note(f"note: {gone} of them have vanished from {run.folder}: no list of it holds them; {mend}  brings them back")
    return *item_vectors(model.with_catalog(catalog)), model.model_hash


def _as_in(index: ItemIndex, ids: list[str | int]) -> list[str | int]:
    """A CSV file holds numbers as text: where the index knows its items by whole numbers, so do the new ones."""
    from bertrec.data.changes import ids_like
    from bertrec.data.ids import IdMap

    return ids_like(IdMap(ids), IdMap(index.ids)).ids


def _print_info(index: ItemIndex, path: Path) -> None:
    print_table(str(path), ["property", "value"], [[name, _shown(value)] for name, value in index.info().items()])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)

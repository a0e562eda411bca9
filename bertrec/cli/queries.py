"""``bertrec queries``: words in, items out, by a tower that learned from pairs of a query and its item."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, note_each, print_comparison, protocol_line, say
from bertrec.cli.outputs import check_files, check_folder
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import data_record
from bertrec.runs.data import load_data

if TYPE_CHECKING:
    from bertrec.models.queries.config import QueryConfig

MARKER = "config.json"
app = typer.Typer(
    help="Words in, items out: train a tower on pairs of a query and the item that answers it, and measure it.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec queries make data/films --fields genres,director --phrase overview --out pairs.parquet

bertrec queries train data/films --pairs pairs.parquet --out runs/queries

bertrec queries evaluate runs/queries --pairs pairs.parquet --json figures.json

bertrec search runs/films "a thriller by a Danish director" --queries runs/queries
""",
)
QueryRun = Annotated[Path, typer.Argument(metavar="QRUN", help="A folder made by bertrec queries train.")]
Pairs = Annotated[
    Path,
    typer.Option(
        "--pairs", metavar="FILE", help="A table with the columns query and item_id, perhaps split and phrase: CSV, TSV, JSONL, Parquet."
    ),
]
DEALT = "Of the parts into which items are dealt, where the table has no column split"
Seed = Annotated[int, typer.Option(min=0, help=f"Of the training; {DEALT[0].lower()}{DEALT[1:]}.")]


@app.command("make", epilog="Example: bertrec queries make data/films --fields genres,director --phrase overview --out pairs.parquet")
@reads_data()
def make(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="What to write: .parquet or .jsonl.")],
    reading: Reading,
    fields: Annotated[str, typer.Option(metavar="NAME,…", help="Text fields whose values stand in each query.")] = "",
    phrase: Annotated[
        str | None, typer.Option(metavar="NAME", help="The text field of a phrase, which is taken out of what is indexed.")
    ] = None,
    phrase_words: Annotated[int, typer.Option(min=1, help="Words of the phrase.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of the phrases' places and of the parts.")] = 0,
    overwrite: o.Overwrite = False,
) -> None:
    """Make queries of what the items of DATA say, for data without queries.

    Items are dealt into train, valid and test (8 to 1 to 1), so that no test item is in a training pair.
    """
    from bertrec.models.queries.make import make_pairs
    from bertrec.models.queries.pairs import check_written

    check_files("--out", [out], overwrite=overwrite)
    check_written(out)
    dataset = load_data({**data_record(data), "load": reading})
    names = [name.strip() for name in fields.split(",") if name.strip()]
    pairs = make_pairs(dataset.catalog, names, phrase=phrase, words=phrase_words, seed=seed)
    pairs.write(out)
    note_each(pairs.notes)
    say(f"wrote {out}: {', '.join(f'{count} {name}' for name, count in pairs.counts.items())}")


@app.command(
    "train",
    epilog="""
Examples:

bertrec queries train data/films --pairs pairs.parquet --out runs/queries

bertrec queries train data/films --pairs pairs.parquet --set adapter=mlp --set hard_negatives=8 --out runs/queries
--resume
""",
)
@reads_data()
def train(
    data: o.DataArgument,
    pairs: Pairs,
    out: Annotated[Path, typer.Option(metavar="QRUN", help="The folder to make.")],
    reading: Reading,
    seed: Seed = 0,
    config: o.SettingsFile = None,
    set_: o.Settings = None,
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Train a query tower over the items of DATA.

    The valid part of the pairs chooses the epoch. See bertrec settings queries.
    """
    from bertrec.models.queries.pairs import read_pairs
    from bertrec.models.queries.train import train_tower
    from bertrec.rankers.unfinished import check_unfinished, training_beside

    check_folder(out, markers=[MARKER], holds="a model", overwrite=overwrite or resume)
    check_unfinished(out, overwrite=overwrite, resume=resume)
    chosen = _config(o.read_settings(config, set_ or []), seed)
    record = {**data_record(data), "load": reading}
    dataset = load_data(record)
    read = read_pairs(pairs, dataset.catalog, seed=seed)
    note_each([*dataset.notes, *read.notes])
    plan = {**record, "pairs": str(pairs), "pairs_hash": read.content_hash, "catalog_hash": dataset.catalog.content_hash}
    plan["settings"] = _kept_settings(chosen)
    with training_beside(out, plan, resume=resume, say=note) as work:
        tower = train_tower(read, chosen, run_dir=work.folder, resume=resume, say=say)
        tower.about |= {"data": dataset.name, "data_hash": dataset.content_hash}
        tower.save_pretrained(out)
    work.drop()
    say(f'wrote {out}: bertrec search RUN "WORDS" --queries {out}')


def _config(settings: dict[str, Any], seed: int) -> QueryConfig:
    from bertrec.models.queries.config import QueryConfig

    return QueryConfig().updated({"train.seed": seed} | settings)


def _kept_settings(config: QueryConfig) -> dict[str, Any]:
    """Return the settings that a training that goes on must have in common with the one that was cut short."""
    from bertrec.training.fit import FREE_SETTINGS

    return {name: value for name, value in config.to_flat().items() if name.removeprefix("train.") not in FREE_SETTINGS}


@app.command("evaluate", epilog="Example: bertrec queries evaluate runs/queries --pairs pairs.parquet --split test --json figures.json")
def evaluate(
    run: QueryRun,
    pairs: Pairs,
    split: Annotated[str, typer.Option(help="Which part of the pairs: train, valid or test.")] = "test",
    seed: Annotated[int | None, typer.Option(min=0, help=f"{DEALT}; as in training where it is left out.")] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap samples behind each interval.")] = 1000,
    trusted: o.Classes = None,
    json_out: o.Json = None,
) -> None:
    """Measure QRUN on pairs: Recall@1, @10, @50 and MRR over all items.

    Beside it stand BM25, the untrained encoder, what joins them, and chance.
    """
    from bertrec.models.queries.evaluate import METRICS, measure_tower
    from bertrec.models.queries.pairs import PARTS, read_pairs
    from bertrec.models.queries.tower import QueryTower

    o.choice("split", split, PARTS)
    tower = QueryTower.from_pretrained(run)
    dealt_by = tower.about.get("dealt_by") if seed is None else seed
    read = read_pairs(pairs, tower.catalog, seed=dealt_by or 0)
    note_each(read.notes)
    if seed is not None and read.dealt_by is None:
        note(f"note: {pairs} names its parts in the column split: --seed {seed} changes nothing")
    if read.dealt_by is not None and read.content_hash != tower.about.get("pairs_hash"):
        note(f"note: {run} did not learn from these parts of these pairs: it may have learned from items of the part {split}")
    measured = measure_tower(tower, read, split, bootstrap=bootstrap)
    figures = measured.to_json()
    print_comparison(f"{run}: {split} of {pairs}", figures["models"], METRICS)
    for one in measured.comparisons:
        if sum("tower" in name for name in one.names) == 1:  # what the tower changes
            say(f"MRR of {' − '.join(one.names)}: {one.difference:+.4f} [{one.ci95[0]:+.4f}, {one.ci95[1]:+.4f}], {one.verdict}")
    say(protocol_line(figures["protocol"]))
    if json_out is not None:
        from bertrec.core.files import write_json

        write_json(json_out, figures)
        note(f"wrote {json_out}")


@app.command("index", epilog="Example: bertrec queries index runs/queries --run runs/films --kind hnsw --out runs/queries.index")
def index(
    run: QueryRun,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The index to make.")],
    served: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="Over the items of this run, as bertrec search has them.")
    ] = None,
    kind: Annotated[str, typer.Option(help="flat, ivf, hnsw, ivfpq, or auto.")] = "auto",
    trusted: o.Classes = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Build a FAISS index of the items of QRUN for bertrec search --index.

    Its scores are the inner products of training.
    """
    from bertrec.models.queries.tower import QueryTower
    from bertrec.retrieval.storage import FAISS, META
    from bertrec.runs.folder import Run

    check_folder(out, markers=[META, FAISS], holds="an index", overwrite=overwrite)
    tower = QueryTower.from_pretrained(run)
    tower = tower if served is None else tower.over(Run(served).load_model().catalog)
    built = tower.index(kind=kind)
    built.save(out)
    say(f"wrote {out}: {len(built)} items, {built.kind}")

"""``bertrec rankers``: train a ranker on impressions, measure it, and score with it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, note_each, print_figures, print_table, protocol_line, say
from bertrec.cli.outputs import check_files
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import data_record
from bertrec.core.errors import ConfigError, DataError
from bertrec.runs.data import data_for, load_data

if TYPE_CHECKING:
    from bertrec.data.impressions import Impressions
    from bertrec.data.load import Dataset
    from bertrec.rankers.context import Known
    from bertrec.rankers.ensemble import Ensemble
    from bertrec.rankers.runs import RankerPlan

PARTS = ("train", "valid", "test")
app = typer.Typer(
    help="Score given candidates: train a ranker on impressions, measure it, score with it.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec rankers list

bertrec rankers train data/mind --ranker nrms --out runs/nrms

bertrec rankers train data/mind --ranker my_package.mine:MyRanker --set depth=2 --out runs/mine

bertrec rankers evaluate runs/nrms --split test --json figures.json

bertrec rankers evaluate runs/seed-0 runs/seed-1 runs/seed-2 --members

bertrec rankers score runs/nrms --split test --submission prediction.txt
""",
)
Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN…", help="A run of rankers or of prompts; several, such as three seeds', make an ensemble."),
]
TEXT_TEMPLATE = {"template": "--text-template"}  # --template is a prompt's
Seed = Annotated[int, typer.Option(min=0, help="Of the share that chooses the epoch and of the training.")]
ValidationShare = Annotated[
    float, typer.Option(min=0, max=0.9, help="Share of the training impressions that chooses the epoch; 0 takes the valid part.")
]


@app.command("list")
def list_rankers() -> None:
    """List the rankers by name, those of installed packages among them."""
    from bertrec.rankers.names import RANKERS

    rows = [[name, _first_line(name)] for name in RANKERS.names()]
    print_table("", ["ranker", "what it is"], rows)


def _first_line(name: str) -> str:
    """Return what a ranker says of itself, or why it cannot be imported."""
    from bertrec.rankers.names import RANKERS

    try:
        return next(iter((RANKERS.find(name).__doc__ or "").strip().splitlines()), "")
    except ConfigError as error:
        return str(error)


@app.command("train", epilog="Example: bertrec rankers train data/mind --ranker nrms --set max_history=30 --out runs/nrms")
@reads_data(spelled=TEXT_TEMPLATE)
def train(
    data: o.DataArgument,
    ranker: Annotated[
        str, typer.Option(metavar="NAME", help="A name of bertrec rankers list, or a class of your own as package.module:Class.")
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The folder to make.")],
    reading: Reading,
    set_: o.Settings = None,
    config: o.SettingsFile = None,
    validation_share: ValidationShare = 0.2,
    seed: Seed = 0,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
) -> None:
    """Train a ranker on the impressions of DATA (on sampled ones where DATA has interactions) into the folder RUN."""
    from bertrec.rankers.runs import RankerPlan

    plan = RankerPlan(ranker, o.read_settings(config, set_ or []), validation_share=validation_share, seed=seed)
    plan.check(out, overwrite=overwrite, resume=resume)
    train_into(out, plan, load(data, reading), data, reading, overwrite=overwrite, resume=resume)


def train_into(out: Path, plan: RankerPlan, dataset: Dataset, data: str, reading: dict[str, Any], **how: bool) -> None:
    """Carry out a plan and say how long it took."""
    from bertrec.rankers.runs import train_rankers

    started = time.perf_counter()
    train_rankers(dataset, plan, out, about={**data_record(data), "load": reading}, say=note, **how)
    say(f"trained in {time.perf_counter() - started:.0f} s")
    say(f"run: {out}")


@app.command("evaluate", epilog="Example: bertrec rankers evaluate runs/nrms --split test --json figures.json")
@reads_data(spelled=TEXT_TEMPLATE)
def evaluate(
    run: Runs,
    reading: Reading,
    data: o.OtherData = None,
    split: Annotated[str, typer.Option(help="Which part: train, valid or test.")] = "test",
    members: Annotated[bool, typer.Option("--members", help="Measure each ranker of an ensemble too, and compare them in pairs.")] = False,
    bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap samples behind each interval.")] = 1000,
    trusted: o.Classes = None,
    json_out: o.Json = None,
) -> None:
    """Measure RUN, or several as an ensemble, on impressions: AUC, MRR, nDCG@5 and nDCG@10, each a mean over impressions."""
    from bertrec.rankers.runs import TOGETHER, measure_rankers

    ensemble, shown, about, known = _open(run, data, split, reading)
    results = measure_rankers(ensemble, shown, bootstrap=bootstrap, members=members, known=known, info=about)
    for name, report in results.reports.items():
        print_figures(f"{', '.join(map(str, run))}: {split}: {name}", report.to_json(), ["AUC", "MRR", "nDCG@5", "nDCG@10"])
    for line in results.comparisons:
        say(line)
    figures = results.reports[TOGETHER].to_json()
    say(protocol_line(figures["protocol"]))
    if json_out is not None:
        from bertrec.core.files import write_json

        write_json(json_out, figures | ({"members": {n: r.to_json() for n, r in results.reports.items()}} if members else {}))
        note(f"wrote {json_out}")


@app.command("score", epilog="Example: bertrec rankers score runs/nrms --data data/mind --split test --submission prediction.txt")
@reads_data(spelled=TEXT_TEMPLATE)
def score(
    run: Runs,
    submission: Annotated[Path, typer.Option(metavar="FILE", help="MIND's format: a line per impression, the rank of each candidate.")],
    reading: Reading,
    data: o.OtherData = None,
    split: Annotated[str, typer.Option(help="Which part: train, valid or test.")] = "test",
    trusted: o.Classes = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file where it is there.")] = False,
) -> None:
    """Rank the candidates of impressions, with labels or without, and write MIND's submission file."""
    from bertrec.data.submission import write_submission

    check_files("--submission", [submission], overwrite=overwrite)
    ensemble, shown, _, known = _open(run, data, split, reading)
    if ensemble.head_note:
        note(f"note: {ensemble.head_note}")
    if lost := [line for line in shown.notes if "dropped" in line and "candidate" in line]:
        raise DataError(f"{lost[0]}: a submission must rank every candidate: add these items to news.tsv")
    scores = ensemble.score_impressions(shown, known=known, progress=True)
    write_submission(submission, shown.ids, scores, shown.candidates.offsets)
    say(f"wrote {submission}: {len(shown)} impressions, {len(shown.candidates.values)} candidates")


def _open(runs: list[Path], data: str | None, part: str, reading: Reading) -> tuple[Ensemble, Impressions, dict[str, Any], Known]:
    """Return the rankers of the runs over the items of the data, the impressions, which these are, and what is known of their users.

    Data are read as for training.
    """
    from bertrec.rankers.context import Known
    from bertrec.rankers.runs import open_rankers

    o.choice("split", part, PARTS)
    ensemble, records = open_rankers(*runs)
    record = records[0]
    if data is None and len({one.get("data_hash") for one in records}) > 1:
        note(f"note: the runs were trained on different data: measured on those of {runs[0]}; --data names others")
    dataset = data_for(record, data, reading)
    note_each(dataset.notes)
    shown = _part(dataset, part)
    ensemble.prepare(shown.catalog)
    about = {"data": dataset.name, "data_hash": dataset.content_hash, "split": part, "notes": list(shown.notes)}
    return ensemble, shown, about, Known.of(dataset)


def load(data: str, options: dict[str, Any]) -> Dataset:
    """Read data and print what is to be said of them."""
    dataset = load_data({"data": data, "load": options})
    note_each(dataset.notes)
    return dataset


def _part(dataset: Dataset, name: str) -> Impressions:
    if not dataset.impressions:
        hint = "bertrec rerank train and evaluate measure a ranker on the lists of a run"
        raise ConfigError(f"{dataset.name} has no {name} impressions, and no others: {hint}")
    if name not in dataset.impressions:
        have = ", ".join(dataset.impressions) or "none"
        raise ConfigError(f"{dataset.name} has no {name} impressions (it has: {have})")
    return dataset.impressions[name]

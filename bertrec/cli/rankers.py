"""``bertrec rankers``: train a ranker on impressions, measure it, and score with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, note_each, print_figures, print_table, protocol_line, say
from bertrec.cli.outputs import check_files, check_parquet
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import data_record
from bertrec.core.errors import ConfigError, DataError
from bertrec.runs.data import data_for, load_data

if TYPE_CHECKING:
    from bertrec.data.impressions import Impressions
    from bertrec.data.interactions import Interactions
    from bertrec.data.load import Dataset
    from bertrec.rankers.calibration import Calibration
    from bertrec.rankers.context import Known
    from bertrec.rankers.ensemble import Ensemble
    from bertrec.rankers.pair_runs import JudgedPairs
    from bertrec.rankers.runs import Measured, RankerPlan

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

bertrec rankers train ml-100k --ranker bias-text --pairs ratings --calibrate temperature --out runs/bias-text

bertrec rankers evaluate runs/bias-text --reliability reliability.svg
""",
)
Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN…", help="A run of rankers or of prompts; several, such as three seeds', make an ensemble."),
]
TEXT_TEMPLATE = {"template": "--text-template"}  # --template is a prompt's
Seed = Annotated[int, typer.Option(min=0, help="Of the share that chooses the epoch and of the training.")]
ValidationShare = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=0.9,
        help="Share of the training impressions that chooses the epoch (default 0.2); 0 takes the valid part. Not of rated pairs.",
    ),
]
LikedFrom = Annotated[float | None, typer.Option(help="Lowest rating of an item that the user likes, with --pairs ratings (default 4).")]
Pairs = Annotated[
    str | None,
    typer.Option(help="ratings: train on rated pairs, liked or not, of the first 80 % of time; the next 10 % choose the epoch."),
]
Shots = Annotated[
    int | None,
    typer.Option(min=1, help="Train on so many rated pairs alone, drawn by --seed (16 are among 64); the last epoch is kept."),
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
    validation_share: ValidationShare = None,
    seed: Seed = 0,
    pairs: Pairs = None,
    liked_from: LikedFrom = None,
    shots: Shots = None,
    calibrate: Annotated[
        str,
        typer.Option(help="Make scores probabilities by what chose the epoch: none, temperature, platt (with a shift) or isotonic."),
    ] = "none",
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
) -> None:
    """Train a ranker on the impressions of DATA (on sampled ones where DATA has interactions) into the folder RUN."""
    from bertrec.rankers.runs import RankerPlan

    plan = RankerPlan(
        ranker,
        o.read_settings(config, set_ or []),
        seed=seed,
        calibrate=calibrate,
        **learned_pairs(pairs, liked_from, shots, share=validation_share),
    )
    plan.check(out, overwrite=overwrite, resume=resume)
    train_into(out, plan, load(data, reading), data, reading, overwrite=overwrite, resume=resume)


def learned_pairs(pairs: str | None, liked_from: float | None, shots: int | None, *, share: float | None) -> dict[str, Any]:
    """Return what a plan is told of rated pairs, some of which shots are, and of the share of clicks that chooses the epoch.

    Raises:
        ConfigError: ``liked_from`` without pairs, or ``share`` with them.
    """
    from bertrec.data.ratings import LIKED_FROM
    from bertrec.rankers.runs import RATINGS

    kind = RATINGS if pairs is None and shots is not None else pairs
    if liked_from is not None and kind is None:
        raise ConfigError("--liked-from goes with --pairs ratings")
    if share is not None and kind == RATINGS:
        why = "no pair chooses the epoch with --shots" if shots is not None else "a tenth of time chooses the epoch with --pairs ratings"
        raise ConfigError(f"--validation-share is of clicks, and {why}: leave it out")
    told = {} if share is None else {"validation_share": share}
    return {"pairs": kind, "liked_from": LIKED_FROM if liked_from is None else liked_from, "shots": shots, **told}


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
    pairs: Annotated[
        str | None,
        typer.Option(help="Measure labelled pairs: ratings, or clicks (all candidates of impressions); default: as the run was trained."),
    ] = None,
    liked_from: LikedFrom = None,
    bins: Annotated[
        str | None, typer.Option(help="Bins of the calibration error of pairs: of equal width (default), or mass (numbers of pairs).")
    ] = None,
    reliability: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the share of label 1 against the probability, for pairs.")
    ] = None,
    members: Annotated[bool, typer.Option("--members", help="Measure each ranker of an ensemble too, and compare them in pairs.")] = False,
    bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap samples behind each interval.")] = 1000,
    trusted: o.Classes = None,
    json_out: o.Json = None,
) -> None:
    """Measure RUN, or several as an ensemble, on impressions, or on labelled pairs.

    On impressions: AUC, MRR, nDCG@5 and nDCG@10, each a mean over impressions. On pairs: AUC, UAUC, logloss, ECE, RMSE
        and MAE.
    """
    from bertrec.evaluation.impressions import IMPRESSION_METRICS
    from bertrec.rankers.runs import measure_rankers

    _check_drawing(reliability)
    o.choice("kind of bins", bins or "width", ("width", "mass"))
    opened = _Opened.of(run, data, reading)
    kind = opened.pairs_of(pairs, liked_from)
    if members and len(opened.ensemble.members) == 1:
        note("note: --members: there is one ranker, and its figures are those of the run")
    how: dict[str, Any] = {"bootstrap": bootstrap, "members": members, "known": opened.known}
    if kind is None:
        if (lost := "--reliability" if reliability is not None else "--bins" if bins is not None else None) is not None:
            raise ConfigError(f"{lost} is of labelled pairs: add --pairs clicks")
        shown = opened.shown(split)
        results = measure_rankers(opened.ensemble, shown, info=opened.about(split, shown), **how)
    else:
        if reliability is not None and not opened.gives_probabilities:
            raise ConfigError("--reliability needs probabilities, and these scores are none: train with --calibrate temperature")
        results = _on_pairs(opened, kind, split, liked_from, bins or "width", how)
    title = f"{', '.join(map(str, run))}: {split}"
    _print_results(title, results, list(IMPRESSION_METRICS) if kind is None else None)
    if reliability is not None:
        _draw(reliability, results)
    if json_out is not None:
        _write_figures(json_out, results, members=members, pairs=kind is not None)


def _print_results(title: str, results: Measured, metrics: list[str] | None) -> None:
    """Print a table of each report, its metrics or those of its first slice, and how they were measured."""
    from bertrec.rankers.runs import TOGETHER

    for name, report in results.reports.items():
        figures = report.to_json()
        print_figures(f"{title}: {name}", figures, metrics or list(figures["slices"]["all"]["metrics"]))
    for line in results.comparisons:
        say(line)
    say(protocol_line(results.reports[TOGETHER].protocol))


def _write_figures(path: Path, results: Measured, *, members: bool, pairs: bool) -> None:
    from bertrec.core.files import write_json
    from bertrec.rankers.pair_runs import reliability_json
    from bertrec.rankers.runs import TOGETHER

    figures = results.reports[TOGETHER].to_json()
    if pairs:
        figures["reliability"] = reliability_json(results.bins)
    if members:
        figures["members"] = {name: report.to_json() for name, report in results.reports.items()}
    write_json(path, figures)
    note(f"wrote {path}")


def _check_drawing(path: Path | None) -> None:
    """See, before any work, that a drawing may be written; a former one is replaced."""
    if path is None:
        return
    if path.is_dir() or path.suffix != ".svg":
        raise ConfigError(f"--reliability {path}: give the name of a file that ends with .svg")
    from bertrec.pages.charts import svg_style

    with svg_style():  # says where matplotlib is missing
        pass


def _on_pairs(opened: _Opened, kind: str, split: str, liked_from: float | None, bins: str, how: dict[str, Any]) -> Measured:
    from bertrec.rankers.pair_runs import measure_pairs

    judged = opened.judged(kind, split, liked_from)
    equal: Any = bins
    about = opened.about(split, judged.impressions, judged.past)
    return measure_pairs(opened.ensemble, judged, opened.calibrations, equal=equal, info=about, **how)


def _draw(path: Path, results: Measured) -> None:
    from bertrec.core.files import atomic_file
    from bertrec.evaluation.reliability import reliability_svg

    drawn = reliability_svg(results.bins)
    with atomic_file(path) as temporary:
        temporary.write_bytes(drawn)
    note(f"wrote {path}")


@app.command("score", epilog="Example: bertrec rankers score runs/nrms --data data/mind --split test --submission prediction.txt")
@reads_data(spelled=TEXT_TEMPLATE)
def score(
    run: Runs,
    reading: Reading,
    submission: Annotated[
        Path | None, typer.Option(metavar="FILE", help="MIND's format: a line per impression, the rank of each candidate.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(metavar="FILE.parquet", help="A row per candidate with score, and probability where there is one.")
    ] = None,
    data: o.OtherData = None,
    split: Annotated[str, typer.Option(help="Which part: train, valid or test.")] = "test",
    trusted: o.Classes = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file where it is there.")] = False,
) -> None:
    """Score the candidates of impressions, with labels or without, into MIND's submission file or a table."""
    if submission is None and table is None:
        raise ConfigError("name what to write: --submission FILE, --table FILE.parquet, or both")
    for option, path in (("--submission", submission), ("--table", table)):
        check_files(option, [] if path is None else [path], overwrite=overwrite)
    if table is not None:
        check_parquet("--table", table)
    opened = _Opened.of(run, data, reading)
    kind = opened.pairs_of(None, None)
    shown = opened.shown(split) if kind is None else opened.judged(kind, split, None).impressions
    if opened.ensemble.head_note:
        note(f"note: {opened.ensemble.head_note}")
    if submission is not None and (lost := [line for line in shown.notes if "dropped" in line and "candidate" in line]):
        mend = "add the missing items to news.tsv, and leave out lines that name no candidate"
        raise DataError(f"{lost[0]}: a submission must rank every candidate: {mend}")
    _write_scores(opened, shown, submission, table)


def _write_scores(opened: _Opened, shown: Impressions, submission: Path | None, table: Path | None) -> None:
    import pyarrow.parquet as pq

    from bertrec.core.files import atomic_file
    from bertrec.data.submission import write_submission
    from bertrec.rankers.pair_runs import scored_table

    scored = scored_table(opened.ensemble, shown, opened.calibrations, known=opened.known)
    if submission is not None:
        write_submission(submission, shown.ids, scored["score"].to_numpy(), shown.candidates.offsets)
    if table is not None:
        with atomic_file(table) as temporary:
            pq.write_table(scored, temporary, compression="zstd")
    for path in (submission, table):
        if path is not None:
            say(f"wrote {path}: {len(shown)} impressions, {len(shown.candidates.values)} candidates")


@dataclass(frozen=True)
class _Opened:
    """Runs and the data that they are asked about, read as for training."""

    ensemble: Ensemble
    records: list[dict[str, Any]]
    dataset: Dataset
    known: Known
    names: list[str]
    own: list[bool]  # whether each run was trained on these data

    @classmethod
    def of(cls, runs: list[Path], data: str | None, reading: Reading) -> _Opened:
        from bertrec.rankers.context import Known
        from bertrec.rankers.runs import open_rankers

        ensemble, records = open_rankers(*runs)
        if data is None and len({one.get("data_hash") for one in records}) > 1:
            note(f"note: the runs were trained on different data: measured on those of {runs[0]}; --data names others")
        dataset = data_for(records[0], data, reading)
        note_each(dataset.notes)
        place = _place(records[0] if data is None else data_record(data))
        own = [one["data_hash"] == dataset.content_hash or _place(one) == place for one in records]
        return cls(ensemble, records, dataset, Known.of(dataset), [str(one) for one in runs], own)

    @property
    def calibrations(self) -> list[Calibration | None]:
        """How the scores of each ranker become probabilities."""
        from bertrec.rankers.pair_runs import calibrations_of

        return calibrations_of(self.records, self.names)

    @property
    def gives_probabilities(self) -> bool:
        """Whether the scores of every ranker are probabilities or were calibrated."""
        kept = zip(self.ensemble.members, self.calibrations, strict=True)
        return all(one.gives_probabilities or calibration is not None for one, calibration in kept)

    def about(self, part: str, shown: Impressions, past: Interactions | None = None) -> dict[str, Any]:
        """Return what a report says of the data; what the runs had of the part in training is printed too."""
        from bertrec.rankers.runs import part_note

        told = [part_note(*one, part) for one, own in zip(zip(self.names, self.records, strict=True), self.own, strict=True) if own]
        seen, adapted = ([line for line in lines if line] for lines in (told, self._adapted(shown, past)))
        note_each(seen)
        for line in adapted:
            note(line)
        return {"data": self.dataset.name, "data_hash": self.dataset.content_hash, "split": part, "notes": [*shown.notes, *seen, *adapted]}

    def _adapted(self, shown: Impressions, past: Interactions | None) -> list[str | None]:
        """Return a line for each ranker whose encoder was adapted on another split; of one encoder once."""
        from bertrec.rankers.adapted import adapted_note

        records = [one for record in self.records for one in record["members"]]
        pairs = zip(records, self.ensemble.members, strict=True)
        return list(dict.fromkeys(adapted_note(*one, self.dataset, [shown], past) for one in pairs))

    def shown(self, part: str) -> Impressions:
        """Return the impressions of a part; the rankers are then over their items."""
        o.choice("split", part, PARTS)
        shown = _part(self.dataset, part)
        self.ensemble.prepare(shown.catalog)
        return shown

    def pairs_of(self, asked: str | None, liked_from: float | None) -> str | None:
        """Return the kind of pairs that are measured; None for impressions."""
        from bertrec.rankers.pair_runs import PAIRS

        kept = {(one.get("pairs") or {}).get("kind") for one in self.records}
        if asked is None and len(kept) > 1:
            raise ConfigError("some of the runs were trained on rated pairs and some were not: say --pairs ratings or --pairs clicks")
        kind = o.choice("kind of pairs", asked, PAIRS) if asked is not None else next(iter(kept))
        if liked_from is not None and kind != "ratings":
            raise ConfigError("--liked-from goes with --pairs ratings")
        return kind

    def judged(self, kind: str, part: str, liked_from: float | None) -> JudgedPairs:
        """Return the pairs of a part; the rankers are then over their items."""
        from bertrec.rankers.pair_runs import clicked_pairs, pairs_to_judge, rated_pairs

        if kind == "clicks":
            found = clicked_pairs(self.dataset, self.shown(part))
        else:
            o.choice("split", part, PARTS)
            record = pairs_to_judge(self.names, self.records, self.own)
            found = rated_pairs(self.dataset, part, record=record, liked_from=liked_from)
            self.ensemble.prepare(found.impressions.catalog)
        return found if all(self.own) else replace(found, item_counts=None, trained_users=None)  # their training is not known here


def _place(record: Mapping[str, Any]) -> str:
    """Return where the data of a record are."""
    return str(record.get("data_path", record["data"]))


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

"""``bertrec rerank``: train a reranker on a run's own lists, and measure the run with and without it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import chosen_metrics, note, note_each, print_comparison, print_table, protocol_line, say
from bertrec.cli.outputs import check_folder
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import measured_data, split_for
from bertrec.runs.data import fit_catalog
from bertrec.runs.folder import Run, keeps_seen

if TYPE_CHECKING:
    from bertrec.core.config import Config
    from bertrec.data.load import Dataset
    from bertrec.data.splits import Split
    from bertrec.evaluation.report import Report
    from bertrec.models.base import Recommender

Candidates = Annotated[int, typer.Option(min=1, help="How many items the run retrieves for the reranker to put in order.")]

app = typer.Typer(
    help="Retrieve with a run, then put its list in a better order.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec rerank train runs/text --reranker composite --out rerankers/composite

bertrec rerank evaluate runs/text --rerank rerankers/composite --json figures.json

bertrec rerank train runs/text --reranker prompt4nr --set encoder.name=encoders/shop --set prompt=item-hybrid --out rerankers/cloze

bertrec rerank train runs/text --reranker cross-encoder --hard mixed --set profile=keywords --learn-from valid --out rerankers/cross

bertrec recommend runs/text --rerank rerankers/composite --candidates 50 --history "Toy Story"
""",
)


@app.command(epilog="Example: bertrec rerank train runs/text --reranker composite --out rerankers/composite --learn-from valid")
@reads_data()
def train(
    run: o.RunArgument,
    out: Annotated[Path, typer.Option(metavar="RERANKER", help="Where to save the reranker.")],
    reading: Reading,
    reranker: Annotated[
        str, typer.Option(metavar="NAME", help="A name of bertrec rankers list (default composite), or a class of your own.")
    ] = "composite",
    candidates: Candidates = 50,
    negatives: Annotated[int, typer.Option(min=1, help="Hard negatives per list.")] = 8,
    hard: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help="Where they come from: retrieved (what the run proposes, the default), genre (items that share a "
            "label with the right one), cooccurrence (items that others had with those of the history), or mixed (all "
            "of these); give it again for several.",
        ),
    ] = None,
    label_field: Annotated[
        str | None, typer.Option(help="Field of the labels of like genre (--hard genre or mixed); default: the first usual name.")
    ] = None,
    lists: Annotated[
        int | None,
        typer.Option(min=1, help="Learn from so many lists at most, drawn at random; who is left out of valid chooses the run's share."),
    ] = None,
    positions: Annotated[
        int | None, typer.Option(min=1, help="Newest training positions of each user (default 3); not with --learn-from valid.")
    ] = None,
    learn_from: Annotated[
        str,
        typer.Option(
            help="train, or valid: users new to the run, so that the run's own scores can be learned from. Without --lists "
            "a fifth of them is held out to choose the run's share; with composite all learn and choose."
        ),
    ] = "train",
    share_users: Annotated[int | None, typer.Option(min=1, help="Choose the run's share on so many validation users at most.")] = None,
    metric: Annotated[str, typer.Option(help="By which the run's share of the score is chosen on validation users.")] = "NDCG@10",
    seed: Annotated[int, typer.Option(min=0, help="Of the draws and of the reranker's training.")] = 0,
    keep_seen: o.KeepSeen = None,
    set_: o.Settings = None,
    trusted: o.Classes = None,
    data: o.OtherData = None,
    vectors: o.Vectors = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Train a reranker on lists that RUN retrieves; test users are not looked at."""
    from bertrec.rankers.names import RANKERS
    from bertrec.rerank.kinds import RECORD, asked_settings, save_reranker, train_reranker

    check_folder(out, markers=[RECORD], holds="a reranker", overwrite=overwrite)
    settings = o.read_settings(None, set_ or [])
    asked = asked_settings(reranker, negatives=negatives, positions=positions, learn_from=learn_from, metric=metric, settings=settings)
    place = Run(run)
    model, dataset, split, _ = open_run(place, data, reading, vectors)
    _note_adapted(RANKERS.find(reranker).config_from(settings=asked), dataset, split)
    trained, record = train_reranker(
        model,
        split,
        kind=reranker,
        candidates=candidates,
        negatives=negatives,
        positions=positions,
        learn_from=learn_from,
        hard=hard or "retrieved",
        label_field=label_field,
        lists=lists,
        share_users=share_users,
        metric=metric,
        seed=seed,
        mask_seen=not keeps_seen(place.record(), keep_seen),
        settings=settings,
        progress=True,
    )
    save_reranker(trained, record, out)
    note_each(record["notes"])
    _print_record(record)
    note(f"wrote {out}")


@app.command(epilog="Example: bertrec rerank evaluate runs/text --rerank rerankers/composite --split test --json figures.json")
@reads_data()
def evaluate(
    run: o.RunArgument,
    rerank: Annotated[Path, typer.Option(metavar="RERANKER", help="A folder made by bertrec rerank train.")],
    reading: Reading,
    candidates: Annotated[int | None, typer.Option(min=1, help="How many items are put in order; default as trained.")] = None,
    weight: Annotated[float | None, typer.Option(help="The run's share of the score, 0 to 1; default as chosen in training.")] = None,
    split: o.HeldOut = "test",
    keep_seen: o.KeepSeen = None,
    seen_targets: o.SeenTargets = "drop",
    metrics: o.Metrics = None,
    bootstrap: o.Bootstrap = None,
    trusted: o.Classes = None,
    data: o.OtherData = None,
    vectors: o.Vectors = None,
    json_out: o.Json = None,
) -> None:
    """Measure RUN alone and reranked, on the same users, over the whole catalogue."""
    from bertrec.cli.evaluate import part_of
    from bertrec.core.files import write_json
    from bertrec.evaluation.protocol import Protocol
    from bertrec.rerank.evaluation import evaluate_reranked
    from bertrec.rerank.kinds import load_with_record

    o.choice("split", split, ("test", "valid"))
    place = Run(run)
    keeps = keeps_seen(place.record(), keep_seen)
    o.check_seen_targets(seen_targets, keeps=keeps)
    given = {"mask_seen": not keeps, "seen_targets": seen_targets}
    rules = Protocol.from_dict(given | ({} if bootstrap is None else {"bootstrap": bootstrap}))
    loaded = load_with_record(rerank)
    model, dataset, parts, _ = open_run(place, data, reading, vectors)
    warn_other_retriever(model, loaded.record)
    _note_adapted(loaded.reranker.config, dataset, parts)
    reports = evaluate_reranked(
        model,
        loaded.reranker,
        part_of(parts, split),
        rules,
        parts.train.item_counts,
        candidates=candidates or int(loaded.record.get("candidates", 50)),
        weight=loaded.weight if weight is None else weight,
        manifest=parts.manifest,
    )
    figures = compared(*reports)
    names = chosen_metrics(figures, metrics)
    print_comparison(f"{run}: {split}", {"retriever": figures["retriever"], "reranked": figures}, names)
    _print_paired(figures["paired"], names)
    say(protocol_line(figures["protocol"]))
    say("reranked: " + ", ".join(f"{name}={value}" for name, value in figures["protocol"]["rerank"].items()))
    if json_out is not None:
        write_json(json_out, figures)
        note(f"wrote {json_out}")


def compared(retriever: Report, reranked: Report) -> dict[str, Any]:
    """Return the reranked figures in the one JSON shape, with the retriever's and the paired comparison of each metric beside them."""
    from bertrec.evaluation.significance import paired_comparison

    shared = [name for name in reranked.slices["all"].values if name in retriever.slices["all"].values]
    paired = {
        name: paired_comparison(reranked.per_user(name), retriever.per_user(name), names=("reranked", "retriever")).to_json()
        for name in shared
    }
    return {**reranked.to_json(), "retriever": retriever.to_json(), "paired": paired}


def _note_adapted(config: Config, dataset: Dataset, split: Split) -> None:
    """Say, in one line, where a reranker's encoder was adapted on what the run's split holds out."""
    from bertrec.encoders.adaptation import adaptation_note, adaptation_of

    adapted = adaptation_of(config)
    if adapted is not None and (line := adaptation_note(str(config.to_flat()["encoder.name"]), adapted, dataset, split)):
        note(line)


def open_run(
    run: Run, data: str | None, reading: Reading, vectors: Path | None = None
) -> tuple[Recommender, Dataset, Split, dict[str, Any]]:
    """Load a run's model over its data, split as it was for training, or over other data."""
    record, model = run.record(), run.load_model()
    dataset = measured_data(run, record, data, reading)
    note_each(dataset.notes)
    return fit_catalog(model, dataset, vectors), dataset, split_for(record, dataset, data), record


def warn_other_retriever(model: Recommender, record: Any) -> None:
    """Say so where the reranker was trained on the lists of another model."""
    if record.get("retriever", {}).get("hash", model.model_hash) != model.model_hash:
        note("note: the reranker was trained on the lists of another run")


def _print_record(record: dict[str, Any]) -> None:
    shares = record["chosen_on"]["figures"]
    rows = [[share, f"{figure:.4f}", "chosen" if float(share) == record["weight"] else ""] for share, figure in shares.items()]
    if rows:
        metric = record["chosen_on"]["metric"]
        print_table("the run's share of the score, on validation users", ["share", metric, ""], rows, right=["share", metric])
    if record["head"]:
        rows = [[name, f"{value:+.4f}"] for name, value in record["head"].items()]
        print_table(f"{record['kind']}: weights of the standardised features", ["feature", "weight"], rows, right=["weight"])
    negatives = f"{record['negatives']} negatives of {record['candidates']} ({', '.join(record['hard'])})"
    say(f"learned from {record['lists']} lists of {record['learn_from']}, {negatives}")


def _print_paired(paired: dict[str, Any], names: list[str]) -> None:
    rows = [
        [name, f"{paired[name]['difference']:+.4f}", "[{:+.4f}, {:+.4f}]".format(*paired[name]["ci95"]), paired[name]["verdict"]]
        for name in names
        if name in paired
    ]
    print_table("reranked - retriever, paired over users", ["metric", "difference", "95 % interval", ""], rows, right=["difference"])

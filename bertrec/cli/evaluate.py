"""``bertrec evaluate``: measure a run under one protocol, on its own data or on other data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import chosen_metrics, note, note_each, print_comparison, print_figures, protocol_line, say
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import measured_data, note_adaptation, note_pretraining, split_for
from bertrec.core.errors import ConfigError, DataError, IndexFileError, ModelError
from bertrec.runs.data import fit_catalog
from bertrec.runs.folder import Run, keeps_seen

if TYPE_CHECKING:
    from bertrec.data.splits import EvaluationSet, Split
    from bertrec.evaluation.protocol import Protocol
    from bertrec.evaluation.report import Report
    from bertrec.models.base import Recommender

EXAMPLES = """
Examples:

bertrec evaluate runs/ml

bertrec evaluate runs/shop --keep-seen --metrics HR@10,Recall@50,Coverage@10 --json figures.json

bertrec evaluate runs/ml --index runs/ml.index

bertrec evaluate runs/ml --card

bertrec evaluate runs/text --data data/scientific
"""


@reads_data()
def evaluate(
    run: o.RunArgument,
    reading: Reading,
    data: Annotated[str | None, typer.Option(help="Where the run's data are now, or other data (no training for a text-only run).")] = None,
    vectors: o.Vectors = None,
    split: o.HeldOut = "test",
    trusted: o.Classes = None,
    index: Annotated[Path | None, typer.Option(metavar="INDEX", help="Count what this index serves instead of scoring every item.")] = None,
    mmap: o.Mmap = False,
    keep_seen: o.KeepSeen = None,
    seen_targets: o.SeenTargets = "drop",
    candidates: Annotated[str, typer.Option(help="What is ranked: all items, or only those held_out of training (cold-items).")] = "all",
    metrics: o.Metrics = None,
    bootstrap: o.Bootstrap = None,
    json_out: o.Json = None,
    card: Annotated[bool, typer.Option("--card", help="Write the test figures into the model card of RUN too.")] = False,
) -> None:
    """Measure RUN on its held-out interactions, every figure with its protocol."""
    o.choice("split", split, ("test", "valid"))
    o.check_mmap(mmap, index)
    if card and (split != "test" or data is not None or vectors is not None or index is not None):
        raise ConfigError("--card writes what the model reaches on its own test users: leave out --split, --data, --vectors and --index")
    place = Run(run)
    before = place.record()
    keeps = keeps_seen(before, keep_seen)
    o.check_seen_targets(seen_targets, keeps=keeps)
    rules = {"mask_seen": not keeps, "seen_targets": seen_targets, "candidates": candidates}
    rules |= {} if bootstrap is None else {"bootstrap": bootstrap}
    figures = evaluate_run(place, data=data, load=reading, part=split, protocol=rules, index=index, mmap=mmap, vectors=vectors)
    print_figures(f"{run}: {split}", figures, chosen_metrics(figures, metrics))
    print_untrained(str(run), figures, chosen_metrics(figures, metrics))
    say(protocol_line(figures["protocol"]))
    if json_out is not None:
        from bertrec.core.files import write_json

        write_json(json_out, figures)
        note(f"wrote {json_out}")
    if card:
        keep_figures(place, figures, before=before)
        note(f"wrote {place.model / 'README.md'}")


def keep_figures(run: Run, figures: Mapping[str, Any], *, before: Mapping[str, Any]) -> None:
    """Keep test figures in the record of a run and write them into its model's card.

    A run whose catalogue was updated is measured over the items of its training: the card says so by the hash of that state.

    Args:
        run: that was measured.
        figures: what came out.
        before: the run's record as it was before the measurement.

    Raises:
        ModelError: the run was changed since they were measured.
    """
    from bertrec.core.files import write_json
    from bertrec.core.together import held
    from bertrec.models.card import write_card

    with held(run.folder):
        record = {**run.record(), "test": dict(figures)}
        if any(record.get(name) != before.get(name) for name in ("model_hash", "updates")):
            raise ModelError(f"{run.folder} was changed while it was measured: measure it again")
        write_json(run.record_file, record)
        write_card(run.model, run.load_model().card(record))


def evaluate_run(
    run: Run,
    *,
    data: str | None,
    load: dict[str, Any],
    part: str,
    protocol: dict[str, Any],
    index: Path | None = None,
    mmap: bool = False,
    vectors: Path | None = None,
) -> dict[str, Any]:
    """Return the figures of a run in the one JSON shape."""
    from bertrec.evaluation.protocol import Protocol

    rules = Protocol.from_dict(protocol)
    from bertrec.models.evaluate import evaluate
    from bertrec.runs.indexes import check_fits, open_both

    record, model, searched = open_both(run, index, mmap=mmap)
    dataset = measured_data(run, record, data, load)
    note_each(dataset.notes)
    split = split_for(record, dataset, data)
    note_adaptation(record, model, dataset, split)
    note_pretraining(record, str(run.folder), dataset, split)
    rows = part_of(split, part)
    model = fit_catalog(model, dataset, vectors)
    held_out = split.held_out if len(split.held_out) else None
    if index is not None and searched is not None:
        if data is None and searched.model_hash not in ("", model.model_hash) and record.get("updates"):
            raise IndexFileError(f"{run.folder} was updated and is measured over the items of its training: leave out --index {index}")
        check_fits(searched, index, model, run, data)
    how: dict[str, Any] = {"protocol": rules, "item_counts": split.train.item_counts, "held_out": held_out, "index": searched}
    report = evaluate(model, rows, manifest=split.manifest, **how)
    return report.to_json() | beside_untrained(model, split, rows, report, rules)


def beside_untrained(model: Recommender, split: Split, rows: EvaluationSet, report: Report, rules: Protocol) -> dict[str, Any]:
    """Return the figures of the untrained similarities, where a split has new items; nothing elsewhere."""
    from bertrec.models.untrained import against_best, has_new_items, untrained_reports

    if not has_new_items(rows, split):
        return {}
    untrained = untrained_reports(model, split, rows, rules)
    compared = against_best(report, untrained, name=model.name)
    shown = {name: one.to_json()["slices"] for name, one in untrained.items()}
    return {"untrained": shown, "new_items": None if compared is None else compared.to_json()} if untrained else {}


def print_untrained(run: str, figures: Mapping[str, Any], metrics: Sequence[str]) -> None:
    """Print the run and the untrained similarities on users whose next item is new, with a warning where training added nothing."""
    untrained, compared = figures.get("untrained"), figures.get("new_items")
    if not untrained or compared is None:
        return
    models = {run: figures, **{f"{name} (untrained)": {"slices": slices} for name, slices in untrained.items()}}
    print_comparison("new items (cold_items): the run beside untrained similarities of its texts", models, metrics, part="cold_items")
    low, high = compared["ci95"]
    words = f"NDCG@10 {compared['difference']:+.4f} [{low:+.4f}, {high:+.4f}] against {compared['names'][1]}"
    say(f"new items: {words} on {compared['users']} users")
    if compared["difference"] <= 0:
        note(f"warning: among users of new items the run is no better than {compared['names'][1]}, which needs no training")


def part_of(split: Split, part: str) -> EvaluationSet:
    """Return the test or validation rows.

    Raises:
        DataError: the split has none.
    """
    rows = split.test if part == "test" else split.validation
    if rows is None or not len(rows.users):
        raise DataError(f"the split has no {part} users to measure on")
    return rows

"""``bertrec update``: new interactions into a run, for serving at once, and for training where that is asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.options import Indexes
from bertrec.cli.output import note, note_each, say
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import note_adaptation, split_data
from bertrec.cli.train import report, validate
from bertrec.core.errors import BertrecError, ConfigError
from bertrec.runs.data import load_data, manner_of, once_each, with_later
from bertrec.runs.folder import Run, keeps_seen
from bertrec.runs.states import INTERACTIONS, belonging, next_state, write_state

if TYPE_CHECKING:
    from bertrec.data.growing import Rows
    from bertrec.data.load import Dataset
    from bertrec.data.splits import Split
    from bertrec.models.base import Recommender

EXAMPLES = """
Examples:

bertrec update runs/shop --interactions today.csv

bertrec update runs/shop --interactions today.csv --train --index runs/shop.index

bertrec update runs/shop --train --epochs 2 --index runs/shop.index
"""
_SHARE = 0.25  # of the epochs of the run's own training: docs/catalog.md has what it costs and keeps


@reads_data(without=("text_fields", "template", "max_words", "on_empty", "k_core", "given", "item_texts", "user_texts"))
def update(
    run: o.RunArgument,
    reading: Reading,
    interactions: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="New interactions, with the columns that the run's had; known ones are passed over."),
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="DATA", help="A YAML that names the columns of --interactions.")] = None,
    train: Annotated[bool, typer.Option("--train", help="Train on from the run's weights, on all interactions.")] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of --train, at most (default: a quarter of those of the run's training).")
    ] = None,
    index: Indexes = None,
    trusted: o.Classes = None,
) -> None:
    """Take new interactions into RUN: histories of its users grow for serving; with --train the model learns from them too.

    Run and indexes change in one step: killed at any moment, all are old or all are new.
    """
    if interactions is None and not train:
        raise BertrecError("give new interactions with --interactions TABLE, or --train to train on with those that came")
    if not train and (index or epochs):
        raise BertrecError(f"{'--index' if index else '--epochs'} goes with --train: histories alone change neither model nor index")
    place = Run(run)
    with next_state(place) as change:
        record, model = place.record(), place.load_model()
        indexes = belonging(place, index, model, record)
        later, counts = _grown(place, record, model, interactions, data, reading)
        if not train and not counts.get("interactions"):
            say("nothing new")
            return
        after, more = (model, {}) if not train else _trained(place, record, model, later, epochs)
        how: dict[str, Any] = {"before": model, "after": after, "counts": counts, "indexes": indexes, "later": later}
        write_state(change, place, {**record, **more}, kind=INTERACTIONS, **how)
    if counts:
        say(f"took in {counts['interactions']} interactions of {counts['of_users']} users, {counts['new_users']} of them new")


def _grown(
    run: Run, record: dict[str, Any], model: Recommender, table: Path | None, data: str | None, reading: Reading
) -> tuple[Rows | None, dict[str, int]]:
    """Return all later interactions, and how many of them are new."""
    later = run.later()
    if table is None:
        return later, {}
    from bertrec.data.filters import min_rating
    from bertrec.data.growing import Rows, new_rows
    from bertrec.data.one_table import read_interactions

    manner = manner_of(record, data, reading)
    found = read_interactions(table, manner, model.catalog)
    note_each(found.notes)
    found = found if manner.options.min_rating is None else min_rating(found, manner.options.min_rating)
    there = with_later(run, load_data(record, known=model.catalog, always=True)).interactions
    rows = new_rows(there, Rows.of(found))
    if len(rows) < len(found):
        note(f"note: {len(found) - len(rows)} of {len(found)} interactions are known already (passed over)")
    rows = _without_forgotten(rows, record)
    users = set(rows.users)
    counts = {"interactions": len(rows), "of_users": len(users), "new_users": len(users - set(there.users.ids))}
    return (rows if later is None else later.then(rows)), counts


def _without_forgotten(rows: Rows, record: Mapping[str, Any]) -> Rows:
    """Return the rows of all but those whom the run was told to forget."""
    import numpy as np

    from bertrec.data.forgotten import Forgotten

    gone = Forgotten.from_dict(record.get("forgotten"), "run.json").among(dict.fromkeys(rows.users))
    left = rows.take(np.flatnonzero([user not in gone for user in rows.users]))
    if len(left) < len(rows):
        note(f"note: {len(rows) - len(left)} interactions are of people whom the run was told to forget (passed over)")
    return left


def _trained(
    run: Run, record: dict[str, Any], model: Recommender, later: Rows | None, epochs: int | None
) -> tuple[Recommender, dict[str, Any]]:
    """Return the model trained on, and what the run's record says of it."""
    dataset = _training_data(record, model, later)
    split = split_data(dataset, record)
    note_adaptation(record, model, dataset, split)
    started = time.perf_counter()
    after = _fitted(model, split, epochs, mask_seen=not keeps_seen(record))
    seconds = time.perf_counter() - started
    figures = validate(after, split, mask_seen=not keeps_seen(record))
    report(run, seconds, figures, said=after.weights_in_words)
    log = None if after.train_log is None else after.train_log.to_dict()
    done = {"seconds_of_update": round(seconds, 1), "train_log": log, "manifest": split.manifest, "validation": figures}
    return after, {**done, "later_trained": 0 if later is None else len(later)}


def _training_data(record: dict[str, Any], model: Recommender, later: Rows | None) -> Dataset:
    from dataclasses import replace

    from bertrec.data.growing import grown

    dataset = load_data(record, known=model.catalog, always=True)
    if later is None:
        return dataset
    if dataset.given is not None:
        note("note: the split that came with the data ends where new interactions begin: each user's last two are held out instead")
    return once_each(replace(dataset, interactions=grown(dataset.interactions, later), given=None), record)


def _fitted(model: Recommender, split: Split, epochs: int | None, *, mask_seen: bool) -> Recommender:
    """Return a model that went on from the weights of ``model``; one that has none to go on from is fitted anew."""
    from bertrec.models.item_vectors import ReadsItems

    try:
        model.check_start(resume=False, init=True)
    except ConfigError:
        note(f"note: a {model.name} model has no training to go on with: it is fitted anew")
        other = type(model)(model.config)
        if isinstance(model, ReadsItems) and model.takes_vectors:  # whose file need not be there any more
            other.add_vectors(model.known_vectors())
        return other.fit(split, mask_seen=mask_seen)
    return model.continued(split, epochs=epochs, share=_SHARE, mask_seen=mask_seen)

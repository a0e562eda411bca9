"""``bertrec forget``: take people out of a run, and say what cannot be taken out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, say
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import split_data, trained_data
from bertrec.core import resuming
from bertrec.core.copies import linked_copy
from bertrec.core.errors import BertrecError, DataError, ModelError
from bertrec.core.files import atomic_folder, read_json, sha256_file, write_json
from bertrec.core.known_ids import find_id, known_id
from bertrec.core.partial import recover
from bertrec.core.together import held
from bertrec.runs.data import data_and_source
from bertrec.runs.folder import LATER_HASH, Run

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.forgotten import Forgotten
    from bertrec.data.load import Dataset
    from bertrec.data.splits import Split
    from bertrec.models.base import Recommender

EXAMPLES = """
Examples:

bertrec forget runs/ml --user 42

bertrec forget runs/ml --users-file leavers.txt

bertrec forget reports/ml --user 42
"""
_COMPARISON = ("comparison.json", "per_user.parquet")


@dataclass
class Outcome:
    """What was taken out, and what stays.

    Attributes:
        people: how many were to be forgotten.
        interactions: of theirs in training.
        of: all training interactions before.
        changed: the data are no longer those of the training.
        rehashed: the model's hash is another one now.
        absorbed: what of the model has learned from them.
        rows: taken out of files, by path in the folder.
        mentions: files that still hold an id.
    """

    people: int
    interactions: int = 0
    of: int = 0
    changed: bool = False
    rehashed: bool = False
    absorbed: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    mentions: list[str] = field(default_factory=list)


@reads_data()
def forget(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by bertrec train, or by bertrec compare.")],
    reading: Reading,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    user: Annotated[list[str] | None, typer.Option(metavar="ID", help="Whom to forget; more may follow.")] = None,
    users_file: Annotated[Path | None, typer.Option(metavar="F", help="A file of ids, as recommend takes it.")] = None,
    trusted: o.Classes = None,
    data: Annotated[str | None, typer.Option("--data", metavar="DATA", help="Where the run's data are now.")] = None,
) -> None:
    """Take people out of RUN: out of its counts, its lists, and of whom it knows. What training has absorbed stays, and is named."""
    from bertrec.cli.recommend import Asked

    asked = Asked.of([*(user or []), *(more or [])], users_file)
    names = [str(one.user) for block in asked.blocks() for one in block]
    if not names:
        raise BertrecError("say whom to forget: --user ID, or --users-file F")
    recover(run)
    if (run / _COMPARISON[0]).is_file():
        report_comparison(run, forget_in_comparison(run, names))
        return
    check_kind(run)
    Run(run).record()  # before anything is made there
    with held(run):
        outcome = forget_in_run(Run(run), names, data=data, reading=reading)
    report_run(run, Run(run).record(), outcome)


def check_kind(folder: Path) -> None:
    """See that a folder is no run of rankers and no study, which keep nobody or cannot be changed.

    Raises:
        ModelError: it is; the text says what it keeps.
    """
    record = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    if isinstance(record, Mapping) and record.get("kind") in ("rankers", "prompts"):
        raise ModelError(f"{folder} is a run of rankers: it keeps no one's history; what its weights learned only training anew undoes")
    if (folder / "plan.json").is_file():
        what = "a study or an unfinished comparison, whose fits keep histories under numbers"
        raise ModelError(f"{folder} is {what}: once it is done, remove {folder / 'fits'}, or the folder")


def forget_in_run(run: Run, names: list[str], *, data: str | None = None, reading: Mapping[str, Any] | None = None) -> Outcome:
    """Replace a run by one that does not know some people; killed at any moment, it is the former or the new one.

    Args:
        run: the folder; the caller holds it.
        names: ids as text.
        data: where the run's data are now; None where the run says so.
        reading: how they are read.

    Raises:
        DataError: the data are gone, or an id is unknown and nothing in the run names it.
        ModelError: the run is not finished, or damaged.
    """
    from bertrec.data.forgotten import Forgotten
    from bertrec.models.card import write_card

    record, model = run.record(), run.load_model()
    former = Forgotten.from_dict(record.get("forgotten"), str(run.record_file))
    dataset, source = data_and_source(record, data, reading)
    marks = former.adding(names)
    outcome = Outcome(len(set(names)), changed=dataset.content_hash != record.get("data_hash"), absorbed=model.absorbed)
    data_hash = marks.leave_out(dataset).content_hash
    dataset = trained_data(run, record, source) if "later_trained" in record else dataset
    before, split = _counted(dataset, marks, record, outcome)
    told = model.trained_on is not None and not outcome.changed  # of other data, or items, nobody knows what the fit saw
    model.recount(_over(split, model.catalog))
    model.trained_on = model.trained_on if told else None
    outcome.rehashed = model.model_hash != record.get("model_hash")
    with atomic_folder(run.folder, marker=run.record_file.name) as made:
        linked_copy(run.folder, made, without=(resuming.LOCK,))
        _take_out(Run(made), model, names, outcome)
        unknown = [name for name in names if find_id(name, before) is None and not former.among([name])]
        if unknown and not (outcome.changed or outcome.rows):
            known_id(unknown[0], before, mend="nobody was forgotten: leave it out to forget the others")  # which says what is near
        about = {"model_hash": model.model_hash, "forgotten": marks.to_dict(), **_of_later(run, Run(made), record, set(names))}
        of_data = {} if outcome.changed else {"manifest": split.manifest, "data_hash": data_hash}
        now = record | about | of_data
        write_json(Run(made).record_file, now)
        write_card(Run(made).model, model.card(now))
    return outcome


def _counted(dataset: Dataset, marks: Forgotten, record: Mapping[str, Any], outcome: Outcome) -> tuple[set[str | int], Split]:
    """Return the users that the data had, and the split without those who are marked."""
    whole, split = split_data(dataset, record), split_data(marks.leave_out(dataset), record)
    outcome.interactions, outcome.of = len(whole.train) - len(split.train), len(whole.train)
    return set(dataset.interactions.users.ids), split


def _of_later(run: Run, made: Run, record: Mapping[str, Any], gone: set[str]) -> dict[str, Any]:
    """Return what the record says of the later interactions once some people are out of them; nothing where there are none."""
    later = run.later()
    if later is None:
        return {}
    trained = sum(str(user) not in gone for user in later.users[: int(record.get("later_trained", 0))])
    counted = {"later_trained": trained} if "later_trained" in record else {}
    return {LATER_HASH: sha256_file(made.later_file), **counted}


def _over(split: Split, catalog: ItemCatalog) -> Split:
    """Return a split whose training part is over the items of a model, where the data have others now; no other part is changed.

    Raises:
        DataError: the data hold none of these items.
    """
    import numpy as np

    if split.catalog.content_hash == catalog.content_hash:
        return split
    inner = np.concatenate([[0], catalog.ids.encode(split.catalog.ids.ids)])
    train = split.train.where(inner[split.train.sequences.values] > 0)
    if not len(train):
        raise DataError("the data hold none of the run's items: name its own with --data")
    sequences = replace(train.sequences, values=inner[train.sequences.values])
    return replace(split, catalog=catalog, train=replace(train, catalog=catalog, sequences=sequences))


def _take_out(made: Run, model: Recommender, names: Iterable[str], outcome: Outcome) -> None:
    """Rewrite what a copy of a run holds of some people."""
    from bertrec.data.erase import erase_rows, mentions
    from bertrec.models.folder import replace_parts

    gone = set(names)
    replace_parts(made.model, model.saved_tensors(), kept=model.kept_values())
    outcome.rows = erase_rows(made.folder, gone)
    outcome.mentions = mentions(made.folder, gone)


def forget_in_comparison(folder: Path, names: list[str]) -> Outcome:
    """Replace a comparison by its report alone, without some people's rows; it cannot be gone on with afterwards.

    Raises:
        BertrecError: it is in use.
        DataError: nobody of that id is in it.
    """
    from bertrec.data.erase import erase_rows, mentions

    outcome, gone = Outcome(len(set(names))), set(names)
    with resuming.only_one(folder), atomic_folder(folder, marker=_COMPARISON[0]) as made:
        linked_copy(folder, made, without=(resuming.LOCK, "fits", "plan.json"))
        outcome.rows, outcome.mentions = erase_rows(made, gone), mentions(made, gone)
        if not outcome.rows:
            raise DataError(f"{folder}: {_COMPARISON[1]} knows nobody of that id: is it written as in the data?")
    return outcome


def report_run(run: Path, record: Mapping[str, Any], outcome: Outcome) -> None:
    """Say what was taken out, what training has absorbed, and where else the people may be; no id is printed."""
    say(f"forgot {_people(outcome)} in {run}: every command treats them as unknown now")
    _say_rows(outcome)
    counts = f"{outcome.interactions} interactions taken out"
    learned = f"{outcome.interactions} of their interactions, of {outcome.of} in all"
    if outcome.changed:
        counts, learned = "those of the data as they are now", "their interactions"
    say(f"item counts: {counts}" + ("; an index of the run has to be built anew" if outcome.rehashed else ""))
    if outcome.absorbed and (outcome.interactions or outcome.changed):
        say(f"not undone: {outcome.absorbed} of {run / 'model'} learned from {learned}; only training anew without them undoes that")
    elsewhere = record.get("data_path") or record.get("data")
    say(f"elsewhere: the data ({elsewhere}), folders of compare and tune, and what was written outside {run} may hold them")
    _say_mentions(run, outcome)


def report_comparison(folder: Path, outcome: Outcome) -> None:
    """Say what was taken out of a comparison, and what stays."""
    say(f"forgot {_people(outcome)} in {folder}: the fits, which kept histories under numbers, are gone; the report stays as it is")
    _say_rows(outcome)
    say("not undone: the figures are means in which they are counted")
    _say_mentions(folder, outcome)


def _people(outcome: Outcome) -> str:
    return f"{outcome.people} {'person' if outcome.people == 1 else 'people'}"


def _say_rows(outcome: Outcome) -> None:
    for name, count in outcome.rows.items():
        say(f"{name}: rows taken out: {count}")


def _say_mentions(folder: Path, outcome: Outcome) -> None:
    if outcome.mentions:
        note(f"warning: not taken out of {', '.join(str(folder / name) for name in outcome.mentions)}: see to it by hand")

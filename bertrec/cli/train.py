"""``bertrec train``: load, split, fit, measure on validation, save."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import chosen_metrics, figure, note, note_each, say
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import (
    abandon_on_error,
    begin,
    check_free,
    check_same,
    data_record,
    end,
    note_pretraining,
    only_one,
    pretraining_of,
    versions,
)
from bertrec.core.config import without_seeds
from bertrec.core.errors import ConfigError, DataError
from bertrec.core.plugins import is_path, vouch
from bertrec.core.processes import first_alone, is_first
from bertrec.heads.config import ITEM_INPUTS
from bertrec.runs.folder import Run, keeps_seen

if TYPE_CHECKING:
    from bertrec.data.interactions import Interactions
    from bertrec.data.load import Dataset
    from bertrec.data.splits import Split
    from bertrec.models.base import Recommender

EXAMPLES = """
Examples:

bertrec train ml-100k --out runs/ml

bertrec train data/scientific --model unisrec --item-input text --tune last:2 --out runs/text

bertrec train data/shop --vectors items.parquet --item-input text --out runs/images

bertrec train data/beauty --out runs/warm --init runs/text --item-input text --epochs 20

bertrec train data/beauty --out runs/tuned --init runs/pretrained --freeze head

bertrec train ml-100k --out runs/ml --resume
"""

DEFAULT_MODEL = "unisrec"


@reads_data()
def train(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="RUN", help="The folder to make.")],
    reading: Reading,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="unisrec (default), morec, vqrec, idrec, hstu, bert4rec, alpharec, ease, ease-text, itemknn, als, text-similarity, "
            "max-similarity, popularity, recbole:SASRec, or a class of yours: package.module:Class.",
        ),
    ] = None,
    item_input: Annotated[str | None, typer.Option(help="What an item is made of: id, text or text+id (default text+id).")] = None,
    tune: Annotated[str | None, typer.Option(help="How deep the encoder learns: frozen, last:K, lora or full (default frozen).")] = None,
    vectors: o.GivenVectors = None,
    init: Annotated[Path | None, typer.Option(metavar="RUN", help="Start from this run's weights; it may be on other data.")] = None,
    freeze: Annotated[
        str | None, typer.Option(metavar="PART", help="What stays as --init has it: head (positions and attention; items learn).")
    ] = None,
    config: o.SettingsFile = None,
    set_: o.Settings = None,
    split: o.Split = "auto",
    seed: Annotated[int | None, typer.Option(help="Seed of a random split and, where the model draws anything, of its training.")] = None,
    keep_seen: o.KeepSeen = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many epochs.")] = None,
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Train a model on DATA into the folder RUN."""
    run = Run(out)
    first_alone(lambda: check_free(run, overwrite=overwrite, resume=resume))
    o.choice("split", split, o.SPLITS)
    settings = o.read_settings(config, set_ or [])
    settings |= {} if epochs is None else {"train.epochs": epochs}
    settings = settings if seed is None else without_seeds(settings)
    vouch(value for value in (model, *settings.values()) if isinstance(value, str) and is_path(value))
    settings |= vector_settings(vectors, settings) | frozen_settings(freeze, init)
    chosen = choose(settings, model=model, item_input=item_input, tune=tune)
    plan = {
        **data_record(data),
        "load": reading,
        "split": {"method": split, "options": {"seed": seed} if split == "cold-items" and seed is not None else {}},
        **chosen,
        "settings": settings,
        **({} if seed is None else {"seed": seed}),
        **({"keep_seen": True} if keep_seen else {}),
        "init": str(init) if init else None,
    }
    execute(run, plan, resume=resume, overwrite=overwrite)


def frozen_settings(freeze: str | None, init: Path | None) -> dict[str, bool]:
    """Return what ``--freeze`` sets.

    Raises:
        ConfigError: there is no such part, or nothing to keep it from.
    """
    if freeze is None:
        return {}
    o.choice("part to freeze", freeze, ("head",))
    if init is None:
        raise ConfigError(f"--freeze {freeze} keeps what another run has learned: name it with --init RUN, or leave --freeze out")
    return {"head.freeze": True}


def vector_settings(vectors: Path | None, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return what ``--vectors`` sets.

    Raises:
        ConfigError: the file is of another kind, or an encoder is named beside it.
    """
    from bertrec.data.readers.vectors import SUFFIXES, is_vector_file

    if vectors is None:
        return {}
    if "encoder.name" in settings:
        raise ConfigError(f"--vectors {vectors} stands in place of encoder.name: leave one of them out")
    if not is_vector_file(vectors.name):
        raise ConfigError(f"--vectors {vectors}: give a file that ends in {' or '.join(SUFFIXES)}")
    return {"encoder.name": str(vectors.expanduser().absolute())}


def choose(settings: dict[str, Any], **given: str | None) -> dict[str, str | None]:
    """Take model, item input and tuning depth from the options, else out of the settings; None leaves the choice to the model."""
    aliases = {"model": ("model",), "item_input": ("item.input", "item_input", "item-input"), "tune": ("encoder.tune", "tune")}
    chosen: dict[str, str | None] = {}
    for name, value in given.items():
        configured = [str(settings.pop(alias)) for alias in aliases[name] if alias in settings]
        if value == "":
            raise ConfigError(f"--{name.replace('_', '-')} is empty: leave the option out, or name one")
        chosen[name] = value or next(iter(configured), None)
    if chosen["item_input"] is not None:
        o.choice("item input", chosen["item_input"], ITEM_INPUTS)
    return chosen | {"model": chosen["model"] or DEFAULT_MODEL}


def execute(run: Run, plan: dict[str, Any], *, resume: bool = False, overwrite: bool = False) -> None:
    """Carry out a training plan in its run folder and say how it went."""
    from bertrec.cli.runs import adaptation_record, split_data
    from bertrec.runs.data import load_data

    model = made(plan)
    model.check_start(resume=resume, init=bool(plan["init"]))
    note_each(unread_notes(plan, model))
    initial = Run(Path(plan["init"])).load_model() if plan["init"] else None
    if initial is not None:
        plan |= pretraining_of(Run(Path(plan["init"])))
        model = made(take_shape(plan, model, initial))
    if resume:
        check_same(run, plan)
    dataset = load_data(plan)
    split = split_data(dataset, plan)
    announce(dataset, split, keeps=keeps_seen(plan))
    plan |= {"data_hash": dataset.content_hash, **adaptation_record(model, dataset, split)}
    note_pretraining(plan, str(plan["init"]), dataset, split)
    figures, seconds = fit(run, plan, model, split, initial=initial, resume=resume, overwrite=overwrite)
    report(run, seconds, figures, said=model.weights_in_words)


def take_shape(plan: dict[str, Any], model: Recommender, initial: Recommender) -> dict[str, Any]:
    """Return the plan with the initial model's shape in its settings, where these do not say another and it is not the default; say so."""
    usual = model.config.to_flat()
    shape = {name: value for name, value in initial.shape.items() if name in usual and usual[name] != value}
    taken = {name: value for name, value in shape.items() if name not in plan["settings"]}
    if taken:
        note(f"note: taken from {plan['init']}: {', '.join(f'{name}={value}' for name, value in taken.items())}")
    plan["settings"] = {**plan["settings"], **taken}
    return plan


_OF_TEXTS = (
    "encoder.",
    *("item.whitening", "item.fields", "item.adaptor", "item.hidden", "item.experts", "item.dropout"),
    *("match.text", "match.new_items"),
)
_OF_VECTORS = ("encoder.name", "encoder.truncate_dim")
_OF_IDS = ("item.id_dropout", "match.behaviour", "match.solved", "match.decay")


def unread_notes(plan: Mapping[str, Any], model: Recommender) -> list[str]:
    """Say which settings of a plan are other than usual and change nothing, one line for each reason."""
    from bertrec.models.registry import create

    chosen = model.config.to_flat()
    if "encoder.name" not in chosen:
        return []
    usual = create(plan["model"], item_input=plan.get("item_input")).config.to_flat()
    other = {name for name in chosen if chosen[name] != usual[name]}
    unread = {why: [name for name in chosen if name in other and holds(name)] for why, holds in _unread(chosen, model).items()}
    return [f"{why}: {', '.join(names)} changes nothing" for why, names in unread.items() if names]


def _unread(chosen: Mapping[str, Any], model: Recommender) -> dict[str, Callable[[str], bool]]:
    """Return, by the reason, which settings are not read: those of texts, of IDs, or of an encoder."""
    from bertrec.data.readers.vectors import is_vector_file

    if not model.reads_text:
        return {"items are ids alone here": lambda name: name.startswith(_OF_TEXTS)}
    found: dict[str, Callable[[str], bool]] = {}
    if is_vector_file(str(chosen["encoder.name"])):
        found["item vectors stand in place of an encoder"] = lambda name: name.startswith("encoder.") and name not in _OF_VECTORS
    if chosen.get("item.input") == "text":
        found["items are texts alone here"] = lambda name: name in _OF_IDS
    return found


def made(plan: Mapping[str, Any]) -> Recommender:
    """Return the model of a plan, not fitted; a file of item vectors has to be of use to it, and there.

    Raises:
        ConfigError: a setting that the model does not have, or the model reads no vectors.
        DataError: there is no such file.
    """
    from bertrec.data.readers.vectors import is_vector_file
    from bertrec.models.registry import create

    how = {name: plan.get(name) for name in ("item_input", "tune", "seed")}
    name, others = str(plan["settings"].get("encoder.name", "")), dict(plan["settings"])
    if is_vector_file(name):
        del others["encoder.name"]
        bare = create(plan["model"], settings=others, **how)
        if not (bare.reads_text and "encoder.name" in bare.config.to_flat()):
            mend = "leave out --vectors, or take a model that does, such as unisrec, with --item-input text or text+id"
            raise ConfigError(f"{bare.name} reads no item vectors: {mend}")
        if not Path(name).expanduser().is_file():
            raise DataError(f"{name}: no such file of item vectors")
    return create(plan["model"], settings=plan["settings"], **how)


def fit(
    run: Run,
    plan: dict[str, Any],
    model: Recommender,
    split: Split,
    *,
    initial: Recommender | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[dict[str, Any] | None, float]:
    """Train a model into a run folder that no other process may use meanwhile.

    Returns:
        The validation figures (None where the split has no validation users) and the seconds that training took.
    """
    first_alone(lambda: check_free(run, overwrite=overwrite, resume=resume))
    with held_by_the_first(run):
        first_alone(lambda: begin(run, plan, resume=resume))
        started = time.perf_counter()
        mask = not keeps_seen(plan)
        model.fit(split, run_dir=run.folder, resume=resume, init=initial, mask_seen=mask)
        seconds = time.perf_counter() - started
        figures = first_alone(lambda: validate(model, split, mask_seen=mask))
        first_alone(lambda: end(run, model, plan | outcome(model, split, seconds, figures)))
    return figures, seconds


@contextmanager
def held_by_the_first(run: Run) -> Iterator[None]:
    """Hold the run folder for this training: of several processes (torchrun) the first holds it, and tidies up after an error."""
    if not is_first():
        yield
        return
    with only_one(run), abandon_on_error(run):
        yield


def announce(dataset: Dataset, split: Split, *, keeps: bool = False) -> None:
    """Say what is trained on, and everything that was dropped on the way."""
    data, parts = dataset.interactions, {"validation": split.validation, "test": split.test}
    note(f"{dataset.name} ({dataset.format}): {len(data.users)} users, {len(data.catalog)} items, {len(data)} interactions")
    note_each(dataset.notes)
    held = "".join(f", {name} {len(rows)} users" for name, rows in parts.items() if rows is not None)
    method, counts = split.manifest.get("method", ""), split.manifest.get("counts", {})
    note(f"split {method}: training {len(split.train)} interactions{held}")
    note_each(repeats_note(data, counts, keeps=keeps))
    left = counts.get("users_not_evaluated", 0)
    lacking = [f"{left} of {counts['users']} users are not evaluated (no history, or nothing held out)"] if left else []
    lacking += [f"no {name} users" for name, rows in parts.items() if rows is None or not len(rows)]
    if lacking:
        note(f"note: split {method}: {'; '.join(lacking)}")


def repeats_note(data: Interactions, counts: Mapping[str, int], *, keeps: bool) -> list[str]:
    """Say how much of the data is bought again, and what becomes of it; nothing where nothing is."""
    if not data.repeats:
        return []
    held = sum(counts.get(f"{name}_targets_in_history", 0) for name in ("validation", "test"))
    said = f"repeats: {data.repeats} of {len(data)} interactions ({data.repeats / len(data):.1%}) are of an item that the user had before"
    done = "are recommended and counted" if keeps else "are neither recommended nor counted: --keep-seen does both"
    return [f"{said}; {held} held-out targets stand in their history; these {done}"]


def validate(model: Recommender, split: Split, *, mask_seen: bool = True) -> dict[str, Any] | None:
    """Measure on the validation users, where the split has any."""
    if split.validation is None or not len(split.validation.users):
        return None
    from bertrec.evaluation.protocol import Protocol
    from bertrec.models.evaluate import evaluate

    counts = split.train.item_counts
    return evaluate(model, split.validation, protocol=Protocol(mask_seen=mask_seen), item_counts=counts, manifest=split.manifest).to_json()


def outcome(model: Recommender, split: Split, seconds: float, figures: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what ``run.json`` says beyond the plan."""
    return {
        "command": "bertrec " + shlex.join(sys.argv[1:]),
        "config": model.config.to_dict(),
        "manifest": split.manifest,
        "versions": versions(),
        "seconds": round(seconds, 1),
        "train_log": None if model.train_log is None else model.train_log.to_dict(),
        "model_hash": model.model_hash,
        "validation": figures,
    }


def report(run: Run, seconds: float, figures: Mapping[str, Any] | None, *, said: str = "") -> None:
    """Say how the validation went and where the run is."""
    say(f"trained in {seconds:.0f} s")
    if figures is not None:
        part = figures["slices"]["all"]
        shown = ", ".join(f"{name} {figure(part['metrics'][name])}".replace("\n", " ") for name in chosen_metrics(figures, None))
        say(f"validation, {part['users']} users: {shown}")
    for line in said.splitlines():
        say(line)
    say(f"run: {run.folder}")

"""``bertrec pretrain``: one model over several data sets, for others to start from or to recommend by as it is."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.encoder import EncoderName
from bertrec.cli.output import figure, note, note_each, print_table, say
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import abandon_on_error, begin, check_free, end, only_one, split_data, versions
from bertrec.core.plugins import is_path, vouch
from bertrec.runs.data import PRETRAINING, load_data
from bertrec.runs.folder import Run

if TYPE_CHECKING:
    from bertrec.data.splits import Split
    from bertrec.models.base import Recommender
    from bertrec.models.pretraining import Domains, PretrainingConfig

EXAMPLES = """
Examples:

bertrec pretrain data/beauty data/toys data/sports --out runs/three

bertrec evaluate runs/three --data data/scientific

bertrec train data/scientific --init runs/three --freeze head --out runs/tuned

bertrec pretrain data/beauty shop.yaml --epochs 4 --set pretrain.negatives=domain --out runs/two

bertrec pretrain data/beauty data/toys data/sports --out runs/three --resume

bertrec pretrain ml-100k --tasks masked,next,same-user,attributes --out runs/users
"""


@reads_data()
def pretrain(
    data: Annotated[
        list[str], typer.Argument(metavar="DATA…", help="Data sets; the reading options hold for all, and a YAML says how one is read.")
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="The folder to make.")],
    reading: Reading,
    encoder: EncoderName = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="What is learned: item, sequence (default both), made-up; of users masked, next, same-user, attributes, reviews; or "
            "package.module:Class.",
        ),
    ] = None,
    config: o.SettingsFile = None,
    set_: o.Settings = None,
    split: o.Split = "auto",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the training.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many epochs.")] = None,
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Pre-train a model on the training parts of several data sets into the folder RUN.

    Items are known by their text alone, and those of one data set are never those of another. See bertrec settings pretrain.
    """
    from bertrec.encoders.registry import require_path
    from bertrec.models.pretraining import examine

    run = Run(out)
    check_free(run, overwrite=overwrite, resume=resume)
    o.choice("split", split, o.SPLITS)
    given = {"pretrain.tasks": tasks, "train.seed": seed, "train.epochs": epochs, "encoder.name": encoder}
    settings = o.read_settings(config, set_ or []) | {name: value for name, value in given.items() if value is not None}
    vouch(word for value in settings.values() if isinstance(value, str) for word in value.split(",") if is_path(word))
    chosen = _config(settings)
    require_path(chosen.to_flat().get("encoder.name"))
    plan: dict[str, Any] = {
        "kind": PRETRAINING,
        "data": ", ".join(data),
        "load": reading,
        "split": {"method": split, "options": {}},
        "settings": settings,
    }
    domains = _domains(data, plan)
    note_each(examine(chosen, domains))
    plan[PRETRAINING] = {"domains": [part.learned.to_dict() for part in domains.parts]}
    plan["data_hashes"] = [one["data_hash"] for one in plan[PRETRAINING]["domains"]]
    execute(run, plan, chosen, domains, resume=resume, overwrite=overwrite)


def _config(settings: dict[str, Any]) -> PretrainingConfig:
    """Return the settings, those of the item source's model among them."""
    from bertrec.models.pretraining import SOURCES, PretrainingConfig

    kind = SOURCES.find(str(settings.get("pretrain.items", PretrainingConfig().pretrain.items)))
    return kind.config_class().updated(settings)


def _domains(data: list[str], plan: dict[str, Any]) -> Domains:
    """Read the data sets of a plan, say what was read, and put them side by side."""
    from bertrec.models.pretraining import Domains

    return Domains.of([_split_of(one, plan) for one in data])


def _split_of(data: str, plan: dict[str, Any]) -> Split:
    dataset = load_data({"data": data, "load": plan["load"]})
    split = split_data(dataset, plan)
    counts = f"{len(dataset.interactions.users)} users, {len(dataset.catalog)} items, {len(dataset.interactions)} interactions"
    note(f"{dataset.name} ({dataset.format}): {counts}; split {split.manifest['method']}: training {len(split.train)}")
    note_each(dataset.notes)
    return split


def execute(run: Run, plan: dict[str, Any], config: PretrainingConfig, domains: Domains, *, resume: bool, overwrite: bool) -> None:
    """Carry out a plan in its run folder and say how it went."""
    from bertrec.models.pretraining import pretrain

    check_free(run, overwrite=overwrite, resume=resume)
    with only_one(run), abandon_on_error(run):
        begin(run, {name: value for name, value in plan.items() if name != PRETRAINING}, resume=resume)
        started = time.perf_counter()
        model = pretrain(domains, config, run_dir=run.folder, resume=resume)
        seconds = time.perf_counter() - started
        end(run, model, plan | outcome(model, config, domains, seconds))
    report(run, model, domains, seconds)


def outcome(model: Recommender, config: PretrainingConfig, domains: Domains, seconds: float) -> dict[str, Any]:
    """Return what ``run.json`` says beyond the plan, the data by their names."""
    return {
        "data": ", ".join(part.name for part in domains.parts),
        "model": model.name,
        "command": "bertrec " + shlex.join(sys.argv[1:]),
        "config": config.to_dict(),
        "versions": versions(),
        "seconds": round(seconds, 1),
        "train_log": None if model.train_log is None else model.train_log.to_dict(),
        "model_hash": model.model_hash,
    }


def report(run: Run, model: Recommender, domains: Domains, seconds: float) -> None:
    """Say how the validation users of each data set fared, epoch by epoch, and where the run is."""
    say(f"pre-trained in {seconds:.0f} s")
    log = model.train_log
    if log is not None and (judged := [entry for entry in log.epochs if entry.metrics]):
        names = ["NDCG@10", *(f"NDCG@10 {part.name}" for part in domains.parts)]
        figures = [[figure({"mean": entry.metrics.get(name)}) for name in names] for entry in judged]
        rows = [[str(entry.epoch), f"{entry.loss:.4g}", *own] for entry, own in zip(judged, figures, strict=True)]
        columns = ["epoch", "loss", "mean", *(part.name for part in domains.parts)]
        print_table("validation users within their own items: NDCG@10", columns, rows, right=columns)
        say(f"epoch {log.best_epoch} is kept")
    for line in model.weights_in_words.splitlines():
        say(line)
    say(f"run: {run.folder}")
    say(f"without training: bertrec evaluate {run.folder} --data DATA; with: bertrec train DATA --init {run.folder} --out …")

"""``bertrec tune``: search settings on the validation users, and what came of it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from bertrec.cli import options as o
from bertrec.cli.output import note, print_table
from bertrec.cli.tune_table import TrialTable
from bertrec.core.errors import ConfigError

if TYPE_CHECKING:
    import optuna

EXAMPLES = """
Examples:

bertrec tune ml-100k --model idrec --preset quick --trials 6 --out tuned

bertrec tune data/scientific --model unisrec --trials 50 --timeout 1h --workers 2 --out tuned

bertrec tune data/scientific --model SASRec --space space.yaml --metric NDCG@10 --out tuned-sasrec

bertrec tune show tuned

bertrec tune resume tuned --trials 100

bertrec train data/scientific --config tuned/best.yaml --out runs/tuned
"""

_UNITS = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}


class _DataOrCommand(TyperGroup):
    """``tune DATA`` starts a study; the other words are commands on one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_DataOrCommand,
    name="tune",
    help="Search settings on the validation users: bertrec tune DATA, or a command on a study.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="The folder of a study.")]


@app.command("run", epilog=EXAMPLES)
def run(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="STUDY", help="The folder of the study.")],
    model: Annotated[str, typer.Option(help="unisrec, morec, idrec, or a RecBole model such as SASRec.")] = "unisrec",
    item_input: Annotated[str | None, typer.Option(help="id, text or text+id.")] = None,
    tune: Annotated[str | None, typer.Option(help="How deep the encoder learns: frozen, last:K, lora or full.")] = None,
    space: Annotated[Path | None, typer.Option(metavar="F.yaml", help="The search space; see docs/tuning.md.")] = None,
    preset: Annotated[str, typer.Option(help="A shipped space: quick, standard or thorough.")] = "standard",
    metric: Annotated[str, typer.Option(help="What is made better; several, comma-separated, give a Pareto front.")] = "NDCG@10",
    trials: Annotated[int, typer.Option(min=1)] = 50,
    timeout: Annotated[str | None, typer.Option(help="No trial is begun after this: 90s, 30m, 2h.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that run trials.")] = 1,
    study: Annotated[str | None, typer.Option(help="The study's name in the storage (default: the folder's).")] = None,
    storage: Annotated[str | None, typer.Option(help="A path, sqlite:///, postgresql+psycopg:// or redis:// (default: in STUDY).")] = None,
    sampler: Annotated[str, typer.Option(help="tpe, gp, cmaes, nsgaii, random or grid.")] = "tpe",
    pruner: Annotated[str | None, typer.Option(help="median, hyperband, wilcoxon or none (several metrics: none).")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting that is not searched.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sampler and of every trial's training.")] = 0,
    final_seeds: Annotated[int, typer.Option(min=0, help="Fits of winner and defaults for the test users; 0 leaves those alone.")] = 3,
    split: Annotated[str, typer.Option(help="As for bertrec train.")] = "auto",
    min_rating: o.MinRating = None,
    k_core: o.KCore = None,
) -> None:
    """Start a study on DATA, or go on with the same one."""
    from bertrec.cli.runs import load_data, split_data
    from bertrec.tuning.plan import JOURNAL, TunePlan
    from bertrec.tuning.run import begin

    metrics = tuple(name.strip() for name in metric.split(",") if name.strip())
    source, searched = _what(model, space, preset)
    load = o.load_options(min_rating=min_rating, k_core=k_core)
    minutes = _minutes(timeout)
    dataset = load_data({"data": data, "load": load})
    parts = split_data(dataset, {"split": {"method": split}})
    plan = TunePlan.from_dict(
        {
            "study": study or out.absolute().name,
            "storage": storage or str(out / JOURNAL),
            "source": source,
            "model": model,
            "item_input": item_input,
            "tune": tune,
            "settings": o.read_settings(None, set_ or []),
            "space": searched.to_dict(),
            "metrics": metrics,
            "sampler": sampler,
            "pruner": pruner or ("median" if len(metrics) == 1 else "none"),
            "trials": trials,
            "timeout_minutes": minutes,
            "seed": seed,
            "final_seeds": final_seeds,
            "about": {"data": {"name": dataset.name, "format": dataset.format, "counts": parts.manifest.get("counts", {})}},
        }
    )
    begin(plan, parts, out)
    note(f"{dataset.name}: {trials} trials of {model}, {len(searched.parameters)} settings, {workers} worker(s)")
    _finish(out, workers)


@app.command("resume")
def resume(
    study: StudyArgument,
    trials: Annotated[int | None, typer.Option(min=1, help="Of the whole study, those that have ended included.")] = None,
    timeout: Annotated[str | None, typer.Option(help="No trial is begun after this: 90s, 30m, 2h.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that run trials.")] = 1,
) -> None:
    """Go on with a study."""
    from bertrec.tuning.plan import load_plan

    changes: dict[str, Any] = {"timeout_minutes": _minutes(timeout)} | ({} if trials is None else {"trials": trials})
    load_plan(study).updated(changes).save(study)
    _finish(study, workers)


@app.command("show")
def show(study: StudyArgument) -> None:
    """Print a study's best trials and how many went how."""
    from bertrec.tuning.plan import load_plan
    from bertrec.tuning.run import open_study

    plan = load_plan(study)
    found = open_study(plan)
    _print_best(found, plan.metrics)
    _print_hint(plan.storage)


@app.command("best")
def best(study: StudyArgument) -> None:
    """Print the best settings, as bertrec train --config reads them."""
    from bertrec.tuning.selection import write_best

    print(write_best(study).read_text(encoding="utf-8"), end="")


@app.command("export")
def export(study: StudyArgument) -> None:
    """Write best.yaml, trials.parquet and the report of a study as it stands."""
    _write(study, None)


@app.command("compare")
def compare(studies: Annotated[list[Path], typer.Argument(metavar="STUDY…", help="Folders of studies.")]) -> None:
    """Print several studies side by side: best value, trials, minutes."""
    from bertrec.tuning.plan import load_plan
    from bertrec.tuning.run import open_study
    from bertrec.tuning.summary import summary

    rows = []
    for folder in studies:
        plan = load_plan(folder)
        rows.append([folder.name, plan.model, ",".join(plan.metrics), *summary(open_study(plan)).cells()])
    columns = ["study", "model", "metric", "best", "first", "complete", "pruned", "failed", "minutes"]
    print_table("", columns, rows, right=columns[3:])


def _what(model: str, space: Path | None, preset: str) -> tuple[str, Any]:
    """Return whose model it is and the space.

    Raises:
        ConfigError: nobody has such a model, or there is no such preset.
    """
    from bertrec.baselines import catalogue
    from bertrec.models.registry import MODELS
    from bertrec.tuning.space import Space

    source = "bertrec" if model in MODELS else "recbole"
    if source == "recbole":
        try:
            catalogue.check_names([model])
        except ConfigError as error:
            raise ConfigError(f"no model of ours ({', '.join(sorted(MODELS))}), and {error}") from error
    return source, Space.load(space) if space else Space.preset(model if source == "bertrec" else f"recbole-{model}", preset)


def _minutes(text: str | None) -> float:
    if text is None:
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not found:
        raise ConfigError(f"--timeout {text}: write it as 90s, 30m or 2h")
    return float(found[1]) * _UNITS[found[2] or "m"]


def _finish(folder: Path, workers: int) -> None:
    """Run what is left, select, and write what the study leaves; Ctrl-C stops the workers and leaves a study that can go on."""
    from bertrec.tuning.plan import load_plan
    from bertrec.tuning.run import go_on
    from bertrec.tuning.selection import select
    from bertrec.tuning.trials import best_trials

    plan = load_plan(folder)
    started = time.monotonic()
    with TrialTable(plan) as table:
        try:
            study = go_on(folder, workers=workers, watch=table.update)
        except KeyboardInterrupt:
            note(f"stopped: bertrec tune resume {folder}  goes on")
            raise
    note(f"trials took {(time.monotonic() - started) / 60:.1f} minutes")
    _print_best(study, plan.metrics)
    test = select(folder, say=note) if best_trials(study) else None
    _write(folder, test)
    _print_hint(plan.storage)


def _write(folder: Path, test: dict[str, Any] | None) -> None:
    from bertrec.tuning.leave import leave

    for path in leave(folder, test):
        print(f"wrote {path}")
    if test:
        for name, value in test["metrics"].items():
            print(f"test {name}: winner {value['mean']:.4f}, defaults {test['default'][name]['mean']:.4f} ({len(test['seeds'])} seeds)")
        print(f"test NDCG@10: {test['paired']['verdict']}")


def _print_best(study: optuna.Study, metrics: tuple[str, ...]) -> None:
    from bertrec.tuning.summary import best_rows

    rows = best_rows(study)
    print_table("best on the validation users", ["trial", *metrics, "settings"], rows, right=["trial", *metrics])


def _print_hint(storage: str) -> None:
    from bertrec.tuning.storage import storage_hint

    note(f"look inside: {storage_hint(storage)}")

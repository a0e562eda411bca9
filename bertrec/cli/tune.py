"""``bertrec tune``: search settings on the validation users, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bertrec.cli import options as o
from bertrec.cli import tune_index
from bertrec.cli.output import note, print_table, say_document
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.tune_finish import finish, print_best, print_hint, write
from bertrec.cli.tune_start import Storage, StudyFolder, StudyName, Timeout, counts_of, minutes, source_of, space_of, study_data_of

EXAMPLES = """
Examples:

bertrec tune ml-100k --model idrec --preset quick --trials 6 --out tuned

bertrec tune data/scientific --model unisrec --trials 50 --timeout 1h --workers 2 --out tuned

bertrec tune data/scientific --model SASRec --space space.yaml --metric NDCG@10 --out tuned-sasrec

bertrec tune data/mind --model prompt4nr --metric AUC --trials 20 --set encoder.name=encoders/mind --out tuned-prompt

bertrec tune index runs/tuned --out tuned-index

bertrec tune show tuned

bertrec tune resume tuned --trials 100

bertrec train data/scientific --config tuned/best.yaml --out runs/tuned
"""


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
app.command("index", epilog=tune_index.EXAMPLES)(tune_index.index)
Workers = Annotated[int, typer.Option(min=1, help="Processes that run trials.")]
StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="The folder of a study.")]


@app.command("run", epilog=EXAMPLES)
@reads_data()
def run(
    data: o.DataArgument,
    out: StudyFolder,
    reading: Reading,
    model: Annotated[
        str,
        typer.Option(metavar="NAME", help="A model, a ranker (bertrec rankers list), a RecBole model such as SASRec, or a class of yours."),
    ] = "unisrec",
    item_input: Annotated[str | None, typer.Option(help="id, text or text+id.")] = None,
    tune: Annotated[str | None, typer.Option(help="How deep the encoder learns: frozen, last:K, lora or full.")] = None,
    space: Annotated[Path | None, typer.Option(metavar="F.yaml", help="The search space; see docs/tuning.md.")] = None,
    preset: Annotated[str | None, typer.Option(help="A shipped space: quick, standard (default) or thorough.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What is made better (NDCG@10; of rankers AUC); several, comma-separated, give a Pareto front.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1)] = 50,
    timeout: Timeout = None,
    workers: Workers = 1,
    study: StudyName = None,
    storage: Storage = None,
    sampler: Annotated[str, typer.Option(help="tpe, gp, cmaes, nsgaii, random or grid.")] = "tpe",
    pruner: Annotated[str | None, typer.Option(help="median, hyperband, wilcoxon or none (several metrics: none).")] = None,
    set_: o.FixedSettings = None,
    seed: Annotated[int, typer.Option(help="Of the sampler and of every trial's training.")] = 0,
    final_seeds: Annotated[int, typer.Option(min=0, help="Fits of winner and defaults for the test users; 0 leaves those alone.")] = 3,
    split: o.Split = "auto",
    keep_seen: o.KeepSeen = None,
) -> None:
    """Start a study on DATA, or go on with the same one."""
    from bertrec.encoders.registry import require_path
    from bertrec.runs.data import load_data
    from bertrec.tuning.plan import JOURNAL, TunePlan
    from bertrec.tuning.run import begin

    model = model.removeprefix("recbole:")  # as bertrec train names RecBole's
    source = source_of(model)
    wanted = ("AUC" if source == "ranker" else "NDCG@10") if metric is None else metric
    metrics = tuple(name.strip() for name in wanted.split(",") if name.strip())
    searched, settings = space_of(model, source, space, preset), o.read_settings(None, set_ or [])
    budget = minutes(timeout)
    require_path(settings.get("encoder.name"))
    dataset = load_data({"data": data, "load": reading})
    study_data = study_data_of(dataset, model, source, split, searched, settings, seed)
    plan = TunePlan.from_dict(
        {
            "study": study or out.absolute().name,
            "storage": storage or str(out / JOURNAL),
            "source": source,
            "model": model,
            "item_input": item_input,
            "tune": tune,
            "settings": settings,
            "space": searched.to_dict(),
            "metrics": metrics,
            "sampler": sampler,
            "pruner": pruner or ("median" if len(metrics) == 1 else "none"),
            "trials": trials,
            "timeout_minutes": budget,
            "seed": seed,
            "final_seeds": final_seeds,
            "mask_seen": not keep_seen,
            "about": {"data": {"name": dataset.name, "format": dataset.format, "counts": counts_of(study_data)}},
        }
    )
    begin(plan, study_data, out)
    note(f"{dataset.name}: {model}, trials: {plan.wanted}, settings searched: {len(searched.parameters)}, workers: {workers}")
    finish(out, workers)


@app.command("resume", epilog="Example: bertrec tune resume tuned --trials 100 --timeout 1h")
def resume(
    study: StudyArgument,
    trials: Annotated[int | None, typer.Option(min=1, help="Of the whole study, those that have ended included.")] = None,
    timeout: Timeout = None,
    workers: Workers = 1,
    trusted: o.Classes = None,
) -> None:
    """Go on with a study."""
    from bertrec.tuning.plan import load_plan

    changes: dict[str, Any] = {"timeout_minutes": minutes(timeout)} | ({} if trials is None else {"trials": trials})
    load_plan(study).updated(changes).save(study)
    finish(study, workers)


@app.command("show", epilog="Example: bertrec tune show tuned")
def show(study: StudyArgument, trusted: o.Classes = None) -> None:
    """Print a study's best trials and how many went how."""
    from bertrec.tuning.plan import load_plan
    from bertrec.tuning.run import open_study

    plan = load_plan(study)
    found = open_study(plan)
    print_best(found, plan.metrics)
    print_hint(plan.storage)


@app.command("best", epilog="Example: bertrec tune best tuned > best.yaml")
def best(
    study: StudyArgument,
    least: Annotated[
        float | None, typer.Option(help="Of several metrics: the best by the last one among the trials that reach this by the first.")
    ] = None,
    trusted: o.Classes = None,
) -> None:
    """Print the best settings, as --config of bertrec train, prompt train and index build reads them."""
    from bertrec.tuning.plan import load_plan
    from bertrec.tuning.selection import write_best

    if least is not None:
        load_plan(study).updated({"least": least}).save(study)
    say_document(write_best(study).read_text(encoding="utf-8").rstrip("\n"))


@app.command("export", epilog="Example: bertrec tune export tuned")
def export(study: StudyArgument, trusted: o.Classes = None) -> None:
    """Write best.yaml, trials.parquet and the report of a study as it stands."""
    write(study, None)


@app.command("compare", epilog="Example: bertrec tune compare tuned tuned-sasrec")
def compare(
    studies: Annotated[list[Path], typer.Argument(metavar="STUDY…", help="Folders of studies.")], trusted: o.Classes = None
) -> None:
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

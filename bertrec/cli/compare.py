"""``bertrec compare``: text models against ID-only ones on one split, with a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, note_each, print_table, say
from bertrec.cli.reading import Reading, reads_data

if TYPE_CHECKING:
    from bertrec.comparison.plan import Plan

EXAMPLES = """
Examples:

bertrec compare ml-100k --out reports/ml

bertrec compare data/scientific --models unisrec:text,morec:text --baselines Pop,BPR,SASRec --budget-minutes 10 --out reports/sci

bertrec compare ml-100k --baselines SASRec --baseline-set SASRec.hidden_size=128 --seeds 1 --out reports/wide

A comparison that was cut short goes on with the same command.
"""


@reads_data()
def compare(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="REPORT", help="The folder of the report.")],
    reading: Reading,
    models: Annotated[
        str | None,
        typer.Option(help="Ours, comma-separated: NAME, NAME:ITEM_INPUT or NAME:ITEM_INPUT:TUNE; idrec and ease run too."),
    ] = None,
    baselines: Annotated[str | None, typer.Option(help="RecBole's models, comma-separated; 'none' leaves them out.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="MODEL.NAME=VALUE", help="A setting of one of our models.")] = None,
    baseline_set: Annotated[list[str] | None, typer.Option(metavar="MODEL.NAME=VALUE", help="A setting of a baseline.")] = None,
    budget_minutes: Annotated[float, typer.Option(help="For each model, its search and all seeds included.")] = 20.0,
    seeds: Annotated[int, typer.Option(min=1, help="Fits of each model's chosen settings, as far as the minutes go.")] = 3,
    trials: Annotated[int, typer.Option(min=1, help="The most settings that a model's search tries; 1 takes the defaults.")] = 30,
    keep_seen: o.KeepSeen = None,
    split: o.Split = "auto",
) -> None:
    """Compare models on DATA under one protocol and write a report that says what was shown and what was not."""
    from bertrec.comparison.plan import DEFAULT_BASELINES, DEFAULT_MODELS, make_plan

    o.choice("split", split, o.SPLITS)
    names = (_names(models, DEFAULT_MODELS), _names(baselines, DEFAULT_BASELINES))
    settings = _settings(set_ or [], "--set", names[0]) | _settings(baseline_set or [], "--baseline-set", names[1])

    def plan_of(more: tuple[str, ...] = ()) -> Plan:
        own = [*names[0], *(name for name in more if name not in names[0])]
        limits: dict[str, Any] = {"budget_minutes": budget_minutes, "seeds": seeds, "trials": trials}
        return make_plan(own, names[1], settings=settings, mask_seen=not keep_seen, **limits)

    plan_of()  # says at once what is wrong with it
    _execute({"data": data, "load": reading, "split": {"method": split}}, plan_of, out)


def _execute(source: dict[str, Any], plan_of: Callable[..., Plan], out: Path) -> None:
    from bertrec.cli.runs import split_data
    from bertrec.comparison.run import compare as run
    from bertrec.comparison.run import total_minutes
    from bertrec.models.untrained import UNTRAINED
    from bertrec.runs.data import load_data

    dataset = load_data(source)
    chosen = split_data(dataset, source)
    note_each(dataset.notes)
    plan = plan_of()
    if len(chosen.held_out) and any(contestant.family == "text" for contestant in plan.contestants):
        plan = plan_of(UNTRAINED)
        note(f"note: the split has new items: {' and '.join(UNTRAINED)}, which need no training, are compared too")
    note(f"{len(plan.contestants)} models, {plan.budget_minutes:g} minutes each: at most {_duration(total_minutes(plan))}")
    about = {"name": dataset.name, "format": dataset.format}
    comparison = run(chosen, plan, out, about=about, say=note)
    _show(comparison)
    say(comparison["verdict"])
    say(f"report: {out / 'index.html'}")


def _names(text: str | None, default: tuple[str, ...]) -> list[str]:
    if text is None:
        return list(default)
    return [] if text.strip() == "none" else [name.strip() for name in text.split(",") if name.strip()]


def _settings(assignments: list[str], option: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return settings by model; the model is the longest name that the assignment begins with."""
    from bertrec.comparison.plan import ALWAYS
    from bertrec.core.errors import ConfigError, unknown_name

    found: dict[str, dict[str, Any]] = {}
    for text in assignments:
        owner = max((name for name in [*names, *ALWAYS] if text.startswith(f"{name}.")), key=len, default=None)
        if owner is None:
            raise ConfigError(f"{option} {text}: {unknown_name('model', text.partition('.')[0], names)}")
        found.setdefault(owner, {}).update(o.read_settings(None, [text.removeprefix(f"{owner}.")]))
    return found


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"


def _show(comparison: dict[str, Any]) -> None:
    metrics = comparison["protocol"]["metrics"]
    primary = comparison["protocol"]["primary_metric"]
    ranked = [model for model in comparison["models"] if model["status"] == "ok"]
    ranked.sort(key=lambda model: -model["slices"]["all"]["metrics"][primary]["mean"])
    rows = [_row(model, metrics) for model in [*ranked, *(m for m in comparison["models"] if m["status"] != "ok")]]
    columns = ["model", "family", *metrics, "seeds", "converged", "minutes"]
    print_table("test", columns, rows, right=[*metrics, "seeds", "minutes"])


def _row(model: dict[str, Any], metrics: list[str]) -> list[str]:
    minutes = f"{model['fit_seconds'] / 60:.1f}"
    if model["status"] != "ok":
        return [model["name"], model["family"], *["-"] * len(metrics), "-", f"{model['status']}: {model['reason']}", minutes]
    figures = [_figure(model["slices"]["all"]["metrics"][metric]) for metric in metrics]
    converged = {True: "yes", False: f"no ({model['ended_by']})", None: "-"}[model["converged"]]
    return [model["name"], model["family"], *figures, str(len(model["seeds"])), converged, minutes]


def _figure(value: dict[str, Any]) -> str:
    return f"{value['mean']:.4f}" + (f" ± {value['sd']:.4f}" if value["sd"] is not None else "")

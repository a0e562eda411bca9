"""After the search: the winner's settings, its fits with several seeds, and the one look at the test users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bertrec.baselines.exchange import load_split
from bertrec.core.errors import BertrecError
from bertrec.core.files import atomic_file, read_json, write_json
from bertrec.data.splits import Split
from bertrec.evaluation.metrics import Float64Array
from bertrec.evaluation.report import summarise
from bertrec.evaluation.significance import paired_comparison
from bertrec.tuning.plan import SPLIT, TunePlan, load_plan
from bertrec.tuning.problems import OwnModel, measure_on
from bertrec.tuning.run import open_study
from bertrec.tuning.trials import best_trials

BEST, TEST, MODEL = "best.yaml", "test.json", "model"
SHOWN = ("NDCG@10", "HR@10", "MRR@10")
Say = Callable[[str], None]


def best_settings(folder: Path) -> dict[str, Any]:
    """Return the flat settings of the best trial with those that were not searched; the first of a Pareto front.

    Raises:
        BertrecError: no trial was completed.
    """
    plan = load_plan(folder)
    best = best_trials(open_study(plan))
    if not best:
        raise BertrecError(f"the study in {folder} has no completed trial yet: go on with  bertrec tune resume {folder}")
    return {**plan.settings, **best[0].user_attrs.get("settings", best[0].params)}


def write_best(folder: Path) -> Path:
    """Write ``best.yaml``, which ``bertrec train --config`` takes as it is (for a model of ours).

    Raises:
        BertrecError: no trial was completed.
    """
    plan = load_plan(folder)
    settings = best_settings(folder)
    chosen = {name: value for name, value in (("item.input", plan.item_input), ("encoder.tune", plan.tune)) if value is not None}
    values = {"model": plan.model, **chosen, **settings} if plan.source == "bertrec" else settings
    with atomic_file(folder / BEST) as temporary:
        temporary.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return folder / BEST


def select(folder: Path, *, say: Say = lambda line: None) -> dict[str, Any] | None:
    """Fit the winner and the defaults with ``final_seeds`` seeds and measure both on the test users, once.

    The figures are kept in ``test.json``: a second call returns them without another look, unless the winner has changed.

    Args:
        folder: of the study.
        say: takes a line at a time of how it goes.

    Returns:
        ``{"settings", "seeds", "metrics": {NAME: {"mean", "ci95", "sd"}}, "default": {the same}, "paired": …}``; None where there is
        nothing to measure: no test users, ``final_seeds`` 0, or a baseline (compare these with ``bertrec compare --baseline-set``).
    """
    plan = load_plan(folder)
    split = load_split(folder / SPLIT)
    if plan.source != "bertrec" or not plan.final_seeds or split.test is None:
        return None
    settings = best_settings(folder)
    if (folder / TEST).exists():
        former: dict[str, Any] = read_json(folder / TEST)
        if former["settings"] == settings and len(former["seeds"]) == plan.final_seeds:
            return former
    winner, tuned = _measured(plan, settings, split, folder / MODEL, say)
    if settings == {**plan.settings, **plan.searched.defaults(OwnModel(plan.model, plan.item_input, plan.tune).defaults)}:
        default, plain = winner, tuned
    else:
        default, plain = _measured(plan, plan.settings, split, None, say)
    paired = paired_comparison(tuned, plain, names=("the winner", "the defaults"))
    result = {
        "settings": settings,
        "seeds": list(range(plan.final_seeds)),
        "metrics": winner,
        "default": default,
        "paired": paired.to_json(),
    }
    write_json(folder / TEST, result)
    return result


def _measured(
    plan: TunePlan, settings: Mapping[str, Any], split: Split, keep: Path | None, say: Say
) -> tuple[dict[str, Any], Float64Array]:
    """Return the test figures of a few seeds, and each user's first metric averaged over them; seed 0's model is kept."""
    assert split.test is not None
    problem = OwnModel(plan.model, plan.item_input, plan.tune)
    reports = []
    for seed in range(plan.final_seeds):
        model = problem.create(settings, seed=seed)
        trains = "train.seed" in model.config.to_flat()
        model.fit(split.train, validation=split.validation, **({"progress": False} if trains else {}))
        reports.append(measure_on(model, split, split.test))
        say(f"{'winner' if keep else 'defaults'}, seed {seed}: test NDCG@10 {reports[-1].mean('NDCG@10'):.4f}")
        if keep is not None and seed == 0:
            model.save_pretrained(keep)
    averaged = {name: np.mean([report.per_user(name) for report in reports], axis=0) for name in SHOWN}
    intervals = summarise(averaged, resamples=1000, seed=0)
    figures = {name: _figure(intervals[name].ci95, [report.mean(name) for report in reports]) for name in SHOWN}
    return figures, averaged[SHOWN[0]]


def _figure(ci95: tuple[float, float] | None, means: list[float]) -> dict[str, Any]:
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return {"mean": float(np.mean(means)), "ci95": None if ci95 is None else list(ci95), "sd": spread}

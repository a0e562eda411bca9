"""After the search: the winner's settings, its fits with several seeds, and the one look at the test users."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic
import yaml

from bertrec.core.errors import BertrecError, ModelError
from bertrec.core.files import atomic_file, read_record, write_json
from bertrec.evaluation.metrics import Float64Array
from bertrec.evaluation.report import summarise
from bertrec.evaluation.significance import paired_comparison
from bertrec.tuning.objectives.models import FinalObjective
from bertrec.tuning.plan import TunePlan, check_vouched, classes_in, load_plan
from bertrec.tuning.run import open_study
from bertrec.tuning.study_data import StudyData, Vectors, load_study_data
from bertrec.tuning.trials import best_trials

if TYPE_CHECKING:
    import optuna

BEST, TEST, MODEL = "best.yaml", "test.json", "model"
Say = Callable[[str], None]


class _Figure(pydantic.BaseModel):
    mean: float
    ci95: tuple[float, float] | None = None
    sd: float | None = None


_FIGURES = pydantic.TypeAdapter(dict[str, _Figure])


def best_settings(folder: Path) -> dict[str, Any]:
    """Return the flat settings of the best trial with those that were not searched; of a Pareto front see `winner`.

    Raises:
        BertrecError: no trial was completed.
    """
    plan = load_plan(folder)
    best = best_trials(open_study(plan))
    if not best:
        raise BertrecError(f"the study in {folder} has no completed trial yet: go on with  bertrec tune resume {folder}")
    chosen = winner(best, plan)
    found = {**plan.settings, **chosen.user_attrs.get("settings", chosen.params)}
    check_vouched(classes_in(found.values()), f"the storage of the study in {folder} has settings with")
    return found


def winner(front: Sequence[optuna.trial.FrozenTrial], plan: TunePlan) -> optuna.trial.FrozenTrial:
    """Return one trial of a front: the first, or with ``plan.least`` the best by the last metric of those that reach it by the first.

    Where none does, it is the one that comes nearest.
    """
    if plan.least is None or len(front) < 2:
        return front[0]
    first, last = ([1.0 if way == "maximize" else -1.0 for way in plan.directions][place] for place in (0, -1))
    reached = [trial for trial in front if first * trial.values[0] >= first * plan.least]
    if not reached:
        return max(front, key=lambda trial: first * trial.values[0])
    return max(reached, key=lambda trial: last * trial.values[-1])


def write_best(folder: Path) -> Path:
    """Write ``best.yaml``, which ``--config`` of ``bertrec train``, ``prompt train`` or ``index build`` takes as it is.

    Raises:
        BertrecError: no trial was completed.
    """
    plan = load_plan(folder)
    settings = best_settings(folder)
    named = {"bertrec": {"model": plan.model}, "recbole": {"model": f"recbole:{plan.model}"}}.get(plan.source, {})
    values = {**named, **plan.chosen, **settings}
    with atomic_file(folder / BEST) as temporary:
        temporary.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return folder / BEST


def read_test(folder: Path) -> dict[str, Any]:
    """Return the test figures that `select` wrote.

    Raises:
        ModelError: the file is damaged.
    """
    found = read_record(folder / TEST, {"settings": dict, "seeds": list, "metrics": dict, "default": dict, "paired": dict})
    try:
        for part in ("metrics", "default"):
            _FIGURES.validate_python(found[part])
    except pydantic.ValidationError as error:
        raise ModelError(f"{folder / TEST} is damaged: its figures are no numbers ({error.errors()[0]['msg']})") from error
    return found


def select(folder: Path, *, say: Say = lambda line: None) -> dict[str, Any] | None:
    """Fit the winner and the defaults with ``final_seeds`` seeds and measure both on the test users, once.

    The figures are kept in ``test.json``: a second call returns them without another look, unless the winner has changed.

    Args:
        folder: of the study.
        say: takes a line at a time of how it goes.

    Returns:
        ``{"settings", "seeds", "metrics": {NAME: {"mean", "ci95", "sd"}}, "default": {the same}, "paired": …}``; None where there is
        nothing to measure: no test part, ``final_seeds`` 0, an index, or a baseline (``bertrec compare --baseline-set`` measures these).
    """
    plan = load_plan(folder)
    data = load_study_data(plan.source, folder)
    objective = plan.objective(folder)
    if not isinstance(objective, FinalObjective) or isinstance(data, Vectors) or not plan.final_seeds or data.test is None:
        return None
    settings = best_settings(folder)
    if (folder / TEST).exists():
        former = read_test(folder)
        if former["settings"] == settings and len(former["seeds"]) == plan.final_seeds:
            return former
    found, tuned = _measured(objective, plan.final_seeds, settings, data, folder / MODEL, say)
    if settings == {**plan.settings, **plan.searched.defaults(objective.defaults)}:
        default, plain = found, tuned
    else:
        default, plain = _measured(objective, plan.final_seeds, plan.settings, data, None, say)
    paired = paired_comparison(tuned, plain, names=("the winner", "the defaults"))
    result = {
        "settings": settings,
        "seeds": list(range(plan.final_seeds)),
        "metrics": found,
        "default": default,
        "paired": paired.to_json(),
    }
    write_json(folder / TEST, result)
    return result


def _measured(
    objective: FinalObjective, seeds: int, settings: Mapping[str, Any], data: StudyData, keep: Path | None, say: Say
) -> tuple[dict[str, Any], Float64Array]:
    """Return the test figures of a few seeds, and each user's first metric averaged over them; seed 0's model is kept."""
    fits = []
    for seed in range(seeds):
        fits.append(objective.final(settings, data, seed=seed, keep=keep if seed == 0 else None))
        first, values = next(iter(fits[-1].items()))
        say(f"{'winner' if keep else 'defaults'}, seed {seed}: test {first} {values.mean():.4f}")
    averaged = {name: np.mean([fit[name] for fit in fits], axis=0) for name in fits[0]}
    intervals = summarise(averaged, resamples=1000, seed=0)
    figures = {name: _figure(intervals[name].ci95, [float(fit[name].mean()) for fit in fits]) for name in averaged}
    return figures, next(iter(averaged.values()))


def _figure(ci95: tuple[float, float] | None, means: list[float]) -> dict[str, Any]:
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return {"mean": float(np.mean(means)), "ci95": None if ci95 is None else list(ci95), "sd": spread}

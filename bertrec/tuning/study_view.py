"""A study as it was at one moment: its best trial, its front, its default, and what each trial was."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bertrec.tuning.statistics import expected_regression

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

STATES = ("complete", "pruned", "failed", "running", "waiting")
_STATE_NAMES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


@dataclass(frozen=True)
class StudyView:
    """A study as it was at one moment, so that no figure of a report contradicts another while workers go on.

    Attributes:
        study: the study; only its importances are still read from it.
        trials: all trials by number.
        about: what the report is told beyond the study.
    """

    study: Study
    trials: Sequence[FrozenTrial]
    about: Mapping[str, Any]

    @cached_property
    def larger_is_better(self) -> list[bool]:
        """For each objective, whether it is maximised."""
        return [direction.name == "MAXIMIZE" for direction in self.study.directions]

    @cached_property
    def objectives(self) -> list[str]:
        """Names of the objectives, each different: the study's own, else ``about["metric"]``, else plain ones."""
        count = len(self.larger_is_better)
        told = self.about.get("metrics") or self.about.get("metric") or []
        told = [told] if isinstance(told, str) else list(told)
        names = [str(name) for name in self.study.metric_names or told]
        if len(names) == count == len(set(names)):
            return names
        return ["value"] if count == 1 else [f"value {place}" for place in range(count)]

    @property
    def single(self) -> bool:
        """Whether there is one objective."""
        return len(self.objectives) == 1

    @cached_property
    def by_state(self) -> dict[str, list[FrozenTrial]]:
        """Trials by each of `STATES`."""
        found: dict[str, list[FrozenTrial]] = {state: [] for state in STATES}
        for trial in self.trials:
            found[state_of(trial)].append(trial)
        return found

    @cached_property
    def measured(self) -> list[FrozenTrial]:
        """Completed trials whose figures are all finite: what one may pick from, and what is drawn."""
        return [trial for trial in self.by_state["complete"] if all(math.isfinite(value) for value in trial.values or [math.nan])]

    @cached_property
    def best(self) -> FrozenTrial | None:
        """The best trial of a study with one objective that keeps its constraints, the first among equals; None where there is none."""
        allowed = [trial for trial in self.measured if keeps_constraints(trial)]
        if not self.single or not allowed:
            return None
        return max(allowed, key=lambda trial: (self.gains(trial)[0], -trial.number))

    @cached_property
    def front(self) -> list[FrozenTrial]:
        """Trials that no other is at least as good as in every objective and better in one, by the first objective from the best."""
        gains = [(self.gains(trial), trial) for trial in self.measured if keeps_constraints(trial)]
        found = [(own, trial) for own, trial in gains if not any(_dominates(other, own) for other, _ in gains)]
        return [trial for own, trial in sorted(found, key=lambda pair: (-pair[0][0], pair[1].number))]

    @cached_property
    def default(self) -> FrozenTrial | None:
        """The trial of the defaults: marked so by its user attribute ``default``, a measured one first."""
        marked = [trial for trial in self.trials if trial.user_attrs.get("default") is True]
        return next((trial for trial in marked if trial in self.measured), marked[0] if marked else None)

    @cached_property
    def default_value(self) -> float | None:
        """The default's figure, where there is one objective and the default was measured."""
        measured = self.single and self.default is not None and self.default in self.measured
        return float(self.default.values[0]) if measured and self.default is not None else None

    @cached_property
    def parameters(self) -> list[str]:
        """Every parameter that some trial used, in the order in which they were first used."""
        return list(dict.fromkeys(name for trial in self.trials for name in parameters_of(trial)))

    @cached_property
    def varying(self) -> list[str]:
        """The parameters that some trial sets otherwise than another, or does not use."""
        used = [parameters_of(trial) for trial in self.trials]
        return [name for name in self.parameters if len({repr(one[name]) if name in one else None for one in used}) > 1]

    @cached_property
    def standard_error(self) -> float | None:
        """Median standard error of a figure over the measured trials, or None where none recorded it."""
        found = [trial.user_attrs.get("standard_error") for trial in self.measured]
        usable = [float(value) for value in found if is_number(value) and value >= 0]
        return statistics.median(usable) if usable else None

    @cached_property
    def regression(self) -> float | None:
        """By how much the best figure is expected to overstate the truth; None where that cannot be said."""
        if self.best is None or self.standard_error is None:
            return None
        return expected_regression([self.gains(trial)[0] for trial in self.measured], self.standard_error)

    @property
    def seconds(self) -> float:
        """Time of all finished trials together."""
        return sum(seconds_of(trial) or 0.0 for trial in self.trials)

    @property
    def reports_chunks(self) -> bool:
        """Whether trials report chunks of users, as the Wilcoxon pruner compares them, and not epochs."""
        return "wilcoxon" in str(self.about.get("pruner") or "").casefold()

    def gains(self, trial: FrozenTrial) -> list[float]:
        """Return the figures of a measured trial, turned so that larger is better."""
        return [value if up else -value for value, up in zip(trial.values, self.larger_is_better, strict=True)]


def read_study(study: Study, about: Mapping[str, Any]) -> StudyView:
    """Read the trials of a study once."""
    trials = sorted(study.get_trials(deepcopy=False), key=lambda trial: trial.number)
    return StudyView(study, trials, about)


def state_of(trial: FrozenTrial) -> str:
    """Return one of `STATES`."""
    return _STATE_NAMES[trial.state.name]


def seconds_of(trial: FrozenTrial) -> float | None:
    """Return how long a finished trial took."""
    if trial.datetime_start is None or trial.datetime_complete is None:
        return None
    return float((trial.datetime_complete - trial.datetime_start).total_seconds())


def parameters_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's parameters; of one that waits, those that it was enqueued with."""
    return dict(trial.params or trial.system_attrs.get("fixed_params") or {})


def reason_of(trial: FrozenTrial) -> str | None:
    """Return why a trial failed, where that was recorded."""
    found = trial.user_attrs.get("reason")
    return None if found is None else str(found)


def keeps_constraints(trial: FrozenTrial) -> bool:
    """Say whether no constraint of the trial is broken; one without constraints breaks none."""
    return all(value <= 0 for value in dict(getattr(trial, "constraints", None) or {}).values())


def curve_of(trial: FrozenTrial) -> list[tuple[int, float]]:
    """Return the finite figures that a trial reported while it ran, by step."""
    return sorted((step, float(value)) for step, value in trial.intermediate_values.items() if math.isfinite(value))


def is_number(value: Any) -> bool:
    """Say whether a value is a finite number, not a truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))

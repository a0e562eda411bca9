"""A study in a few words and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertrec.pages.wording import figure_text
from bertrec.tuning.trials import best_trials

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Summary:
    """How a study stands.

    Attributes:
        best: values of the best trial, or of the first of a Pareto front; None before a trial is complete.
        first: values of the defaults' trial.
        complete, pruned, failed, running: trials.
        minutes: spent in trials, all workers together.
    """

    best: list[float] | None
    first: list[float] | None
    complete: int
    pruned: int
    failed: int
    running: int
    minutes: float

    def cells(self) -> list[str]:
        """Return best, first, complete, pruned, failed and minutes as text."""
        return [_values(self.best), _values(self.first), str(self.complete), str(self.pruned), str(self.failed), f"{self.minutes:.1f}"]

    def line(self, trials: int, minutes_left: float | None) -> str:
        """Return one line for a running study."""
        done = self.complete + self.pruned + self.failed
        left = "" if minutes_left is None else f", {minutes_left:.0f} minutes left"
        ended = f"{done} of {trials} trials ended ({self.complete} complete, {self.pruned} pruned, {self.failed} failed)"
        return f"{ended}, {self.running} running, best {_values(self.best)}, defaults {_values(self.first)}{left}"


def summary(study: optuna.Study) -> Summary:
    """Count a study's trials."""
    trials = study.get_trials(deepcopy=False)
    counts = {name: sum(trial.state.name == name for trial in trials) for name in ("COMPLETE", "PRUNED", "FAIL", "RUNNING")}
    spent = [trial.duration.total_seconds() for trial in trials if trial.duration is not None]
    first = next((trial.values for trial in trials if trial.user_attrs.get("default") and trial.values), None)
    best = best_trials(study)
    return Summary(
        best=best[0].values if best else None,
        first=first,
        complete=counts["COMPLETE"],
        pruned=counts["PRUNED"],
        failed=counts["FAIL"],
        running=counts["RUNNING"],
        minutes=sum(spent) / 60,
    )


def best_rows(study: optuna.Study, *, most: int = 5) -> list[list[str]]:
    """Return number, values and settings of the best trials; all of a Pareto front."""
    trials = list(best_trials(study))
    if trials and len(study.directions) == 1:
        done = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        sign = -1 if study.direction.name == "MAXIMIZE" else 1
        trials = sorted(done, key=lambda trial: sign * (trial.value or 0.0))[:most]
    return [[str(trial.number), *(figure_text(value) for value in trial.values), _settings(trial.params)] for trial in trials]


def _settings(params: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items())


def _values(values: list[float] | None) -> str:
    return "-" if values is None else ", ".join(figure_text(value) for value in values)

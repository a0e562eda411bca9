"""The fits of one model within its minutes: a search over settings, then the seeds of the chosen ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bertrec.comparison.plan import Contestant, Plan
from bertrec.comparison.search import Tried
from bertrec.recbole.exchange import Outcome, Status


@dataclass(frozen=True)
class FitKey:
    """Which fit: a candidate's number and a seed."""

    candidate: int
    seed: int

    @property
    def folder(self) -> str:
        """Where it stands below its model's folder."""
        return f"candidate-{self.candidate}-seed-{self.seed}"


@dataclass
class ModelFits:
    """All fits of one model.

    Attributes:
        contestant: the model.
        outcomes: of every fit that was begun, in order.
        chosen: the number of the chosen candidate; None where no fit went well.
    """

    contestant: Contestant
    outcomes: dict[FitKey, Outcome] = field(default_factory=dict)
    chosen: int | None = None

    @property
    def search(self) -> dict[FitKey, Outcome]:
        """The fits that the settings were chosen by."""
        return {key: outcome for key, outcome in self.outcomes.items() if key.seed == 0}

    @property
    def of_chosen(self) -> dict[FitKey, Outcome]:
        """The chosen settings' fits that went well, by seed."""
        return {key: o for key, o in self.outcomes.items() if key.candidate == self.chosen and o.status == "ok"}

    @property
    def status(self) -> Status:
        """``ok``, or why the model is not ranked: one seed without numbers for scores makes the whole row invalid."""
        chosen = [o for key, o in self.outcomes.items() if key.candidate == self.chosen]
        if self.chosen is not None:
            return "invalid" if any(o.status == "invalid" for o in chosen) else "ok"
        return "invalid" if any(o.status == "invalid" for o in self.outcomes.values()) else "failed"

    @property
    def reason(self) -> str | None:
        """What went wrong, of the fits that the row rests on."""
        concerned = [(k, o) for k, o in self.outcomes.items() if o.reason and (self.chosen is None or k.candidate == self.chosen)]
        return "; ".join(f"seed {key.seed}: {outcome.reason}" for key, outcome in concerned) or None

    @property
    def total_seconds(self) -> float:
        """Of all processes together."""
        return sum(outcome.total_seconds for outcome in self.outcomes.values())


Fit = Callable[[FitKey, dict[str, Any], float], Outcome]


def run_fits(contestant: Contestant, plan: Plan, fit: Fit) -> ModelFits:
    """Search and repeat within ``plan.budget_minutes``.

    The first settings may use all of it. Others are tried, at most ``plan.trials`` in all, only while time is left for them and for the
    other seeds, counted at the longest fit so far; the best by validation then gets its other seeds, as many as there is time for. A model
    that does not train has no other seeds.

    Args:
        contestant: the model.
        plan: the comparison.
        fit: runs one fit with the settings and a limit in seconds.
    """
    fits = ModelFits(contestant)
    budget = 60.0 * plan.budget_minutes
    tried: list[Tried] = []
    for number in range(plan.trials):
        reserve = (plan.seeds - 1) * _longest(fits)
        left = budget - fits.total_seconds - reserve
        if number and left < _longest(fits):
            break
        settings = contestant.search.settings(tried)
        if settings is None:
            break
        fits.outcomes[FitKey(number, 0)] = fit(FitKey(number, 0), settings, left)
        tried.append((settings, _figure(fits.outcomes[FitKey(number, 0)])))
    fits.chosen = _best(fits)
    if fits.chosen is not None and fits.outcomes[FitKey(fits.chosen, 0)].ended_by != "no training":
        _other_seeds(fits, plan, budget, fit, tried[fits.chosen][0])
    return fits


def _other_seeds(fits: ModelFits, plan: Plan, budget: float, fit: Fit, settings: dict[str, Any]) -> None:
    assert fits.chosen is not None
    for seed in range(1, plan.seeds):
        left = budget - fits.total_seconds
        if left < fits.outcomes[FitKey(fits.chosen, 0)].total_seconds:
            return
        key = FitKey(fits.chosen, seed)
        fits.outcomes[key] = fit(key, settings, left)


def _figure(outcome: Outcome) -> float | None:
    return outcome.best_metric if outcome.status == "ok" else None


def _longest(fits: ModelFits) -> float:
    return max((outcome.total_seconds for outcome in fits.outcomes.values()), default=0.0)


def _best(fits: ModelFits) -> int | None:
    """Return the candidate with the highest validation figure; without any, the first that went well."""
    well = {key.candidate: outcome for key, outcome in fits.search.items() if outcome.status == "ok"}
    return max(well, key=lambda number: (well[number].best_metric or 0.0, -number), default=None)

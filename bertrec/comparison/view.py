"""What a comparison found: who is ranked, by what, against whom."""

from __future__ import annotations

from functools import cached_property

from bertrec.evaluation.significance import NO_DIFFERENCE, is_shown
from bertrec.pages.blocks import Json

# What the slices hold, where their names do not say it.
SLICES = {
    "cold_items": "the target is never in training",
    "few_shot_items": "the target is in training 1 to 5 times",
    "warm_items": "the target is in training over 5 times",
    "short_histories": "5 items or fewer",
    "long_histories": "over 20 items",
    "head_items": "the target is among the most frequent items, which have a third of all training interactions",
    "torso_items": "the target is in the next third",
    "tail_items": "the target is in the last third",
}
_SLICE_TITLES = {"all": "all users", "few_shot_items": "few-shot items"}


class View:
    """A comparison as read from its JSON; any list of it may be empty.

    Attributes:
        protocol: what the figures were measured under.
        data_name: of the data, or ``unnamed data``.
        models: all, in the order given.
        primary: the metric that ranks.
        metrics: the compared ones, the primary one first.
        measured: every metric that some model has over all users, the compared ones first.
        tests: all pairwise tests in the order of ``metrics``.
        ranked: models that finished, best first by the primary metric; equals by name.
        unranked: models without a figure to rank by, in the order given.
        best_id: the highest ranked model that knows items by id alone, the reference of the marks; None where there is none.
        slices: names of all slices, ``all`` first, in the order given.
    """

    def __init__(self, comparison: Json) -> None:
        self.protocol: Json = comparison.get("protocol") or {}
        self.verdict = str(comparison.get("verdict") or "No verdict was recorded.")
        self.data_name = str((self.protocol.get("data") or {}).get("name") or "unnamed data")
        named = list(self.protocol.get("metrics") or [])
        self.primary = str(self.protocol.get("primary_metric") or [*named, "NDCG@10"][0])
        self.metrics = list(dict.fromkeys([self.primary, *named]))
        self.models: list[Json] = list(comparison.get("models") or [])
        found = [name for model in self.models for name in _metrics_of(model, "all")]
        self.measured = [name for name in dict.fromkeys([*self.metrics, *found]) if name in found]
        place = {name: position for position, name in enumerate(self.metrics)}
        self.tests: list[Json] = sorted(comparison.get("tests") or [], key=lambda test: place.get(test["metric"], len(place)))
        usable = [model for model in self.models if model.get("status") == "ok" and figure(model, self.primary)]
        self.ranked = sorted(usable, key=lambda model: (-(mean(model, self.primary) or 0.0), str(model["name"])))
        self.unranked = [model for model in self.models if model not in self.ranked]
        self.best_id = next((model for model in self.ranked if model.get("family") == "id"), None)
        self.slices = list(dict.fromkeys(["all", *(name for model in self.ranked for name in model.get("slices") or {})]))

    def slice_title(self, name: str) -> str:
        """Return what a slice is called."""
        return _SLICE_TITLES.get(name, name.replace("_", " "))

    def slice_users(self, name: str) -> int:
        """Return the users of a slice, by the first model that has it."""
        parts = [(model.get("slices") or {}).get(name) for model in self.ranked]
        return next((int(part.get("users") or 0) for part in parts if part), 0)

    def against_best_id(self, model: Json, metric: str) -> tuple[float, str] | None:
        """Return a model's mean less the best ID model's, and ``▲`` or ``▼`` where a difference is shown; None if not tested."""
        if self.best_id is None or model["name"] == self.best_id["name"]:
            return None
        sign, test = self._tests_by_pair.get((model["name"], self.best_id["name"], metric), (0.0, {}))
        if not test:
            return None
        difference = sign * float(test["difference"])
        return difference, ("▲" if difference > 0 else "▼") if is_significant(test) else ""

    @cached_property
    def _tests_by_pair(self) -> dict[tuple[str, str, str], tuple[float, Json]]:
        overall = [test for test in self.tests if test.get("slice", "all") == "all"]
        turned = {(test["b"], test["a"], test["metric"]): (-1.0, test) for test in overall}
        return turned | {(test["a"], test["b"], test["metric"]): (1.0, test) for test in overall}


def figure(model: Json, metric: str, part: str = "all") -> Json | None:
    """Return ``{"mean", "ci95", "sd"}`` of a metric, or None where it was not measured."""
    found = _metrics_of(model, part).get(metric)
    return found if found and found.get("mean") is not None else None


def mean(model: Json, metric: str, part: str = "all") -> float | None:
    """Return a metric's mean, or None where it was not measured."""
    found = figure(model, metric, part)
    return None if found is None else float(found["mean"])


def not_converged(model: Json) -> bool:
    """Say whether training of a finished model ended before it had converged."""
    return model.get("converged") is False or model.get("ended_by") in ("budget", "killed")


def is_significant(test: Json) -> bool:
    """Say whether a test shows a difference: corrected p below 0.05, an interval that excludes 0, and a verdict that says so."""
    return is_shown(test.get("p_holm"), test.get("ci95")) and test.get("verdict") != NO_DIFFERENCE


def _metrics_of(model: Json, part: str) -> Json:
    return ((model.get("slices") or {}).get(part) or {}).get("metrics") or {}

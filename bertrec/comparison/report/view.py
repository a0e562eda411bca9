"""Questions that every part of the report asks of a comparison: who is ranked, by what, against whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bertrec.evaluation.significance import NO_DIFFERENCE, is_shown
from bertrec.pages.blocks import Json

# Figures of the lists, not of the hits: they stand beside accuracy and never rank a model.
BEYOND_ACCURACY = ("Coverage", "Gini", "Novelty")
_SLICE_TITLES = {"all": "all users", "few_shot_items": "few-shot items"}


@dataclass(frozen=True)
class View:
    """A comparison as read from its JSON; every list of it may be empty."""

    comparison: Json

    @property
    def protocol(self) -> Json:
        """What the figures were measured under."""
        return self.comparison.get("protocol") or {}

    @property
    def data_name(self) -> str:
        """Name of the data, or ``unnamed data``."""
        return str((self.protocol.get("data") or {}).get("name") or "unnamed data")

    @property
    def models(self) -> list[Json]:
        """All models in the order given."""
        return list(self.comparison.get("models") or [])

    @cached_property
    def primary(self) -> str:
        """The metric that ranks."""
        named = list(self.protocol.get("metrics") or [])
        return str(self.protocol.get("primary_metric") or (named[0] if named else "NDCG@10"))

    @cached_property
    def metrics(self) -> list[str]:
        """The compared metrics, the primary one first."""
        return list(dict.fromkeys([self.primary, *(self.protocol.get("metrics") or [])]))

    @cached_property
    def measured(self) -> list[str]:
        """Every metric that some model has over all users: the compared ones first."""
        found = [name for model in self.models for name in _metrics_of(model, "all")]
        return [name for name in dict.fromkeys([*self.metrics, *found]) if name in found]

    @cached_property
    def tests(self) -> list[Json]:
        """All pairwise tests, the primary metric's first, then as the protocol names the metrics."""
        place = {name: position for position, name in enumerate(self.metrics)}
        return sorted(self.comparison.get("tests") or [], key=lambda test: place.get(test["metric"], len(place)))

    @cached_property
    def ranked(self) -> list[Json]:
        """Models that finished, best first by the primary metric; equals by name."""
        usable = [model for model in self.models if self._is_ranked(model)]
        return sorted(usable, key=lambda model: (-(mean(model, self.primary) or 0.0), str(model["name"])))

    @cached_property
    def unranked(self) -> list[Json]:
        """Models without a figure to rank by, in the order given."""
        return [model for model in self.models if not self._is_ranked(model)]

    def _is_ranked(self, model: Json) -> bool:
        return model.get("status") == "ok" and mean(model, self.primary) is not None

    @cached_property
    def best_id(self) -> Json | None:
        """The highest ranked model that knows items by id alone: the reference of the marks."""
        return next((model for model in self.ranked if model.get("family") == "id"), None)

    @cached_property
    def slices(self) -> list[str]:
        """Names of all slices, ``all`` first, in the order given."""
        found = [name for model in self.ranked for name in model.get("slices") or {}]
        return list(dict.fromkeys(["all", *found])) if found else []

    @cached_property
    def drawn_slices(self) -> list[str]:
        """Slices of which some ranked model has the primary figure."""
        return [name for name in self.slices if any(figure(model, self.primary, name) for model in self.ranked)]

    def slice_title(self, name: str) -> str:
        """Return what a slice is called."""
        return _SLICE_TITLES.get(name, name.replace("_", " "))

    def slice_users(self, name: str) -> int:
        """Users of a slice, by the first model that has it."""
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

"""What is compared: models, minutes, seeds and the rules of the measurement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bertrec.comparison.search import Search, make_search
from bertrec.core.checks import expect, expect_names, expect_number, expect_whole
from bertrec.core.config import SEEDS
from bertrec.core.errors import ConfigError
from bertrec.core.plugins import is_path
from bertrec.heads.config import ITEM_INPUTS
from bertrec.models.names import MODELS
from bertrec.models.registry import create
from bertrec.recbole import catalogue

Family = Literal["text", "id"]
Source = Literal["bertrec", "recbole"]

DEFAULT_MODELS = ("unisrec:text", "unisrec:text+id")
DEFAULT_BASELINES = ("Pop", "ItemKNN", "BPR", "LightGCN", "GRU4Rec", "SASRec", "BERT4Rec")
ALWAYS = ("idrec", "ease")
"""The network of the text models over IDs, and what a closed form reaches in seconds."""
DEFAULT_TRIALS = 30


@dataclass(frozen=True)
class Contestant:
    """One row of the comparison.

    Attributes:
        name: as the user wrote it.
        source: whose model it is.
        family: whether it reads item text.
        search: the settings that are tried.
        options: model, item input and tuning depth of a model of ours.
    """

    name: str
    source: Source
    family: Family
    search: Search = field(default_factory=Search)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def named(self) -> list[tuple[str, Any]]:
        """Settings that name something, with each value that is tried."""
        space = {} if self.search.space is None else self.search.space.parameters
        tried = [(name, value) for settings in self.search.first for name, value in settings.items()]
        return [*tried, *((name, value) for name, parameter in space.items() for value in parameter.choice or ())]

    @property
    def slug(self) -> str:
        """The name as a folder."""
        return re.sub(r"[^A-Za-z0-9+._-]", "_", f"{self.source}-{self.name}")


@dataclass(frozen=True)
class Plan:
    """Everything that decides a comparison's figures, beside the split.

    Attributes:
        contestants: what is compared.
        budget_minutes: for each of them, its search and all seeds included.
        seeds: how many fits of the chosen settings, seeded 0, 1, ….
        metric: chooses epochs and settings, and ranks.
        metrics: those that are tested pair by pair.
        mask_seen: whether items of the history are left out of the ranking.
        ks: cut-offs.
        trials: the most settings that a model's search tries; fewer where the minutes end before.
        resamples: of the bootstrap behind the tests.
    """

    contestants: tuple[Contestant, ...]
    budget_minutes: float = 20.0
    seeds: int = 3
    metric: str = "NDCG@10"
    metrics: tuple[str, ...] = ("NDCG@10", "HR@10", "MRR@10")
    mask_seen: bool = True
    ks: tuple[int, ...] = (1, 5, 10, 20, 50)
    trials: int = DEFAULT_TRIALS
    resamples: int = 10_000

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, to recognise the same comparison again."""
        rows = [{"name": c.name, "source": c.source, "search": c.search.to_dict(), "options": c.options} for c in self.contestants]
        return {
            "contestants": rows,
            "budget_minutes": self.budget_minutes,
            "seeds": self.seeds,
            "metric": self.metric,
            "mask_seen": self.mask_seen,
            "ks": list(self.ks),
            "trials": self.trials,
        }


def make_plan(
    models: Sequence[str] = DEFAULT_MODELS,
    baselines: Sequence[str] = DEFAULT_BASELINES,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    budget_minutes: float = 20.0,
    seeds: int = 3,
    trials: int = DEFAULT_TRIALS,
    mask_seen: bool = True,
) -> Plan:
    """Return a checked plan; our own ``idrec`` and ``ease`` are always in it.

    Args:
        models: ours, written ``name``, ``name:item_input`` or ``name:item_input:tune``, such as ``morec:text:last:2``.
        baselines: RecBole's names.
        settings: of a model or baseline by its name as written; they hold in all of its fits and are not searched.
        budget_minutes: for each model.
        seeds: fits of each model's chosen settings.
        trials: the most settings that a model's search tries.
        mask_seen: whether items of the history are left out of the ranking.

    Raises:
        ConfigError: an unknown or repeated model, an unknown setting, or a number outside its range.
        MissingExtraError: baselines are asked for and RecBole is not installed.
    """
    call = "bertrec.make_plan"
    expect_names(models, f"{call}: models")
    expect_names(baselines, f"{call}: baselines")
    expect_number(budget_minutes, f"{call}: budget_minutes")
    expect_whole(seeds, f"{call}: seeds")
    expect_whole(trials, f"{call}: trials")
    for values in (settings, *settings.values()) if isinstance(settings, Mapping) else (settings,):
        expect(values, Mapping, f"{call}: settings", optional=settings is None, error=ConfigError, mend="{model: {setting: value}}")
    if budget_minutes <= 0 or seeds < 1 or trials < 1:
        raise ConfigError(f"a comparison needs minutes above 0, at least 1 seed and 1 trial, not {budget_minutes}, {seeds} and {trials}")
    given = {name: dict(values) for name, values in (settings or {}).items()}
    names = [*models, *(name for name in ALWAYS if name not in models)]
    _check_distinct([*names, *baselines])
    for name in given.keys() - {*names, *baselines}:
        raise ConfigError(f"settings for '{name}', which is not compared")
    for name, values in given.items():
        if seeds_set := [setting for setting in values if setting in SEEDS]:
            raise ConfigError(f"{name}: a comparison gives its fits the seeds 0, 1, …: leave {seeds_set[0]} out")
    own = [_own(name, given.get(name, {})) for name in names]
    catalogue.check_names(baselines)
    theirs = [_baseline(name, given.get(name, {})) for name in baselines]
    return Plan((*own, *theirs), float(budget_minutes), seeds, mask_seen=mask_seen, trials=trials)


def _check_distinct(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"'{name}' stands twice in the comparison")
        seen.add(name)


def _own(name: str, settings: dict[str, Any]) -> Contestant:
    model, _, rest = name.partition(":")
    found, _, after = rest.partition(":")
    if model not in MODELS.names() and is_path(f"{model}:{found}") and found not in ITEM_INPUTS:
        model, rest = f"{model}:{found}", after  # a class of another package, perhaps with an item input behind it
    if model == "recbole":
        raise ConfigError(f"{name}: RecBole's models are the baselines of a comparison: name it with --baselines {rest or 'SASRec'}")
    item_input, _, tune = rest.partition(":")
    options = {"model": model, "item_input": item_input or None, "tune": tune or None}
    made = create(model, item_input=options["item_input"], tune=options["tune"], settings=settings)
    search = make_search(model, ({},), settings, made.config.to_flat())
    return Contestant(name, "bertrec", "text" if made.reads_text else "id", search, options)


def _baseline(name: str, settings: dict[str, Any]) -> Contestant:
    catalogue.check_settings(name, settings)
    search = make_search(f"recbole-{name}", catalogue.candidates(name), settings, catalogue.default_settings(name))
    return Contestant(name, "recbole", "text" if name in catalogue.READS_ITEM_TEXT else "id", search)

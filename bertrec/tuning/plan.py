"""What a study is: everything that its workers, and whoever comes back to it, must know; plain JSON in ``plan.json``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pydantic

from bertrec.core.config import Config
from bertrec.core.errors import BertrecError, ConfigError, unknown_name
from bertrec.core.files import read_json, write_json
from bertrec.core.plugins import is_path, vouched
from bertrec.data.splits import Split
from bertrec.rankers.names import RANKERS
from bertrec.tuning.objectives.index import IndexObjective, recall_k
from bertrec.tuning.objectives.models import ModelObjective, Objective, RecBoleObjective, check_metrics
from bertrec.tuning.objectives.rankers import RankerObjective, check_clicks
from bertrec.tuning.rules import PRUNERS, SAMPLERS, check_names, check_rules, directions
from bertrec.tuning.space import Space
from bertrec.tuning.study_data import StudyData

PLAN, JOURNAL = "plan.json", "study.journal"


class TunePlan(Config):
    """A study's settings."""

    study: str = pydantic.Field(description="Name of the study in the storage.")
    storage: str = pydantic.Field(description="Path or URL of the storage: a journal file, SQL or Redis.")
    source: Literal["bertrec", "recbole", "ranker", "prompt", "index"] = pydantic.Field(
        "bertrec", description="Whose model is tuned, or that it is a ranker (prompt in older studies) or an index."
    )
    model: str = pydantic.Field(description="Name of the model that is tuned.")
    item_input: str | None = pydantic.Field(
        None, description="Item input of a model of ours: id, text or text+id; null takes the model's own."
    )
    tune: str | None = pydantic.Field(None, description="Tuning depth of a model of ours; null takes the model's own.")
    settings: dict[str, Any] = pydantic.Field(
        default_factory=dict,
        description="Flat settings that are fixed and not searched.",
    )
    first: dict[str, Any] = pydantic.Field(
        default_factory=dict, description="Flat settings that the first trial takes instead of the model's defaults."
    )
    space: dict[str, Any] = pydantic.Field(description="Flat names of the searched settings, each with its range.")
    metrics: tuple[str, ...] = pydantic.Field(
        ("NDCG@10",), description="What is made better on the validation users; the first one chooses epochs."
    )
    sampler: str = pydantic.Field(
        "tpe",
        description="How trials are drawn.",
        json_schema_extra={"enum": list(SAMPLERS)},
    )
    pruner: str = pydantic.Field(
        "median",
        description="How bad trials are ended early.",
        json_schema_extra={"enum": list(PRUNERS)},
    )
    trials: pydantic.PositiveInt = pydantic.Field(50, description="Number of trials.")
    timeout_minutes: pydantic.NonNegativeFloat = pydantic.Field(
        0.0,
        description="Minutes after which no trial is begun; 0 sets no limit.",
    )
    seed: pydantic.NonNegativeInt = pydantic.Field(0, description="Seed of the sampler and of every trial's training.")
    final_seeds: pydantic.NonNegativeInt = pydantic.Field(
        3,
        description="Fits of winner and defaults that are measured on the test users; 0 leaves the test users alone.",
    )
    mask_seen: bool = pydantic.Field(True, description="Leave items of the history out of every ranking, or rank and count them.")
    least: float | None = pydantic.Field(
        None,
        description="With several metrics, the winner is the best by the last one of those that reach this by the "
        "first; null takes the first of the front.",
    )
    threads: pydantic.PositiveInt = pydantic.Field(1, description="Threads of a timed search of an index.")
    about: dict[str, Any] = pydantic.Field(default_factory=dict, description="Data and protocol, for the report.")

    @pydantic.field_validator("sampler", "pruner")
    @classmethod
    def _known_rule(cls, value: str, info: pydantic.ValidationInfo) -> str:
        known = SAMPLERS if info.field_name == "sampler" else PRUNERS
        if value not in known:
            raise ValueError(unknown_name(str(info.field_name), value, known))
        return value

    @property
    def searched(self) -> Space:
        """The space."""
        return Space.from_dict(self.space)

    @property
    def wanted(self) -> int:
        """How many trials there are to be: a grid has no more than its points."""
        return min(self.trials, self.searched.grid_size()) if self.sampler == "grid" else self.trials

    @property
    def directions(self) -> list[str]:
        """One per metric."""
        return directions(self.metrics)

    @property
    def prune_by(self) -> str:
        """What a trial reports while it runs; nothing where a metric is made smaller, for what it reports is NDCG@10."""
        if self.directions == ["minimize"]:
            return "none"
        return {"none": "none", "wilcoxon": "users"}.get(self.pruner, "epochs")

    @property
    def chosen(self) -> dict[str, Any]:
        """Settings that have an option of their own; of rankers the first metric is one: it chooses epochs too."""
        objective = self.objective(Path())
        metric = objective.defaults.get("train.metric") if isinstance(objective, RankerObjective) else None
        values = {"item.input": self.item_input, "encoder.tune": self.tune, "train.metric": metric}
        return {name: value for name, value in values.items() if value is not None}

    def objective(self, folder: Path) -> Objective:
        """Return what a trial does; ``folder`` is the study's."""
        if self.source == "recbole":
            return RecBoleObjective(self.model, folder / "fits", self.settings, self.seed, self.mask_seen)
        if self.source in ("ranker", "prompt"):
            RANKERS.find(self.model).default_config(item_input=self.item_input)  # says that there is no such option
            tuned = {} if self.tune is None else {"encoder.tune": self.tune}
            return RankerObjective(self.model, {**tuned, **self.settings}, self.seed, next(iter(self.metrics), None))
        if self.source == "index":
            return IndexObjective(self.first, self.settings, self.seed, self.threads)
        return ModelObjective(self.model, self.item_input, self.tune, self.settings, self.seed, self.mask_seen)

    @property
    def named(self) -> list[tuple[str, Any]]:
        """Settings with each value that is given or may be drawn from a list."""
        searched = [(name, value) for name, parameter in self.searched.parameters.items() for value in parameter.choice or ()]
        return [*self.settings.items(), *self.first.items(), *searched]

    @property
    def foreign_classes(self) -> list[str]:
        """The dotted paths of classes that the study names: of the model, and in settings."""
        return classes_in([self.model, *(value for _, value in self.named)])

    def check(self, data: StudyData) -> None:
        """See that all of it goes together, before the first trial.

        Raises:
            ConfigError: it does not; the text says what to change.
        """
        space = self.searched
        check_rules(space, sampler=self.sampler, pruner=self.pruner, objectives=len(self.metrics))
        fixed = [name for name in space.parameters if name in self.settings]
        if fixed:
            raise ConfigError(f"'{fixed[0]}' is both in the space and set to {self.settings[fixed[0]]!r}: leave it out of one of them")
        if self.least is not None and len(self.metrics) < 2:
            raise ConfigError("a least figure chooses among trials with several metrics: give another metric, or leave it out")
        if isinstance(data, Split) and (data.validation is None or not len(data.validation)):
            raise ConfigError("the split has no validation users to tune on")
        if self.source == "recbole" and not (self.item_input is None and self.tune is None):
            raise ConfigError(f"{self.model} is RecBole's, which has no item input and no tuning depth: leave --item-input and --tune out")
        if not isinstance(data, Split) and not self.mask_seen:
            raise ConfigError(f"{self.model} ranks what was shown, and no history is left out: leave --keep-seen out")
        objective = self.objective(Path())
        space.check(objective.defaults)
        if isinstance(data, Split):
            check_metrics(self.metrics, data, own=self.source == "bertrec")
        elif isinstance(objective, RankerObjective):
            check_clicks(self.metrics)
            objective.check(space)
        else:
            recall_k(self.metrics)

    def save(self, folder: Path) -> None:
        """Write ``plan.json``."""
        write_json(folder / PLAN, self.to_dict())


def load_plan(folder: Path) -> TunePlan:
    """Read a study's plan.

    Raises:
        BertrecError: the folder holds no study, a damaged one, or one of a class of another package that the caller does not vouch for.
    """
    if not (folder / PLAN).exists():
        raise BertrecError(f"{folder} holds no study: make one with  bertrec tune DATA --out {folder}")
    try:
        plan = TunePlan.from_dict(read_json(folder / PLAN))
        check_names(sampler=plan.sampler, pruner=plan.pruner)
        plan.searched  # noqa: B018  # says what is wrong with the space
        if not plan.metrics:
            raise ConfigError("it names no metric")
    except ConfigError as error:
        raise ConfigError(f"{folder / PLAN} is damaged: {error}") from error
    check_vouched(plan.foreign_classes, f"{folder} tunes")
    return plan


def classes_in(values: Iterable[Any]) -> list[str]:
    """Return the dotted paths of classes among settings' values, each once."""
    return [value for value in dict.fromkeys(map(str, values)) if is_path(value)]


def check_vouched(paths: Iterable[str], what: str) -> None:
    """See that the caller vouches for every class: what a folder or a storage holds chooses no code.

    Raises:
        BertrecError: there is one that nobody has named; the text begins with ``what``.
    """
    for path in paths:
        if path not in vouched():
            raise BertrecError(f"{what} {path}, a class of another package: name it with --model {path}, if you trust that package")

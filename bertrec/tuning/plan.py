"""What a study is: everything that its workers, and whoever comes back to it, must know; plain JSON in ``plan.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pydantic

from bertrec.core.config import Config
from bertrec.core.errors import BertrecError, ConfigError
from bertrec.core.files import read_json, write_json
from bertrec.data.splits import Split
from bertrec.tuning.problems import Baseline, OwnModel, Problem, check_metrics
from bertrec.tuning.rules import check_rules, directions
from bertrec.tuning.space import Space

PLAN, SPLIT, JOURNAL = "plan.json", "split", "study.journal"


class TunePlan(Config):
    """A study's settings.

    Attributes:
        study: its name in the storage.
        storage: a path or a URL, see `bertrec.tuning.storage.open_storage`.
        source: whose model it is.
        model: its name.
        item_input, tune: of a model of ours.
        settings: that are not searched.
        space: as `bertrec.tuning.space.Space.to_dict` gives it.
        metrics: what is made better, on the validation users; the first one chooses epochs.
        sampler, pruner: names, see `bertrec.tuning.rules`.
        trials: how many.
        timeout_minutes: no trial is begun after this; 0 sets no limit.
        seed: of the sampler and of every trial's training.
        final_seeds: fits of the winner and of the defaults that are measured on the test users; 0 leaves the test users alone.
        about: data and protocol, for the report.
    """

    study: str
    storage: str
    source: Literal["bertrec", "recbole"] = "bertrec"
    model: str
    item_input: str | None = None
    tune: str | None = None
    settings: dict[str, Any] = pydantic.Field(default_factory=dict)
    space: dict[str, Any]
    metrics: tuple[str, ...] = ("NDCG@10",)
    sampler: str = "tpe"
    pruner: str = "median"
    trials: pydantic.PositiveInt = 50
    timeout_minutes: pydantic.NonNegativeFloat = 0.0
    seed: pydantic.NonNegativeInt = 0
    final_seeds: pydantic.NonNegativeInt = 3
    about: dict[str, Any] = pydantic.Field(default_factory=dict)

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
        """One a metric."""
        return directions(self.metrics)

    @property
    def prune_by(self) -> str:
        """What a trial reports while it runs."""
        return {"none": "none", "wilcoxon": "users"}.get(self.pruner, "epochs")

    def problem(self, folder: Path) -> Problem:
        """Return what a trial does; ``folder`` is the study's."""
        if self.source == "recbole":
            return Baseline(self.model, folder / "fits", self.settings, self.seed)
        return OwnModel(self.model, self.item_input, self.tune, self.settings, self.seed)

    def check(self, split: Split) -> None:
        """See that all of it goes together, before the first trial.

        Raises:
            ConfigError: it does not; the text says what to change.
        """
        space = self.searched
        check_rules(space, sampler=self.sampler, pruner=self.pruner, objectives=len(self.metrics))
        if split.validation is None or not len(split.validation):
            raise ConfigError("the split has no validation users to tune on")
        fixed = [name for name in space.parameters if name in self.settings]
        if fixed:
            raise ConfigError(f"'{fixed[0]}' is both in the space and set to {self.settings[fixed[0]]!r}: leave it out of one of them")
        space.check(self.problem(Path()).defaults)
        check_metrics(self.metrics, split, own=self.source == "bertrec")

    def save(self, folder: Path) -> None:
        """Write ``plan.json``."""
        write_json(folder / PLAN, self.to_dict())


def load_plan(folder: Path) -> TunePlan:
    """Read a study's plan.

    Raises:
        BertrecError: the folder holds no study.
    """
    if not (folder / PLAN).exists():
        raise BertrecError(f"{folder} holds no study: make one with  bertrec tune DATA --out {folder}")
    return TunePlan.from_dict(read_json(folder / PLAN))

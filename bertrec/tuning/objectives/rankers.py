"""Rankers as what a study tunes, cloze prompts among them: which template, how much of the history, how deep and how fast it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.config import without_seeds
from bertrec.core.errors import ConfigError, unknown_name
from bertrec.data.clicks import clicks_to_learn, clicks_to_measure
from bertrec.data.impressions import Impressions, split_share
from bertrec.data.load import Dataset
from bertrec.evaluation.impressions import IMPRESSION_METRICS, evaluate_impressions
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.report import Report
from bertrec.rankers.base import Ranker, labels_of
from bertrec.rankers.names import RANKERS
from bertrec.rankers.runs import NEGATIVES
from bertrec.tuning.objectives.models import ReportEpoch, Result
from bertrec.tuning.space import Space
from bertrec.tuning.study_data import ImpressionSplit

_SHARE = 0.2  # of the training impressions, to choose epochs and trials by


@dataclass(frozen=True)
class RankerObjective:
    """A ranker whose settings are searched.

    Attributes:
        ranker: its name, or the dotted path of someone else's class.
        settings: that are not searched; of cloze prompts ``template`` names the prompt.
        seed: of every trial.
        metric: chooses the epoch, where the ranker has such a setting.
    """

    ranker: str = "prompt4nr"
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    metric: str | None = None

    @property
    def _kind(self) -> type[Ranker]:
        return RANKERS.find(self.ranker)

    @property
    def defaults(self) -> dict[str, Any]:
        """All flat settings.

        Raises:
            ConfigError: as `check`.
        """
        config = self._kind.config_from(settings=self._own)
        self._kind.check_search(config)
        return self._kind.flat_settings(config)

    @property
    def _own(self) -> dict[str, Any]:
        """The settings that are not searched, with the metric in its place."""
        chooses = self.metric is not None and "train.metric" in self._kind.config_from().to_flat()
        return {**({"train.metric": self.metric} if chooses else {}), **self.settings}

    def check(self, space: Space) -> None:
        """See that the space holds what a trial can be made of, every choice in it tried.

        Raises:
            ConfigError: a setting or choice that does not exist, or that needs more than settings.
        """
        defaults = self.defaults
        for name, parameter in space.parameters.items():
            if isinstance(defaults.get(name), str) and parameter.choice is None:
                raise ConfigError(f"space, '{name}': its values are words: write it as a choice")
            for value in parameter.choice or ():
                self._kind.check_search(self._kind.config_from(settings={**self._own, name: value}))

    def create(self, settings: Mapping[str, Any], *, seed: int | None = None) -> Ranker:
        """Return the untrained ranker with the settings.

        Raises:
            ConfigError: a setting that does not exist, or one that needs more than settings.
        """
        own = {**self._own, **settings}
        own = own if seed is None else without_seeds(own)
        return self._kind.configured(settings=own, seed=self.seed if seed is None else seed)

    def run(self, settings: Mapping[str, Any], data: ImpressionSplit, metrics: Sequence[str], report: ReportEpoch) -> Result:
        """Train, reporting each epoch, and measure on the validation impressions."""
        ranker = self.create(settings)
        epochs = 0

        def on_epoch(figures: Mapping[str, float]) -> None:
            nonlocal epochs
            epochs += 1
            report(epochs, figures[metrics[0]])

        ranker.fit(data.learned, validation=data.validation, progress=False, on_epoch=on_epoch)
        found = _measured(ranker, data.validation)
        log = ranker.train_log
        best, seconds = (log.best_epoch, log.seconds) if log else (0, 0.0)
        return Result([found.mean(metric) for metric in metrics], found.per_user(metrics[0]), epochs, best, seconds)

    def final(
        self, settings: Mapping[str, Any], data: ImpressionSplit, *, seed: int, keep: Path | None
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Train once more and return the figures of each test impression; the ranker is kept in a folder."""
        ranker = self.create(settings, seed=seed)
        assert data.test is not None
        ranker.fit(data.learned, validation=data.validation, progress=False)
        if keep is not None:
            ranker.save_pretrained(keep)
        found = _measured(ranker, data.test)
        deciding = [self.metric] if self.metric in IMPRESSION_METRICS else []
        return {name: found.per_user(name) for name in dict.fromkeys([*deciding, *IMPRESSION_METRICS])}


def _measured(ranker: Ranker, impressions: Impressions) -> Report:
    scores = ranker.score_impressions(impressions)
    offsets = impressions.candidates.offsets
    return evaluate_impressions(scores, labels_of(impressions), offsets, impressions.users, Protocol(bootstrap=0))


def check_clicks(metrics: Sequence[str]) -> None:
    """See that the metrics are measured on impressions.

    Raises:
        ConfigError: they are not; the text names the nearest right one.
    """
    if not metrics or len(set(metrics)) < len(metrics):
        raise ConfigError("give one metric or several different ones, such as AUC,MRR")
    for metric in metrics:
        if metric not in IMPRESSION_METRICS:
            raise ConfigError(unknown_name("metric of impressions", metric, IMPRESSION_METRICS))


def clicks_of(dataset: Dataset, ranker: str, space: Space, settings: Mapping[str, Any], *, seed: int) -> ImpressionSplit:
    """Divide data as a study of a ranker uses them.

    A fifth of the training impressions chooses epochs and trials. The labelled test part, else the valid part, is left for the winner.
    Interactions become impressions with as many negatives as any trial may ask for; nothing is then left for the winner.
    """
    searched = space.parameters.get("negatives")
    negatives = searched.greatest if searched else RankerObjective(ranker, settings).defaults.get("negatives", NEGATIVES)
    learned, validation = split_share(clicks_to_learn(dataset, negatives=int(negatives), seed=seed), _SHARE, seed)
    return ImpressionSplit(learned, validation, clicks_to_measure(dataset))

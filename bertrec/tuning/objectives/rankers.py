"""Cloze prompts as a problem of a study: which template, how much of the history, how deep and how fast the encoder learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ConfigError, unknown_name
from bertrec.data.clicks import clicks_to_learn, clicks_to_measure
from bertrec.data.impressions import Impressions, split_share
from bertrec.data.load import Dataset
from bertrec.evaluation.impressions import IMPRESSION_METRICS, evaluate_impressions
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.report import Report
from bertrec.rankers.prompts.config import DEFAULT_PROMPT, PromptConfig
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.template import Prompt
from bertrec.tuning.material import Clicks
from bertrec.tuning.objectives.models import Report_, Result
from bertrec.tuning.space import Space

TEMPLATE = "template"
"""The setting that names the prompt, as ``--template`` of ``bertrec prompt train`` does."""
_SHARE = 0.2  # of the training impressions, to choose epochs and trials by


@dataclass(frozen=True)
class PromptSearch:
    """A ranker of one prompt.

    Attributes:
        settings: that are not searched: flat names of `PromptConfig`, and ``template``; ``train.metric`` chooses the epoch.
        seed: of every trial.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def defaults(self) -> dict[str, Any]:
        """All flat settings, the prompt by its name.

        Raises:
            ConfigError: as `create`.
        """
        own = dict(self.settings)
        prompt = Prompt.load(own.pop(TEMPLATE, DEFAULT_PROMPT))
        check_prompt(prompt)
        flat = PromptConfig(prompt=prompt).updated(own).to_flat()
        return {TEMPLATE: prompt.name} | {name: value for name, value in flat.items() if not name.startswith("prompt.")}

    def create(self, settings: Mapping[str, Any], *, seed: int | None = None) -> PromptRanker:
        """Return the untrained ranker with the settings.

        Raises:
            ConfigError: a setting or prompt that does not exist, or a prompt with vectors of users or items in it.
        """
        own = {"train.seed": self.seed if seed is None else seed, **self.settings, **settings}
        prompt = Prompt.load(own.pop(TEMPLATE, DEFAULT_PROMPT))
        check_prompt(prompt)
        return PromptRanker(PromptConfig(prompt=prompt).updated(own))

    def run(self, settings: Mapping[str, Any], material: Clicks, metrics: Sequence[str], report: Report_) -> Result:
        """Train, reporting each epoch, and measure on the validation impressions."""
        ranker = self.create(settings)
        epochs = 0

        def on_epoch(figures: Mapping[str, float]) -> None:
            nonlocal epochs
            epochs += 1
            report(epochs, figures[metrics[0]])

        ranker.fit(material.learned, validation=material.validation, progress=False, on_epoch=on_epoch)
        found = _measured(ranker, material.validation)
        log = ranker.train_log
        best, seconds = (log.best_epoch, log.seconds) if log else (0, 0.0)
        return Result([found.mean(metric) for metric in metrics], found.per_user(metrics[0]), epochs, best, seconds)

    def final(self, settings: Mapping[str, Any], material: Clicks, *, seed: int, keep: Path | None) -> dict[str, npt.NDArray[np.float64]]:
        """Train once more and return the figures of each test impression; the ranker is kept in a folder."""
        ranker = self.create(settings, seed=seed)
        assert material.test is not None
        ranker.fit(material.learned, validation=material.validation, progress=False)
        if keep is not None:
            ranker.save_pretrained(keep)
        found = _measured(ranker, material.test)
        return {name: found.per_user(name) for name in IMPRESSION_METRICS}


def _measured(ranker: PromptRanker, impressions: Impressions) -> Report:
    scores = ranker.score(impressions.histories, impressions.candidates)
    offsets = impressions.candidates.offsets
    return evaluate_impressions(scores, impressions.labels, offsets, impressions.users, Protocol(bootstrap=0))  # type: ignore[arg-type]  # kept with labels only


def check_prompt(prompt: Prompt) -> None:
    """See that a prompt can be tuned.

    Raises:
        ConfigError: it holds vectors of an ID model, which a study has none of.
    """
    if prompt.slots & {"user", "item"}:
        raise ConfigError(f"prompt '{prompt.name}' has vectors of users and items in it: tune one without, then train with --id-model")


def check_clicks(metrics: Sequence[str], space: Space) -> None:
    """See that the metrics are measured on impressions, and that every template searched can be asked.

    Raises:
        ConfigError: they are not; the text names the nearest right one.
    """
    if not metrics or len(set(metrics)) < len(metrics):
        raise ConfigError("give one metric or several different ones, such as AUC,MRR")
    for metric in metrics:
        if metric not in IMPRESSION_METRICS:
            raise ConfigError(unknown_name("metric of impressions", metric, IMPRESSION_METRICS))
    templates = space.parameters.get(TEMPLATE)
    if templates is not None and templates.choice is None:
        raise ConfigError(f"space, '{TEMPLATE}': write it as a choice of prompts")
    for name in (templates and templates.choice) or ():
        check_prompt(Prompt.load(str(name)))


def clicks_of(dataset: Dataset, space: Space, settings: Mapping[str, Any], *, seed: int) -> Clicks:
    """Divide data as a study of prompts uses them.

    A fifth of the training impressions chooses epochs and trials. The labelled test part, else the valid part, is left for the winner.
    Interactions become impressions with as many negatives as any trial may ask for; nothing is then left for the winner.
    """
    searched = space.parameters.get("negatives")
    negatives = int(searched.greatest if searched else PromptSearch(settings).defaults["negatives"])
    learned, validation = split_share(clicks_to_learn(dataset, negatives=negatives, seed=seed), _SHARE, seed)
    return Clicks(learned, validation, clicks_to_measure(dataset))

"""What a trial does with its settings: one of our models, or one of RecBole's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from bertrec.core.config import without_seeds
from bertrec.core.errors import ConfigError, ModelError, unknown_name
from bertrec.core.ragged import Ragged
from bertrec.data.splits import EvaluationSet, Split
from bertrec.evaluation.evaluate import evaluate_ranks
from bertrec.evaluation.protocol import Protocol as Rules
from bertrec.evaluation.report import Report
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.registry import create
from bertrec.recbole import catalogue
from bertrec.recbole.exchange import Arrays, Job
from bertrec.recbole.process import run_fit

LATENCY = "latency"
SHOWN = ("NDCG@10", "HR@10", "MRR@10")
_LATENCY_USERS = 64
_SEPARATOR = ":"  # cold_items:NDCG@10 is NDCG@10 of a slice

ReportEpoch = Callable[[int, float], None]
"""Takes an epoch, counted from 1, and its validation figure; may raise to end the trial."""


@dataclass(frozen=True)
class Result:
    """What a trial found.

    Attributes:
        values: one per metric asked for.
        per_user: of the first metric, ``[validation users]``.
        epochs: that were trained.
        best_epoch: whose weights were measured.
        seconds: of the epochs, their validation included.
        notes: what else the trial's record keeps.
    """

    values: list[float]
    per_user: np.ndarray[Any, np.dtype[np.float64]]
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    notes: Mapping[str, Any] = field(default_factory=dict)


class Objective(Protocol):
    """Something with settings whose validation figures are to be made better."""

    @property
    def defaults(self) -> dict[str, Any]:
        """All flat settings with the values of the first trial."""

    def run(self, settings: Mapping[str, Any], data: Any, metrics: Sequence[str], report: ReportEpoch, /) -> Result:
        """Fit with the settings and measure on the validation part of the study's data."""


@runtime_checkable
class FinalObjective(Objective, Protocol):
    """An objective whose winner is fitted again and measured on the test part."""

    def final(
        self, settings: Mapping[str, Any], data: Any, /, *, seed: int, keep: Path | None
    ) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Fit with one seed and return the figures of each test user, by metric, the deciding one first; keep the model in a folder."""


@dataclass(frozen=True)
class ModelObjective:
    """One of our models.

    Attributes:
        model: its name.
        item_input, tune: as in `bertrec.models.registry.create`.
        settings: that stay as they are, beside those that are searched.
        seed: of every trial.
        mask_seen: whether items of the history are left out of every ranking.
    """

    model: str
    item_input: str | None = None
    tune: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    mask_seen: bool = True

    def create(self, settings: Mapping[str, Any], *, seed: int | None = None) -> Recommender:
        """Return the untrained model with the settings; ``seed`` goes before theirs."""
        own = {**self.settings, **settings}
        own = own if seed is None else without_seeds(own)
        return create(self.model, item_input=self.item_input, tune=self.tune, settings=own, seed=self.seed if seed is None else seed)

    @property
    def defaults(self) -> dict[str, Any]:
        """All flat settings."""
        made = self.create({})
        made.check_search(made.config)
        return made.flat_settings(made.config)

    def run(self, settings: Mapping[str, Any], split: Split, metrics: Sequence[str], report: ReportEpoch) -> Result:
        """Fit, reporting each epoch, and measure on the validation users with seen items masked."""
        model = self.create(settings)
        assert split.validation is not None
        epochs = 0

        def on_epoch(figures: Mapping[str, float]) -> None:
            nonlocal epochs
            epochs += 1
            report(epochs, figures["NDCG@10"])

        started = time.perf_counter()
        model.fit(split.train, validation=split.validation, progress=False, on_epoch=on_epoch, mask_seen=self.mask_seen)
        seconds = time.perf_counter() - started
        figures = measure_on(model, split, split.validation, mask_seen=self.mask_seen)
        values = [latency(model, split.validation) if metric == LATENCY else figure(figures, metric) for metric in metrics]
        log = model.train_log
        return Result(values, _per_user(figures, metrics), epochs, log.best_epoch if log else 0, log.seconds if log else seconds)

    def final(
        self, settings: Mapping[str, Any], split: Split, *, seed: int, keep: Path | None
    ) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Fit once more and return the figures of each test user."""
        model = self.create(settings, seed=seed)
        model.fit(split.train, validation=split.validation, progress=False, mask_seen=self.mask_seen)
        assert split.test is not None
        found = measure_on(model, split, split.test, mask_seen=self.mask_seen)
        if keep is not None:
            model.save_pretrained(keep)
        return {name: found.per_user(name) for name in SHOWN}


@dataclass(frozen=True)
class RecBoleObjective:
    """One of RecBole's models, fitted in a process of its own.

    Attributes:
        model: RecBole's name.
        folder: where fits and the split's files are kept meanwhile.
        settings: that stay as they are.
        seed: of every trial.
        mask_seen: whether items of the history are left out of every ranking.
    """

    model: str
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    mask_seen: bool = True

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings that RecBole has for the model, with those that a comparison tries first."""
        return {**catalogue.default_settings(self.model), **self._fixed}

    @property
    def _fixed(self) -> dict[str, Any]:
        return {**catalogue.candidates(self.model)[0], **self.settings}

    def run(self, settings: Mapping[str, Any], split: Split, metrics: Sequence[str], report: ReportEpoch) -> Result:
        """Fit and measure on the validation users; each epoch is reported as it ends, and a trial that is cut short is killed."""
        place = self.folder / f"fit-{time.time_ns()}"
        reported = 0

        def watch(points: Sequence[Any]) -> None:
            nonlocal reported
            for point in points[reported:]:
                reported += 1
                report(point.epoch, point.metric)

        job = Job(model=self.model, settings={**self._fixed, **settings}, seed=self.seed, on="validation", mask_seen=self.mask_seen)
        outcome = run_fit(job, place, self.folder / "split", watch=watch)
        if outcome.status != "ok":
            raise ModelError(f"RecBole's {self.model}: {outcome.status}: {outcome.reason}")
        figures = _report_of(Arrays.load(place), split, Rules(bootstrap=0, mask_seen=self.mask_seen))
        values = [figure(figures, metric) for metric in metrics]
        return Result(values, _per_user(figures, metrics), len(outcome.points), outcome.best_epoch, outcome.seconds)


def _report_of(arrays: Arrays, split: Split, rules: Rules) -> Report:
    assert split.validation is not None
    ranks = Ragged(arrays.ranks, split.validation.targets.offsets)
    return evaluate_ranks(ranks, split.validation, rules, split.train.item_counts)


def measure_on(model: Recommender, split: Split, part: EvaluationSet, *, mask_seen: bool = True, bootstrap: int = 0) -> Report:
    """Rank the catalogue for the users of a part."""
    return evaluate(model, part, protocol=Rules(bootstrap=bootstrap, mask_seen=mask_seen), item_counts=split.train.item_counts, lists=False)


def figure(report: Report, metric: str) -> float:
    """Return ``NDCG@10``, or ``cold_items:NDCG@10`` of a slice.

    Raises:
        ConfigError: no such metric or slice, or one without users.
    """
    part, _, name = metric.rpartition(_SEPARATOR)
    return report.mean(name, part or "all")


def latency(model: Recommender, users: EvaluationSet, *, k: int = 10) -> float:
    """Return the median milliseconds that one history takes from items to a list, item vectors at hand."""
    times = []
    for row in range(min(_LATENCY_USERS, len(users))):
        history = users.histories.slice(row, row + 1)
        started = time.perf_counter()
        model.recommend(history, k)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times[1:] or times))


def check_metrics(metrics: Sequence[str], split: Split, *, own: bool) -> None:
    """See that every metric can be measured on the validation users.

    Raises:
        ConfigError: none given, given twice, unknown, of an empty slice, or a latency of a baseline.
    """
    if not metrics or len(set(metrics)) < len(metrics):
        raise ConfigError("give one metric or several different ones, such as NDCG@10,latency")
    assert split.validation is not None
    worst = Ragged(np.ones(len(split.validation.targets.values), np.int64), split.validation.targets.offsets)
    first = split.validation.targets.offsets[:-1]
    if (split.validation.targets.lengths > 1).any():  # ranks of one user must differ
        worst = Ragged(np.arange(len(worst.values)) - np.repeat(first, split.validation.targets.lengths) + 1, worst.offsets)
    probe = evaluate_ranks(worst, split.validation, Rules(bootstrap=0), split.train.item_counts)
    for metric in metrics:
        if metric == LATENCY:
            if not own:
                raise ConfigError("the latency of a RecBole model is not measured: leave it out of the metrics")
            continue
        part, _, name = metric.rpartition(_SEPARATOR)
        if part and part in probe.slices and not probe.slices[part].users:
            raise ConfigError(f"metric '{metric}': no validation user has a target in slice {part}; split by cold-items, or leave it out")
        if not part and name not in probe.slices["all"].metrics:
            raise ConfigError(unknown_name("metric", metric, [*probe.slices["all"].metrics, LATENCY]))
        figure(probe, metric)


def _per_user(report: Report, metrics: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
    name = next((metric for metric in metrics if metric in report.slices["all"].values), "NDCG@10")
    return report.per_user(name)

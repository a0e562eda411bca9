"""What an evaluation returns: figures with intervals for every slice, the values of each user behind them, and the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bertrec.core.described import Described, Preview, shown_metrics
from bertrec.core.errors import ConfigError, unknown_name
from bertrec.core.ragged import IntArray
from bertrec.data.outgoing import Backend, frame_of
from bertrec.evaluation.expectation import random_expectation
from bertrec.evaluation.intervals import bootstrap_intervals
from bertrec.evaluation.metrics import Float64Array


@dataclass(frozen=True)
class MetricValue:
    """A mean over users, or one figure of all lists together.

    Attributes:
        mean: the figure.
        ci95: its 95 % interval; None where none was asked for, and for figures that are no mean over users (coverage, Gini, pooled AUC).
    """

    mean: float
    ci95: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Return ``{"mean": x, "ci95": [a, b] or null}``."""
        return {"mean": self.mean, "ci95": None if self.ci95 is None else list(self.ci95)}


@dataclass(frozen=True, repr=False)
class SliceResult(Described):
    """The figures of one slice.

    Attributes:
        rows: ``[users]``, the users' row numbers in the evaluation set.
        metrics: a figure each; empty where the slice holds no user.
        values: the value of every user for each metric that has one, ``[users]``.
        n_candidates: ``[users]``, among how many items the targets were ranked; None where unknown.
        n_targets: ``[users]``, targets in the slice.
    """

    rows: IntArray
    metrics: dict[str, MetricValue] = field(default_factory=dict)
    values: dict[str, Float64Array] = field(default_factory=dict, repr=False)
    n_candidates: IntArray | None = field(default=None, repr=False)
    n_targets: IntArray | None = field(default=None, repr=False)

    @property
    def users(self) -> int:
        """How many users the slice holds."""
        return len(self.rows)

    def _facts(self) -> dict[str, object]:
        return {"users": self.users, **{name: self.metrics[name].mean for name in shown_metrics(self.metrics)}}

    def to_json(self) -> dict[str, Any]:
        """Return ``{"users": N, "metrics": {…}}``."""
        return {"users": self.users, "metrics": {name: value.to_json() for name, value in self.metrics.items()}}


@dataclass(frozen=True, repr=False)
class Report(Described):
    """One model measured on one evaluation set.

    Attributes:
        protocol: how it was measured, JSON values only.
        slices: by name; `bertrec.evaluation.slices.SLICES` says what they hold.
        seconds: wall time of the measurement, scoring included.
        users: external ids of the evaluation set, ``[n]``.
    """

    protocol: dict[str, Any]
    slices: dict[str, SliceResult]
    seconds: float
    users: Sequence[str | int] = field(default=(), repr=False)

    def _facts(self) -> dict[str, object]:
        return {**(self.slices["all"]._facts() if "all" in self.slices else {}), "slices": list(self.slices)}

    def _preview(self) -> Preview:
        names = list(dict.fromkeys(name for part in self.slices.values() for name in shown_metrics(part.metrics)))
        rows = ([name, part.users, *(_in_words(part.metrics.get(one)) for one in names)] for name, part in self.slices.items())
        return Preview.of(["slice", "users", *names], rows, len(self.slices))

    def to_json(self) -> dict[str, Any]:
        """Return the shape that every measuring command writes, see docs/design.md."""
        return {
            "protocol": self.protocol,
            "slices": {name: part.to_json() for name, part in self.slices.items()},
            "seconds": round(self.seconds, 3),
        }

    def to_frame(self, backend: Backend | None = None) -> Any:
        """Return a new data frame with one row per slice and metric.

        Its columns are ``slice``, ``users``, ``metric``, ``mean``, ``ci95_low`` and ``ci95_high``. A bound is NaN where the figure has no
        interval; an empty slice has no row.

        Args:
            backend: ``pandas``, ``polars`` or ``pyarrow``; None takes pandas where it is installed, else PyArrow.
        """
        rows = [(name, part.users, metric, value) for name, part in self.slices.items() for metric, value in part.metrics.items()]
        bounds = np.array([value.ci95 or (np.nan, np.nan) for *_, value in rows], np.float64).reshape(-1, 2)
        columns: dict[str, Any] = {"slice": [row[0] for row in rows], "users": np.array([row[1] for row in rows], np.int64)}
        columns |= {"metric": [row[2] for row in rows], "mean": np.array([row[3].mean for row in rows], np.float64)}
        return frame_of({**columns, "ci95_low": bounds[:, 0], "ci95_high": bounds[:, 1]}, backend)

    def mean(self, metric: str, slice: str = "all") -> float:
        """Return one figure.

        Raises:
            ConfigError: no such slice, or no such metric in it (an empty slice has none).
        """
        part = self._slice(slice)
        if metric not in part.metrics:
            raise ConfigError(unknown_name(f"metric of slice {slice} ({part.users} users)", metric, part.metrics))
        return part.metrics[metric].mean

    def per_user(self, metric: str, slice: str = "all") -> Float64Array:
        """Return the metric of each user of the slice, ``[users]``; ``slices[slice].rows`` says which they are.

        Two reports on one evaluation set and protocol hold the same users in the same order, ready for `paired_comparison`.

        Raises:
            ConfigError: no such slice, or no value per user for the metric.
        """
        part = self._slice(slice)
        if metric not in part.values:
            raise ConfigError(unknown_name(f"per-user metric of slice {slice} ({part.users} users)", metric, part.values))
        return part.values[metric]

    def per_user_random(self, metric: str, slice: str = "all") -> Float64Array:
        """Return what a random order of the same candidates reaches in expectation, ``[users]``, for a ranking metric such as ``NDCG@10``.

        Raises:
            ConfigError: no such slice or ranking metric, or ranks that came without their number of candidates.
        """
        part = self._slice(slice)
        name, _, k = metric.partition("@")
        if metric not in part.values or not k.isdigit() or part.n_candidates is None or part.n_targets is None:
            raise ConfigError(f"there is no random expectation for '{metric}' in slice {slice} ({part.users} users)")
        try:
            return random_expectation(name, int(k), part.n_candidates, part.n_targets)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def _slice(self, name: str) -> SliceResult:
        if name not in self.slices:
            raise ConfigError(unknown_name("slice", name, self.slices))
        return self.slices[name]


def _in_words(metric: MetricValue | None) -> str:
    if metric is None:
        return ""
    return f"{metric.mean:.4f}" + (f" [{metric.ci95[0]:.4f}, {metric.ci95[1]:.4f}]" if metric.ci95 else "")


def summarise(values: Mapping[str, Float64Array], *, resamples: int, seed: int) -> dict[str, MetricValue]:
    """Return mean and interval of each ``[users]`` array; nothing for no users.

    Every call starts from the seed, so a slice's intervals do not depend on which other slices exist.
    """
    names = list(values)
    if not names or not len(values[names[0]]):
        return {}
    table = np.stack([values[name] for name in names], axis=1)
    means = [float(mean) for mean in table.mean(axis=0)]
    if not resamples:
        return {name: MetricValue(mean, None) for name, mean in zip(names, means, strict=True)}
    bounds = bootstrap_intervals(table, resamples=resamples, seed=seed)
    return {name: MetricValue(mean, (float(low), float(high))) for name, mean, (low, high) in zip(names, means, bounds, strict=True)}

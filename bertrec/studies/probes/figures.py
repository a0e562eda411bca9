"""Figures of a probe: recall and reciprocal rank of right answers, with intervals and beside what a random order reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import Ragged
from bertrec.evaluation.expectation import random_expectation
from bertrec.evaluation.intervals import bootstrap_intervals
from bertrec.evaluation.significance import PairedResult, above_expectation, paired_comparison

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ProbeSlice:
    """One way of asking, over all queries.

    Attributes:
        values: ``[queries]`` for each metric.
        random: ``[queries]`` for each metric, the exact expectation of a random order.
        candidates: among how many answers were ranked.
    """

    values: dict[str, Float64Array]
    random: dict[str, Float64Array]
    candidates: int

    @property
    def queries(self) -> int:
        """How many queries there are."""
        return len(next(iter(self.values.values())))

    def to_json(self, *, bootstrap: int, seed: int) -> dict[str, Any]:
        """Return the JSON of a slice: ``users`` counts queries, ``random`` and ``p_above_random`` (one-sided, uncorrected) stand beside."""
        names = list(self.values)
        columns = np.stack([self.values[name] for name in names], axis=1)
        bounds = bootstrap_intervals(columns, resamples=bootstrap, seed=seed) if bootstrap else None
        tests = {name: above_expectation(self.values[name], self.random[name], resamples=1, seed=seed).p for name in names}
        return {
            "users": self.queries,
            "candidates": self.candidates,
            "metrics": {
                name: {"mean": float(columns[:, place].mean()), "ci95": None if bounds is None else [float(b) for b in bounds[place]]}
                for place, name in enumerate(names)
            },
            "random": {name: float(self.random[name].mean()) for name in names},
            "p_above_random": tests,
        }


@dataclass(frozen=True)
class ProbeResult:
    """What one probe found, or why it could not be run.

    Attributes:
        unit: what is counted: items or users.
        slices: ways of asking by name; empty where ``unavailable``.
        pairs: (first, second) names of slices to be compared on the same queries.
        skipped: what was left out and how often.
        about: what else the report says, JSON values.
        head_note: of a head that bertrec trained.
        unavailable: the reason, where the encoder lacks what the probe needs.
    """

    unit: str = ""
    slices: dict[str, ProbeSlice] = field(default_factory=dict)
    pairs: Sequence[tuple[str, str]] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    head_note: str | None = None
    unavailable: str | None = None

    def comparisons(self, *, bootstrap: int, seed: int) -> list[tuple[str, PairedResult]]:
        """Return ``(metric, paired comparison)`` of every pair and metric, uncorrected."""
        return [
            (metric, paired_comparison(values, self.slices[b].values[metric], names=(a, b), resamples=max(bootstrap, 1), seed=seed))
            for a, b in self.pairs
            for metric, values in self.slices[a].values.items()
        ]


def ranked_slice(ranks: Ragged, candidates: int, ks: Sequence[int]) -> ProbeSlice:
    """Turn ranks into figures.

    ``Recall@k`` is the share of a query's right answers among the first k, ``MRR`` one over the rank of the best of them.

    Args:
        ranks: one row per query, the ranks from 1 of its right answers; at least one each.
        candidates: how many answers were ranked.
        ks: cut-offs.
    """
    starts, lengths = ranks.offsets[:-1], ranks.lengths
    values: dict[str, Float64Array] = {}
    random: dict[str, Float64Array] = {}
    for k in ks:
        values[f"Recall@{k}"] = np.add.reduceat((ranks.values <= k).astype(np.float64), starts) / lengths
        random[f"Recall@{k}"] = np.asarray(random_expectation("Recall", k, candidates, lengths))
    values["MRR"] = 1.0 / np.minimum.reduceat(ranks.values, starts)
    random["MRR"] = np.asarray(random_expectation("MRR", candidates, candidates, lengths))
    return ProbeSlice(values, random, candidates)

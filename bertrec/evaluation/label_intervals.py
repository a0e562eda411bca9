"""Intervals of the AUC over all pairs, and of the difference between two models: users resampled, with all of their pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray
from bertrec.evaluation.labels import auc
from bertrec.evaluation.metrics import Float64Array

_LEVELS = (0.025, 0.975)


@dataclass(frozen=True)
class AucDifference:
    """Two models on the same labelled pairs.

    Attributes:
        auc_a, auc_b: the AUC of each over all pairs.
        difference: ``auc_a - auc_b``.
        ci95: percentile bootstrap interval of the difference.
        pairs, users: how many.
    """

    auc_a: float
    auc_b: float
    difference: float
    ci95: tuple[float, float]
    pairs: int
    users: int


def auc_interval(
    scores: npt.ArrayLike, labels: npt.ArrayLike, rows: npt.ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the AUC over all pairs (Efron 1979; users resampled, for pairs of a user go together).

    Args:
        scores: ``[n]``.
        labels: ``[n]``, 0 or 1.
        rows: ``[n]``, each pair's user.
        resamples: how many samples of the users; those with one label only are left out.
        seed: of the samples.

    Raises:
        DataError: as `auc`, or lengths differ.
    """
    auc(scores, labels)
    found = _resampled([np.asarray(scores, np.float64)], labels, rows, resamples, seed)[0]
    return _interval(found)


def auc_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, labels: npt.ArrayLike, rows: npt.ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> AucDifference:
    """Compare the AUC of two models over the same pairs, with a paired bootstrap over users.

    Args:
        a: ``[n]`` scores of the first.
        b: ``[n]`` scores of the second.
        labels: as for `auc_interval`, like all that follows.
        rows: ``[n]``.
        resamples: of the users.
        seed: of them.

    Raises:
        DataError: as `auc`, or lengths differ.
    """
    first, second = auc(a, labels), auc(b, labels)
    found = _resampled([np.asarray(a, np.float64), np.asarray(b, np.float64)], labels, rows, resamples, seed)
    users = len(np.unique(np.asarray(rows)))
    return AucDifference(first, second, first - second, _interval(found[0] - found[1]), len(np.asarray(labels)), users)


def _resampled(scores: list[Float64Array], labels: npt.ArrayLike, rows: npt.ArrayLike, resamples: int, seed: int) -> list[Float64Array]:
    """Return the AUC of each model in each resample, ``[resamples]`` per model; all models see the same users."""
    positive, owners = np.asarray(labels) == 1, np.asarray(rows)
    if owners.shape != positive.shape:
        raise DataError(f"{len(owners)} rows for {len(positive)} labels: one user's row per pair is needed")
    _, users = np.unique(owners, return_inverse=True)
    count = int(users.max()) + 1
    ranked = [_Ranked(values, positive, users) for values in scores]
    generator = np.random.default_rng(seed)
    out = np.empty((len(scores), resamples))
    for sample in range(resamples):
        times = np.bincount(generator.integers(0, count, count), minlength=count)
        out[:, sample] = [one.auc(times) for one in ranked]
    return list(out[:, ~np.isnan(out).any(axis=0)])


class _Ranked:
    """Pairs in the order of their scores, so that a resample costs no sorting."""

    def __init__(self, scores: Float64Array, positive: npt.NDArray[np.bool_], users: IntArray) -> None:
        order = np.argsort(scores, kind="stable")
        values = scores[order]
        self.positive, self.users = positive[order], users[order]
        starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
        self.lowest = np.repeat(starts, np.diff(np.append(starts, len(values))))  # the first place of each pair's tie …
        self.highest = np.repeat(np.append(starts[1:], len(values)), np.diff(np.append(starts, len(values))))  # … and the one after it

    def auc(self, times: IntArray) -> float:
        """Return the AUC where each user stands ``times [users]`` often; NaN where one label is missing."""
        weights = times[self.users]
        negatives = np.concatenate([[0], np.cumsum(np.where(self.positive, 0, weights))])
        mine = np.where(self.positive, weights, 0)
        pairs = int(mine.sum()) * int(negatives[-1])
        below = 0.5 * (negatives[self.lowest] + negatives[self.highest])  # a tie counts half
        return float(mine @ below / pairs) if pairs else float("nan")


def _interval(values: Float64Array) -> tuple[float, float]:
    if not len(values):
        raise DataError("no resample of the users holds both labels: too few users for an interval")
    low, high = np.quantile(values, _LEVELS)
    return float(low), float(high)

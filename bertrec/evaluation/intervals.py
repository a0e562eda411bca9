"""Percentile bootstrap over users: all metrics of a slice share one set of resamples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertrec.core.ragged import IntArray
from bertrec.evaluation.metrics import Float64Array

_CHUNK_CELLS = 1 << 20  # resampled users held at once
_DRAW_GROUPS_BELOW = 1 / 8  # share of distinct rows under which one draw per group is cheaper than one per user


def resampled_means(values: Float64Array, *, resamples: int = 1000, seed: int = 0) -> Float64Array:
    """Return the means of ``resamples`` samples of the users with replacement.

    A resample is kept as how often it holds each user, so that all metrics are one matrix product. Users with the same values are one group
    (with one target per user there are only as many as the largest k, and one for those below it), and how often a
    resample holds each group is a multinomial draw: the same distribution at a fraction of the cost.

    Args:
        values: ``[n, metrics]``, without NaN, n at least 1.
        resamples: how many samples.
        seed: of the generator.

    Returns:
        ``[resamples, metrics]`` float64.
    """
    generator = np.random.default_rng(seed)
    n = len(values)
    groups, sizes = _groups(values)
    if len(groups) <= max(1.0, n * _DRAW_GROUPS_BELOW):
        return np.asarray(generator.multinomial(n, sizes / n, size=resamples) @ groups / n)
    step = max(1, _CHUNK_CELLS // n)
    means = np.empty((resamples, values.shape[1]))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        means[start : start + size] = _counts(generator, size, n) @ values / n
    return means


def _groups(values: Float64Array) -> tuple[Float64Array, IntArray]:
    """Return the distinct rows and how often each stands there, or every row once where two keys collide."""
    weights = np.random.default_rng(1).random(values.shape[1])
    keys = (values * weights).sum(axis=1)  # sorting one number per row is ten times faster than sorting rows
    _, first, group, sizes = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    if np.array_equal(values[first][group], values):
        return values[first], sizes
    return values, np.ones(len(values), dtype=np.int64)


def _counts(generator: np.random.Generator, size: int, n: int) -> Float64Array:
    """Return how often each of ``size`` resamples holds each of ``n`` users."""
    drawn: IntArray = generator.integers(0, n, size=(size, n))
    drawn += np.arange(size)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def bootstrap_intervals(values: Float64Array, *, resamples: int = 1000, seed: int = 0, level: float = 0.95) -> Float64Array:
    """Return the percentile interval of each column's mean, ``[metrics, 2]`` (Efron 1979).

    Args:
        values: ``[n, metrics]``, without NaN, n at least 1.
        resamples: how many samples of the users.
        seed: of the generator.
        level: the share of resampled means inside.
    """
    tail = 50.0 * (1.0 - level)
    means = resampled_means(values, resamples=resamples, seed=seed)
    return np.asarray(np.percentile(means, [tail, 100.0 - tail], axis=0).T, dtype=np.float64)


def interval_over_groups(
    groups: Sequence[Float64Array], *, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile interval of the mean over all values, where groups are resampled first and then the values in each.

    So it tells what another set of groups would give (draws of new items, say), and not only other users in the same ones. With
    two or three groups it is a rough answer.

    Args:
        groups: the values of each group, ``[n_g]``, none of them empty.
        resamples: how many samples.
        seed: of the generator.
        level: of the interval.
    """
    generator = np.random.default_rng(seed)
    sizes = np.array([len(values) for values in groups])
    means = np.stack([resampled_means(v[:, None], resamples=resamples, seed=seed + n)[:, 0] for n, v in enumerate(groups)])
    picked = generator.integers(len(groups), size=(resamples, len(groups)))
    rows = generator.integers(resamples, size=picked.shape)  # a group that is picked twice is resampled twice
    drawn = (sizes[picked] * means[picked, rows]).sum(axis=1) / sizes[picked].sum(axis=1)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

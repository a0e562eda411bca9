"""Percentile bootstrap over users: all metrics of a slice share one set of resamples."""

from __future__ import annotations

import numpy as np

from bertrec.core.ragged import IntArray
from bertrec.evaluation.metrics import Float64Array

_CHUNK_CELLS = 1 << 20  # resampled users held at once


def resampled_means(values: Float64Array, *, resamples: int = 1000, seed: int = 0) -> Float64Array:
    """Return the means of ``resamples`` samples of the users with replacement.

    A resample is kept as how often it holds each user (a multinomial draw), so that all metrics are one matrix product.

    Args:
        values: ``[n, metrics]``, without NaN, n at least 1.
        resamples: how many samples.
        seed: of the generator; the same seed and n give the same samples, so differences between two calls are paired.

    Returns:
        ``[resamples, metrics]`` float64.
    """
    generator = np.random.default_rng(seed)
    n = len(values)
    step = max(1, _CHUNK_CELLS // n)
    means = np.empty((resamples, values.shape[1]))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        means[start : start + size] = _counts(generator, size, n) @ values / n
    return means


def _counts(generator: np.random.Generator, size: int, n: int) -> Float64Array:
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

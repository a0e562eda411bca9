"""What a ranker that shuffles the candidates reaches in expectation, exactly: the yardstick where items are new to every model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import unknown_name
from bertrec.evaluation.metrics import RANK_METRICS, Float64Array, discounts


def random_expectation(metric: str, k: int, n_candidates: npt.ArrayLike, n_targets: npt.ArrayLike = 1) -> Float64Array:
    r"""Return the expected value of a metric under a uniformly random order of the candidates.

    With :math:`N` candidates, :math:`m` targets and :math:`K = \min(k, N)`: every position holds a target with probability :math:`m / N`,
    two positions both with :math:`m (m - 1) / (N (N - 1))`, and the first :math:`r` positions hold none with
    :math:`\prod_{j<r} (N-m-j)/(N-j)`.

    Args:
        metric: ``HR``, ``Recall``, ``Precision``, ``NDCG``, ``MRR`` or ``MAP``.
        k: the cut-off.
        n_candidates: a number or ``[n]``, at least 1.
        n_targets: a number or ``[n]``, from 1 to the number of candidates.

    Returns:
        ``[n]`` float64, or a scalar array for scalars.

    Raises:
        ValueError: an unknown metric, or more targets than candidates.

    >>> float(random_expectation("HR", 1, 4))
    0.25
    """
    if metric not in RANK_METRICS:
        raise ValueError(unknown_name("metric", metric, RANK_METRICS))
    total, relevant = np.broadcast_arrays(np.asarray(n_candidates, dtype=np.int64), np.asarray(n_targets, dtype=np.int64))
    if np.any(relevant < 1) or np.any(relevant > total) or k < 1:
        raise ValueError("k and the number of targets must be at least 1, and targets cannot outnumber the candidates")
    pairs, back = np.unique(np.stack([total.ravel(), relevant.ravel()]), axis=1, return_inverse=True)
    values = _EXPECTED[metric](pairs[0][:, None].astype(np.float64), pairs[1][:, None].astype(np.float64), k)
    return np.asarray(values[back.ravel()].reshape(total.shape), dtype=np.float64)


def _positions(total: Float64Array, k: int) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
    """Return the ranks 1 to k, ``[1, k]``, and which of them exist, ``[pairs, k]``."""
    ranks = np.arange(1, k + 1, dtype=np.float64)[None, :]
    return ranks, ranks <= total


def _first_target_probability(total: Float64Array, relevant: Float64Array, k: int) -> Float64Array:
    """Return ``[pairs, k]``: the probability that the first target stands at each rank."""
    ranks, exists = _positions(total, k)
    left = np.where(exists, total - ranks + 1, 1.0)
    miss = np.where(exists, np.maximum(total - relevant - ranks + 1, 0.0) / left, 0.0)
    none_yet = np.cumprod(miss, axis=1)
    before = np.concatenate([np.ones_like(total), none_yet[:, :-1]], axis=1)
    return before - none_yet


def _hit_rate(total: Float64Array, relevant: Float64Array, k: int) -> Float64Array:
    return np.asarray(_first_target_probability(total, relevant, k).sum(axis=1))


def _reciprocal_rank(total: Float64Array, relevant: Float64Array, k: int) -> Float64Array:
    return np.asarray((_first_target_probability(total, relevant, k) / np.arange(1, k + 1)).sum(axis=1))


def _recall(total: Float64Array, relevant: Float64Array, k: int) -> Float64Array:
    return np.asarray((np.minimum(total, k) / total)[:, 0])


def _precision(total: Float64Array, relevant: Float64Array, k: int) -> Float64Array:
    return np.asarray((relevant * np.minimum(total, k) / total / k)[:, 0])


def _ndcg(total: Float64Array, relevant: Float64Array, k: int) -> Float64Array:
    _, exists = _positions(total, k)
    gain = (relevant / total)[:, 0] * np.where(exists, discounts(k), 0.0).sum(axis=1)
    ideal = np.cumsum(discounts(k))[np.minimum(relevant[:, 0], k).astype(np.int64) - 1]
    return np.asarray(gain / ideal)


def _average_precision(total: Float64Array, relevant: Float64Array, k: int) -> Float64Array:
    ranks, exists = _positions(total, k)
    others_above = (ranks - 1) * (relevant - 1) / np.maximum(total - 1, 1)
    gain = (relevant / total) * (1 + others_above) / ranks
    return np.asarray(np.where(exists, gain, 0.0).sum(axis=1) / np.minimum(relevant[:, 0], k))


_EXPECTED = {
    "HR": _hit_rate,
    "Recall": _recall,
    "Precision": _precision,
    "NDCG": _ndcg,
    "MRR": _reciprocal_rank,
    "MAP": _average_precision,
}

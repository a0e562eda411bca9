r"""Ranking metrics from ranks, one value per user.

:math:`R_u` are the ranks of the targets of user :math:`u`, :math:`|R_u|` their number; relevance is binary.
A row without targets gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray, Ragged

Float64Array = npt.NDArray[np.float64]


def _per_row(ranks: Ragged, gains: Float64Array, k: int) -> Float64Array:
    return np.bincount(ranks.rows, weights=np.where(ranks.values <= k, gains, 0.0), minlength=len(ranks)).astype(np.float64)


def _divide(total: Float64Array, by: npt.NDArray[np.generic], ranks: Ragged) -> Float64Array:
    return np.asarray(np.divide(total, by, out=np.full(len(ranks), np.nan), where=ranks.lengths > 0))


def discounts(k: int) -> Float64Array:
    """Return ``1 / log2(rank + 1)`` for the ranks 1 to ``k``."""
    return 1.0 / np.log2(np.arange(2, k + 2, dtype=np.float64))


def hits(ranks: Ragged, k: int) -> Float64Array:
    """Return the number of targets among the first ``k``, ``[n]``."""
    return _per_row(ranks, np.ones(len(ranks.values)), k)


def hit_rate(ranks: Ragged, k: int) -> Float64Array:
    r"""Hit rate: 1 where at least one target is among the first k, :math:`[\min R_u \le k]`.

    >>> hit_rate(Ragged.from_rows([[3, 12], [11]]), 10)
    array([1., 0.])
    """
    return _divide(np.minimum(hits(ranks, k), 1.0), np.ones(len(ranks)), ranks)


def recall(ranks: Ragged, k: int) -> Float64Array:
    r"""Recall: the share of the targets among the first k, :math:`|\{r \in R_u: r \le k\}| / |R_u|`.

    >>> recall(Ragged.from_rows([[3, 12], [11]]), 10)
    array([0.5, 0. ])
    """
    return _divide(hits(ranks, k), ranks.lengths, ranks)


def precision(ranks: Ragged, k: int) -> Float64Array:
    r"""Precision: the share of the first k that are targets, :math:`|\{r \in R_u: r \le k\}| / k`, even where fewer than k exist.

    >>> precision(Ragged.from_rows([[3, 12], [11]]), 10)
    array([0.1, 0. ])
    """
    return _divide(hits(ranks, k), np.full(len(ranks), k), ranks)


def ndcg(ranks: Ragged, k: int) -> Float64Array:
    r"""Normalised discounted cumulative gain, Järvelin and Kekäläinen (2002), binary, the ideal list holds :math:`\min(k, |R_u|)` targets.

    .. math:: \sum_{r \in R_u, r \le k} \frac{1}{\log_2(r + 1)} \Big/ \sum_{i=1}^{\min(k, |R_u|)} \frac{1}{\log_2(i + 1)}

    >>> ndcg(Ragged.from_rows([[3], [11], [1, 2]]), 10)
    array([0.5, 0. , 1. ])
    """
    gains = _per_row(ranks, 1.0 / np.log2(ranks.values + 1.0), k)
    ideal = np.concatenate([[0.0], np.cumsum(discounts(k))])
    return _divide(gains, ideal[np.minimum(ranks.lengths, k)], ranks)


def reciprocal_rank(ranks: Ragged, k: int) -> Float64Array:
    r"""Reciprocal rank of the first target, 0 below the cut-off: :math:`[\min R_u \le k] / \min R_u`. Its mean is the MRR.

    >>> reciprocal_rank(Ragged.from_rows([[8, 4], [11]]), 10)
    array([0.25, 0.  ])
    """
    best = np.zeros(len(ranks))
    np.maximum.at(best, ranks.rows, np.where(ranks.values <= k, 1.0 / ranks.values, 0.0))
    return _divide(best, np.ones(len(ranks)), ranks)


def average_precision(ranks: Ragged, k: int) -> Float64Array:
    r"""Average precision, divided by :math:`\min(k, |R_u|)` as RecBole does. Its mean is the MAP.

    trec_eval and ranx divide by :math:`|R_u|`, which caps a user with more than k targets below 1.

    .. math:: \frac{1}{\min(k, |R_u|)} \sum_{r \in R_u, r \le k} \frac{|\{q \in R_u: q \le r\}|}{r}

    >>> average_precision(Ragged.from_rows([[4, 1], [11]]), 10)
    array([0.75, 0.  ])
    """
    ordered = Ragged(ranks.values[np.lexsort((ranks.values, ranks.rows))], ranks.offsets)
    found = np.arange(1, len(ordered.values) + 1) - ordered.offsets[ordered.rows]
    return _divide(_per_row(ordered, found / ordered.values, k), np.minimum(ranks.lengths, k), ranks)


RANK_METRICS: dict[str, Callable[[Ragged, int], Float64Array]] = {
    "HR": hit_rate,
    "Recall": recall,
    "Precision": precision,
    "NDCG": ndcg,
    "MRR": reciprocal_rank,
    "MAP": average_precision,
}


def rank_metrics(ranks: Ragged, ks: Iterable[int]) -> dict[str, Float64Array]:
    """Return every ranking metric at every cut-off, ``{"HR@1": [n], …}``."""
    cuts = list(ks)
    quick = _of_one_target(ranks.values, cuts) if np.all(ranks.lengths == 1) else {}
    named = {f"{name}@{k}": (metric, k) for k in cuts for name, metric in RANK_METRICS.items()}
    return {name: quick[name] if name in quick else metric(ranks, k) for name, (metric, k) in named.items()}


def _of_one_target(ranks: IntArray, ks: Iterable[int]) -> dict[str, Float64Array]:
    """Return the same for users with one target each, ``[n]``: there every metric is a gain of the rank, 0 below the cut-off."""
    ones, discounted, reciprocal = np.ones(len(ranks)), 1.0 / np.log2(ranks + 1.0), 1.0 / ranks
    gains = {"HR": ones, "Recall": ones, "NDCG": discounted, "MRR": reciprocal, "MAP": reciprocal}
    return {f"{name}@{k}": np.where(ranks <= k, (gains | {"Precision": ones / k})[name], 0.0) for k in ks for name in [*gains, "Precision"]}


def distinct_ranks(ranks: Ragged) -> bool:
    """Say whether all ranks are at least 1 and no row holds one twice, as positions of one list are."""
    if len(ranks.values) and ranks.values.min() < 1:
        return False
    ordered: IntArray = ranks.values[np.lexsort((ranks.values, ranks.rows))]
    return not np.any((np.diff(ordered) == 0) & (np.diff(ranks.rows) == 0))

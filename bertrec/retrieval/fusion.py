"""Reciprocal rank fusion: one order from several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray

RRF_K = 60
"""How little the first ranks differ: the number that the paper settled on."""


def fused(
    orders: Sequence[IntArray], *, k: int = RRF_K, weights: Sequence[float] | None = None
) -> tuple[IntArray, npt.NDArray[np.float32]]:
    """Join lists of items: an item scores ``Σ 1 / (k + rank)`` over the lists that hold it (Cormack, Clarke & Büttcher 2009).

    Args:
        orders: lists of inner ids, each id once, the best first.
        k: see `RRF_K`.
        weights: what the share of each list is multiplied by; None takes them alike.

    Returns:
        Inner ids, the best first and among equals the one that an earlier list has first, and their scores.
    """
    items = np.concatenate([np.zeros(0, np.int64), *orders])
    shares = zip(orders, [1.0] * len(orders) if weights is None else weights, strict=True)
    values = np.concatenate([np.zeros(0), *(weight / (k + 1 + np.arange(len(order))) for order, weight in shares)])
    found, first, place = np.unique(items, return_index=True, return_inverse=True)
    scores = np.bincount(place, values, minlength=len(found))
    # Sums of the same parts in another order differ in their last bits.
    best = np.lexsort((first, -np.round(scores, 12)))
    return found[best], scores[best].astype(np.float32)


def rank_in(order: IntArray, items: IntArray) -> IntArray:
    """Return the rank of each item in a list from 1, 0 where the list lacks it, ``[len(items)]``."""
    ranks = np.zeros(int(max(order.max(initial=0), items.max(initial=0))) + 1, np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return np.asarray(ranks[items])

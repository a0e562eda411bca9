"""What was found: one list of items from one or several lists of scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bertrec.core.products import FloatArray, IntArray, row_lengths
from bertrec.data.catalog import ItemCatalog
from bertrec.retrieval.fusion import fused, rank_in

DEPTH = 200
"""How many of the best of each list are joined, at least."""


@dataclass(frozen=True)
class Found:
    """Items that were found.

    Attributes:
        items: external ids, best first.
        scores: of the order: of one list its own, of several that of reciprocal rank fusion.
        ranks: for each list that was joined the rank from 1 of each item, 0 where the list lacks it.
    """

    items: list[str | int]
    scores: list[float]
    ranks: dict[str, list[int]]


def joined(catalog: ItemCatalog, lists: Mapping[str, FloatArray], k: int, *, weights: Mapping[str, float] | None = None) -> Found:
    """Return the ``k`` best of several lists of scores.

    Args:
        catalog: the items.
        lists: each ``[n_items + 1]`` with -inf for what it lacks.
        k: how many, at most.
        weights: of the lists by name, where their ranks are joined; 1 for one that is not named.
    """
    orders = {name: best_of(values, max(DEPTH, k)) for name, values in lists.items()}
    if len(lists) == 1:
        (own,), (order,) = lists.values(), orders.values()
        items, scores = order[:k], own[order[:k]]
    else:
        everything, values = fused(list(orders.values()), weights=[(weights or {}).get(name, 1.0) for name in orders])
        items, scores = everything[:k], values[:k]
    ranks = {name: rank_in(order, items).tolist() for name, order in orders.items()}
    return Found(catalog.ids.decode(items), [float(score) for score in scores], ranks)


def best_of(values: FloatArray, depth: int) -> IntArray:
    """Return the inner ids of the ``depth`` largest finite values, the largest first and among equals the smaller id."""
    rows = np.arange(len(values))
    if depth < len(values):
        least = np.partition(values, len(values) - depth)[len(values) - depth]
        rows = np.flatnonzero(~(values < least))
    order = rows[np.argsort(-values[rows], kind="stable")[:depth]]
    return order[np.isfinite(values[order])]


class Cosines:
    """A table of vectors, ready for their cosines with others.

    Args:
        table: ``[rows, dim]``; a row of NaN or of zeros has a cosine with nothing.
    """

    def __init__(self, table: FloatArray) -> None:
        self.lengths = row_lengths(table)
        self.table = np.nan_to_num(table)

    def of(self, vector: FloatArray) -> FloatArray:
        """Return the cosine of a vector with each row, ``[rows]``; -inf for rows that have none."""
        lengths = self.lengths * np.linalg.norm(vector.astype(np.float64))
        with np.errstate(divide="ignore", invalid="ignore"):
            values = (self.table @ vector) / lengths
        return np.where(lengths > 0, values, -np.inf).astype(np.float32)


def padded(vectors: FloatArray) -> FloatArray:
    """Return vectors ``[n_items, dim]`` with a row of NaN for padding before them."""
    return np.concatenate([np.full((1, vectors.shape[1]), np.nan, np.float32), vectors])

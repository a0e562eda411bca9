"""Recall of an index against exact search."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.retrieval.result import SearchResult


class Searched(Protocol):
    """An index, as far as its recall is concerned; see `bertrec.retrieval.index.ItemIndex.search`."""

    def search(self, queries: npt.ArrayLike, k: int, *, exact: bool = False) -> SearchResult:
        """Return the ``k`` best items for each query."""
        ...


def recall_at_k(index: Searched, queries: npt.ArrayLike, k: int = 10) -> float:
    """Return the share of the true ``k`` nearest items that the index returns, over all queries.

    An item that scores as high as the true k-th counts as one of them: which of several equals comes last is no matter of recall.

    Args:
        index: any ``bertrec.retrieval.index.ItemIndex``.
        queries: ``[b, d]``, at least one.
        k: above the number of items, all of them count.

    Raises:
        ConfigError: ``k`` below 1.
        DataError: no queries, or unusable ones.
    """
    found, true = index.search(queries, k), index.search(queries, k, exact=True)
    if not len(true.scores):
        raise DataError("recall needs at least one query")
    return float(recall_each(found, true).mean())


def recall_each(found: SearchResult, true: SearchResult) -> npt.NDArray[np.float64]:
    """Return the recall of each query, ``[b]``, as `recall_at_k` counts it.

    Args:
        found: what an index found.
        true: what exact search finds for the same queries and k; at least one item each.
    """
    existing = true.positions >= 0
    last = true.scores.min(axis=1, where=existing, initial=float("inf"))[:, None]
    hits = (found.positions >= 0) & (found.scores >= last)
    return np.asarray(hits.sum(axis=1) / existing.sum(axis=1), np.float64)

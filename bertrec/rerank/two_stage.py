"""Retrieve, then rerank: a fast model proposes a list, a slower or more observant one puts it in order.

The shape is PALR's (Yang et al. 2023, arXiv 2305.07622) with a reranker that scores instead of one that writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect, expect_able, expect_number
from bertrec.core.errors import ConfigError, DataError, ModelError, NotFiniteError
from bertrec.core.ragged import Ragged
from bertrec.models.base import FloatArray, Recommender
from bertrec.retrieval.exact import check_k, top_k
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.rules import Rules

Scores = npt.NDArray[np.floating[Any]]


class Reranker(Protocol):
    """Whatever scores given candidates after given histories.

    A reranker with the attribute ``needs_retrieval_scores`` set is also handed ``retrieval_scores [total candidates]``, by that keyword.
    """

    def score(self, histories: Ragged, candidates: Ragged) -> np.ndarray:
        """Return floats ``[total candidates]``, higher is better; inner item ids, histories oldest first and perhaps empty."""
        ...


@dataclass(frozen=True)
class Retrieved:
    """What a retriever proposes.

    Attributes:
        items: inner ids, best first, one row per history; shorter than asked for where there are fewer.
        scores: ``[total]``, the retriever's.
    """

    items: Ragged
    scores: FloatArray


def retrieve(model: Recommender, histories: Ragged, n: int, *, mask_seen: bool = True, index: ItemIndex | None = None) -> Ragged:
    """Return the ``n`` best items for each history, inner ids, best first; see `retrieve_scored`."""
    return retrieve_scored(model, histories, n, mask_seen=mask_seen, index=index).items


def retrieve_scored(
    model: Recommender,
    histories: Ragged,
    n: int,
    *,
    mask_seen: bool = True,
    index: ItemIndex | None = None,
    rules: Rules | None = None,
) -> Retrieved:
    """Return the ``n`` best items for each history with their scores.

    Args:
        model: the retriever.
        histories: inner ids, oldest first.
        n: how many; a catalogue with fewer gives all that the model can score.
        mask_seen: leave out items of the history.
        index: search this index instead of scoring the whole catalogue.
        rules: which items may be proposed, and how; all but their diversity counts.

    Raises:
        ConfigError: ``n`` is below 1.
        DataError: the rules name an attribute that the items do not have.
        IndexFileError: the index was built from another model.
    """
    n = check_k(n)
    expect(model, Recommender, "retrieve: model", error=ModelError)
    expect(histories, Ragged, "retrieve: histories")
    if index is not None or rules is not None:
        candidates = None if rules is None else rules.for_candidates()
        found = model.recommend(histories, n, exclude_seen=mask_seen, index=index, rules=candidates)
        rows = Ragged.from_rows([model.catalog.ids.encode(row) for row in found.items])
        known = rows.values > 0  # an item that the index alone has, no reranker can read
        return Retrieved(rows.where(known), np.array([score for row in found.scores for score in row], np.float32)[known])
    items: list[npt.NDArray[np.int64]] = []
    scores: list[FloatArray] = []
    lengths: list[npt.NDArray[np.int64]] = []
    start = 0
    for batch in model.score_all(histories):
        seen = histories.slice(start, start + len(batch)) if mask_seen else None
        best, values = top_k(batch, n, seen=seen)
        items.append(best[best > 0])
        scores.append(values[best > 0])
        lengths.append((best > 0).sum(axis=1))
        start += len(batch)
    if not items:
        return Retrieved(Ragged.from_rows([]), np.zeros(0, np.float32))
    return Retrieved(Ragged.from_lengths(np.concatenate(items), np.concatenate(lengths)), np.concatenate(scores))


def rerank(
    reranker: Reranker, histories: Ragged, candidates: Ragged, *, retrieval_scores: Scores | None = None, weight: float = 0.0
) -> Ragged:
    """Put each list into the reranker's order; equal scores keep the order given.

    Args:
        reranker: what scores the candidates.
        histories: ``n`` rows of inner ids, oldest first.
        candidates: ``n`` rows of inner ids, the retriever's order.
        retrieval_scores: ``[total candidates]``; needed for a ``weight`` above 0.
        weight: the retriever's share of the score, see `fused_scores`.

    Returns:
        The same items in a new order.
    """
    scores = fused_scores(reranker, histories, candidates, retrieval_scores=retrieval_scores, weight=weight)
    return Ragged(candidates.values[best_first(scores, candidates)], candidates.offsets)


def best_first(scores: Scores, lists: Ragged) -> npt.NDArray[np.int64]:
    """Return the positions of the values of ``lists``, row after row, by falling score; equal scores as they stand."""
    return np.lexsort((-scores, lists.rows))  # lexsort is stable


def fused_scores(
    reranker: Reranker, histories: Ragged, candidates: Ragged, *, retrieval_scores: Scores | None = None, weight: float = 0.0
) -> npt.NDArray[np.float64]:
    """Return ``(1 - weight) * z(reranker) + weight * z(retriever)``, each standardised within its list, ``[total candidates]``.

    With ``weight`` 0 these are the reranker's own scores, unscaled; with 1 only the retriever counts.

    Raises:
        ConfigError: ``weight`` is outside 0 to 1, or above 0 without the retriever's scores.
        DataError: rows or scores that do not fit, or a candidate that is no item.
        NotFiniteError: the reranker gives a score that is no number.
    """
    if not 0.0 <= expect_number(weight, "the retriever's weight") <= 1.0:
        raise ConfigError(f"the retriever's weight is {weight}: it lies between 0 (the reranker alone) and 1 (the retriever alone)")
    if weight and retrieval_scores is None:
        raise ConfigError(f"the retriever's weight is {weight}, but its scores are not given")
    own = reranker_scores(reranker, histories, candidates, retrieval_scores)
    return fuse(own, retrieval_scores, candidates, weight)


def fuse(own: Scores, retrieval_scores: Scores | None, lists: Ragged, weight: float) -> npt.NDArray[np.float64]:
    """Mix the scores of reranker and retriever as `fused_scores` says."""
    if not weight or retrieval_scores is None:
        return np.asarray(own, np.float64)
    return (1.0 - weight) * standardised(own, lists) + weight * standardised(retrieval_scores, lists)


def standardised(scores: Scores, lists: Ragged) -> npt.NDArray[np.float64]:
    """Return the scores with mean 0 and standard deviation 1 within each list, all 0 where they are equal."""
    values, rows = np.asarray(scores, np.float64), lists.rows
    counts = np.maximum(lists.lengths, 1)
    centred = values - (np.bincount(rows, values, minlength=len(lists)) / counts)[rows]
    spread = np.sqrt(np.bincount(rows, centred**2, minlength=len(lists)) / counts)
    low, high = np.full(len(lists), np.inf), np.full(len(lists), -np.inf)
    np.minimum.at(low, rows, values)
    np.maximum.at(high, rows, values)
    varied = (high > low)[rows]  # rounding can leave equal scores a spread that is not quite 0
    out = np.zeros(len(values))
    out[varied] = centred[varied] / spread[rows][varied]
    return out


def reranker_scores(reranker: Reranker, histories: Ragged, candidates: Ragged, retrieval_scores: Scores | None = None) -> Scores:
    """Ask the reranker, with the retriever's scores where it reads them, and see that the answer can be used.

    Raises:
        DataError: rows that do not match, a candidate below 1, or scores of the retriever that do not match the candidates.
        ModelError: the reranker gives another number of scores than there are candidates.
        NotFiniteError: a score is no finite number; the text names row and item.
    """
    expect_able(reranker, "score", "fitted reranker", "reranker", error=ModelError)
    expect(histories, Ragged, "histories")
    expect(candidates, Ragged, "candidates", mend="Ragged.from_rows(rows) of inner ids, or what retrieve(model, histories, n) returns")
    total = len(candidates.values)
    if len(histories) != len(candidates):
        raise DataError(f"{len(histories)} histories but {len(candidates)} lists of candidates")
    if total and candidates.values.min() < 1:
        row = int(candidates.rows[int(np.argmin(candidates.values))])
        raise DataError(f"list {row}: {candidates.values.min()} is no inner item id; those run from 1")
    if retrieval_scores is not None and np.shape(retrieval_scores) != (total,):
        raise DataError(f"{np.shape(retrieval_scores)} scores of the retriever for {total} candidates")
    if not total:
        return np.zeros(0, np.float32)
    if getattr(reranker, "needs_retrieval_scores", False):
        given: Any = reranker  # the keyword is no part of the protocol
        scores = np.asarray(given.score(histories, candidates, retrieval_scores=retrieval_scores))
    else:
        scores = np.asarray(reranker.score(histories, candidates))
    if scores.shape != (total,):
        raise ModelError(f"{type(reranker).__name__} gave scores of shape {list(scores.shape)} for {total} candidates")
    if not np.isfinite(scores).all():
        at = int(np.argmin(np.isfinite(scores)))
        raise NotFiniteError(f"list {candidates.rows[at]}, item {candidates.values[at]}: the reranker's score is {scores[at]}")
    return scores

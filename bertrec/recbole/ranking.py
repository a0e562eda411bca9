"""Ranks and lists from score rows, batch after batch, as a fitting process gives them back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.lists import top_k_items
from bertrec.evaluation.metrics import rank_metrics
from bertrec.evaluation.ranks import rank_targets

Scores = npt.NDArray[np.floating[Any]]


def rank_and_list(
    batches: Iterable[Scores], part: EvaluationSet, *, mask_seen: bool, list_length: int = 0
) -> tuple[IntArray, npt.NDArray[np.int32]]:
    """Return the rank of every target, ties against the model, and each user's list ``[n, list_length]``.

    Args:
        batches: ``[b, n_items + 1]`` each, in the order of ``part``.
        part: the evaluated users.
        mask_seen: whether items of the history are no candidates.
        list_length: 0 makes no lists.

    Raises:
        ModelError: a score is no number.
    """
    ranks: list[IntArray] = []
    lists = [np.zeros((0, list_length), np.int32)]
    start = 0
    for scores in batches:
        stop = start + len(scores)
        seen = part.histories.slice(start, stop) if mask_seen else None
        ranks.append(rank_targets(scores, part.targets.slice(start, stop), seen=seen, first_row=start))
        if list_length:
            lists.append(top_k_items(scores, list_length, seen=seen).astype(np.int32))
        start = stop
    return np.concatenate(ranks), np.concatenate(lists)


def pair_scores(batches: Iterable[Scores], pairs: tuple[IntArray, IntArray]) -> npt.NDArray[np.float32]:
    """Return the score of each pair of a row and an item, ``[m]``."""
    rows, items = pairs
    found = np.full(len(rows), np.nan, np.float32)
    start = 0
    for scores in batches:
        inside = (rows >= start) & (rows < start + len(scores))
        found[inside] = scores[rows[inside] - start, items[inside]]
        start += len(scores)
    return found


def mean_metric(ranks: IntArray, part: EvaluationSet, metric: str) -> float:
    """Return the mean over users of a ranking metric such as ``NDCG@10``."""
    _, _, k = metric.partition("@")
    return float(rank_metrics(Ragged(ranks, part.targets.offsets), [int(k)])[metric].mean())


def tied_users(batches: Iterable[Scores], part: EvaluationSet, *, mask_seen: bool) -> int:
    """Count the users with a target whose score another candidate shares."""
    tied: list[IntArray] = [np.zeros(0, np.int64)]
    start = 0
    for scores in batches:
        rows = part.take(np.arange(start, start + len(scores)))
        at = (rows.targets.rows, rows.targets.values)
        wanted = scores[at]
        others = scores.copy()
        others[:, 0] = -np.inf
        if mask_seen:
            others[rows.histories.rows, rows.histories.values] = -np.inf
        others[at] = -np.inf
        tied.append(start + np.unique(at[0][(others[at[0]] == wanted[:, None]).any(axis=1)]))
        start += len(scores)
    return len(np.concatenate(tied))

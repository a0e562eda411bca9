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
from bertrec.evaluation.ranks import UNLISTED, BoolArray, rank_targets, unlisted, unseen_targets

Scores = npt.NDArray[np.floating[Any]]


def rank_and_list(
    batches: Iterable[Scores], part: EvaluationSet, *, mask_seen: bool, list_length: int = 0, rank_seen: bool = False
) -> tuple[IntArray, npt.NDArray[np.int32]]:
    """Return the rank of every target, ties against the model, and each user's list ``[n, list_length]``.

    Args:
        batches: ``[b, n_items + 1]`` each, in the order of ``part``.
        part: the evaluated users.
        mask_seen: whether items of the history are no candidates.
        list_length: 0 makes no lists.
        rank_seen: whether a target of a masked history is ranked all the same; else it gets a rank that no list reaches.

    Raises:
        ModelError: a score is no number.
    """
    wanted = part.targets.where(kept := _ranked(part, mask_seen=mask_seen and not rank_seen))
    ranks: list[IntArray] = []
    lists = [np.zeros((0, list_length), np.int32)]
    start = 0
    for scores in batches:
        stop = start + len(scores)
        seen = part.histories.slice(start, stop) if mask_seen else None
        part_of = wanted.slice(start, stop)
        found = rank_targets(scores, part_of, seen=seen, first_row=start)
        ranks.append(unlisted(found, scores[part_of.rows, part_of.values] == -np.inf))
        if list_length:
            lists.append(top_k_items(scores, list_length, seen=seen).astype(np.int32))
        start = stop
    places = UNLISTED + np.arange(len(kept), dtype=np.int64)  # distinct, as the ranks of a user are
    places[kept] = np.concatenate(ranks)
    return places, np.concatenate(lists)


def _ranked(part: EvaluationSet, *, mask_seen: bool) -> BoolArray:
    """Return ``[total targets]``: which are candidates."""
    return unseen_targets(part.targets, part.histories) if mask_seen else np.ones(len(part.targets.values), bool)


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


def mean_metric(ranks: IntArray, part: EvaluationSet, metric: str, *, mask_seen: bool = False) -> float:
    """Return the mean of a ranking metric such as ``NDCG@10`` over the users with a target that is a candidate."""
    _, _, k = metric.partition("@")
    kept = Ragged(ranks, part.targets.offsets).where(_ranked(part, mask_seen=mask_seen))
    return float(np.nanmean(rank_metrics(kept, [int(k)])[metric]))


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

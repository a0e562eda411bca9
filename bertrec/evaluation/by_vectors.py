"""From user and item vectors to a report, for models whose score is their inner product: ranks are counted without a score matrix."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.lifts import Lifts
from bertrec.core.products import FloatArray
from bertrec.core.ragged import IntArray, Ragged
from bertrec.evaluation.evaluate import Task, candidate_counts, make_report, prepare
from bertrec.evaluation.protocol import EvaluationData, Protocol
from bertrec.evaluation.ranks import BoolArray, unlisted
from bertrec.evaluation.report import Report
from bertrec.evaluation.vector_ranks import RankedItems, rank_vectors

UserBatch = tuple[FloatArray, Lifts | None]
"""User vectors ``[b, d]``, and what is added to the scores of some of each user's items."""
ListMaker = Callable[[UserBatch, int, Ragged | None, BoolArray | None], IntArray]
"""Makes lists ``[b, k]`` of inner ids, padded with 0, from a batch, k, the seen items and the mask of candidates."""


def evaluate_vectors(
    batches: Iterable[UserBatch],
    item_vectors: npt.ArrayLike,
    evaluation_set: EvaluationData,
    protocol: Protocol,
    item_counts: IntArray,
    *,
    held_out: IntArray | None = None,
    lists: ListMaker | None = None,
    info: Mapping[str, Any] | None = None,
) -> Report:
    """Measure a model from its vectors, as `bertrec.evaluation.evaluate.evaluate_scores` does from its scores.

    Args:
        batches: user vectors in the order of the evaluation set, and what is added to the scores of some of each user's items.
        item_vectors: ``[n_items + 1, d]``; row 0 is padding, a row with NaN is an item without a score.
        evaluation_set: as in `evaluate_scores`.
        protocol: settings.
        item_counts: as in `evaluate_scores`.
        held_out: as in `evaluate_scores`.
        lists: makes the lists for coverage, novelty and Gini; None leaves these out.
        info: as in `evaluate_scores`.

    Raises:
        DataError: shapes that do not fit, an unusable evaluation set, too few or too many rows.
        ModelError: a vector is not finite; the text names the user's row.
    """
    started = time.perf_counter()
    task = prepare(evaluation_set, protocol, item_counts, held_out)
    items = RankedItems.of(item_vectors, task.candidates)
    if len(items) != task.n_items + 1:
        raise DataError(f"item vectors have {len(items)} rows, {task.n_items} items + 1 row of padding are needed")
    ranks, made = _rank_batches(batches, items, task, lists)
    return make_report(task, ranks, candidate_counts(task), made, info, started)


def _rank_batches(batches: Iterable[UserBatch], items: RankedItems, task: Task, lists: ListMaker | None) -> tuple[Ragged, IntArray | None]:
    parts: list[IntArray] = []
    made: list[IntArray] = []
    start, total = 0, len(task.targets)
    for users, lifts in batches:
        stop = start + len(users)
        if stop > total:
            raise DataError(f"vectors of {stop} users or more, but the evaluation set has {total}")
        seen = None if task.seen is None else task.seen.slice(start, stop)
        wanted, names = task.targets.slice(start, stop), task.data.users[start:stop]
        ranks = rank_vectors(users, items, wanted, seen=seen, lifts=lifts, names=names, first_row=start)
        parts.append(unlisted(ranks, ~items.known[wanted.values]))
        if lists is not None:
            made.append(lists((users, lifts), max(task.protocol.ks), seen, task.candidates))
        start = stop
    if start != total:
        raise DataError(f"vectors of {start} users, but the evaluation set has {total}")
    return Ragged(np.concatenate(parts), task.targets.offsets), np.concatenate(made) if lists is not None else None

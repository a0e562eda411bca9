"""What a reranker learns from: the true next item among what the retriever would have proposed.

PALR's own ablation says why: without retrieved lists in training, reranking made its retriever worse.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.ranks import pair_keys
from bertrec.models.base import FloatArray, Recommender
from bertrec.rerank.hard import HardSources
from bertrec.rerank.two_stage import retrieve


def retrieved_impressions(
    model: Recommender,
    interactions: Interactions,
    *,
    n: int = 50,
    negatives: int | None = 8,
    positions: int = 1,
    seed: int = 0,
    only_retrieved: bool = False,
    hard: HardSources | None = None,
) -> Impressions:
    """Make impressions of training positions: the item that came next, and hard negatives from the retriever's list.

    The retriever has been trained on these very positions, so that it finds their items better than those of new users; a reranker that
    reads the retriever's scores should learn from `validation_impressions` instead.

    Args:
        model: the retriever.
        interactions: training sequences; a user's first position has no history and is not used.
        n: the negatives are drawn from the retriever's best ``n`` unseen items for the history.
        negatives: how many, or all of the ``n`` where None; fewer where the list is shorter. No item of the user's own sequence is one.
        positions: how many of each user's last positions.
        seed: of the draw and of the order of the candidates.
        only_retrieved: keep only rows whose true item is among the ``n``.
        hard: where the negatives come from; None takes the retriever's list alone, as ``negatives=None`` does.

    Raises:
        ConfigError: ``n``, ``negatives`` or ``positions`` below 1.
        DataError: no row is left.
    """
    if positions < 1:
        raise ConfigError(f"positions is {positions}: take at least the last one of each user")
    sequences = interactions.sequences
    from_end = sequences.offsets[1:][sequences.rows] - 1 - np.arange(len(sequences.values))
    within = np.arange(len(sequences.values)) - sequences.offsets[:-1][sequences.rows]
    chosen = np.flatnonzero((from_end < positions) & (within > 0))
    users, lengths = sequences.rows[chosen], within[chosen]
    whole = sequences.take(users)
    histories = whole.where(np.arange(len(whole.values)) - whole.offsets[:-1][whole.rows] < lengths[whole.rows])
    return list_impressions(
        model,
        interactions.users.decode(users + 1),
        histories,
        sequences.values[chosen],
        own=whole,
        n=n,
        negatives=negatives,
        seed=seed,
        only_retrieved=only_retrieved,
        hard=hard,
    )


def validation_impressions(
    model: Recommender,
    validation: EvaluationSet,
    *,
    n: int = 50,
    negatives: int | None = None,
    seed: int = 0,
    only_retrieved: bool = True,
    hard: HardSources | None = None,
) -> Impressions:
    """Make impressions of a validation set, a row per target; the arguments are those of `retrieved_impressions`."""
    rows = validation.targets.rows
    histories, targets = validation.histories.take(rows), validation.targets.take(rows)
    own = Ragged.from_lengths(np.zeros(len(histories.values) + len(targets.values), np.int64), histories.lengths + targets.lengths)
    of_history = np.arange(len(own.values)) - own.offsets[:-1][own.rows] < histories.lengths[own.rows]
    own.values[of_history], own.values[~of_history] = histories.values, targets.values
    return list_impressions(
        model,
        [validation.users[row] for row in rows],
        histories,
        validation.targets.values,
        own=own,
        n=n,
        negatives=negatives,
        seed=seed,
        only_retrieved=only_retrieved,
        hard=hard,
    )


def list_impressions(
    model: Recommender,
    users: Sequence[str | int],
    histories: Ragged,
    targets: IntArray,
    *,
    own: Ragged,
    n: int,
    negatives: int | None,
    seed: int,
    only_retrieved: bool,
    hard: HardSources | None = None,
) -> Impressions:
    """Make one impression per row: its target labelled 1, negatives labelled 0, shuffled.

    Args:
        model: the retriever.
        users: external ids, ``[rows]``.
        histories: inner ids, oldest first.
        targets: ``[rows]`` inner ids.
        own: items that are never negatives, one row per row.
        n: see `retrieved_impressions`.
        negatives: see `retrieved_impressions`.
        seed: see `retrieved_impressions`.
        only_retrieved: see `retrieved_impressions`.
        hard: see `retrieved_impressions`.
    """
    hard = hard or HardSources()
    if negatives is not None and negatives < 1:
        raise ConfigError(f"negatives is {negatives}: a reranker learns nothing from the true item alone")
    if not len(targets):
        raise DataError("no user has an item with a history before it: there is nothing to make a reranker's training data of")
    width = len(model.catalog) + 1
    lists = retrieve(model, histories, n)
    found = np.isin(np.arange(len(targets)) * width + targets, pair_keys(lists, width))
    draw = np.random.default_rng(seed)
    if negatives is None or hard.names == ("retrieved",):  # all of a list are the retriever's
        wrong = _drawn(lists.where(~np.isin(pair_keys(lists, width), pair_keys(own, width))), negatives, draw)
    else:
        wrong = hard.drawn(histories, targets, lists, own, negatives, draw, width=width)
    rows = np.flatnonzero((wrong.lengths > 0) & (found | (not only_retrieved)))
    if not len(rows):
        raise DataError(f"none of {len(targets)} training positions has both its item and a negative among the retriever's best {n}")
    notes = hard.notes + _notes(len(targets), int((wrong.lengths == 0).sum()), int((~found).sum()) if only_retrieved else 0, n)
    wrong, targets, histories = wrong.take(rows), targets[rows], histories.take(rows)
    candidates, labels = _shuffled(targets, wrong, draw)
    return _impressions(model.catalog, [users[row] for row in rows.tolist()], histories, candidates, labels, notes)


def _drawn(lists: Ragged, count: int | None, draw: np.random.Generator) -> Ragged:
    """Return ``count`` values of each row, drawn without replacement, in the order of the row."""
    if count is None:
        return lists
    order = np.lexsort((draw.random(len(lists.values)), lists.rows))
    keep = np.zeros(len(order), bool)
    keep[order[np.arange(len(order)) - lists.offsets[:-1][lists.rows] < count]] = True
    return lists.where(keep)


def _shuffled(targets: IntArray, wrong: Ragged, draw: np.random.Generator) -> tuple[Ragged, np.ndarray]:
    rows = np.concatenate([np.arange(len(targets)), wrong.rows])
    values = np.concatenate([targets, wrong.values])
    order = np.lexsort((draw.random(len(rows)), rows))
    return Ragged.from_lengths(values[order], wrong.lengths + 1), (order < len(targets)).astype(np.int8)


def _notes(total: int, alone: int, missed: int, n: int) -> tuple[str, ...]:
    counts = {"without any negative": alone, f"whose item is not among the retriever's best {n}": missed}
    return tuple(f"reranker's training data: {count} of {total} positions {what} (dropped)" for what, count in counts.items() if count)


def _impressions(
    catalog: ItemCatalog, users: list[str | int], histories: Ragged, candidates: Ragged, labels: np.ndarray, notes: tuple[str, ...]
) -> Impressions:
    ids = [str(row) for row in range(len(users))]
    return Impressions(catalog, ids, users, histories, candidates, labels, None, notes)


def retrieval_scores(model: Recommender, histories: Ragged, candidates: Ragged) -> FloatArray:
    """Return the retriever's score of every candidate, ``[total candidates]``.

    Raises:
        DataError: a candidate that the retriever does not know.
    """
    rows = model.score(histories, candidates)
    scores = np.concatenate(rows) if rows else np.zeros(0, np.float32)
    if not np.isfinite(scores).all():
        at = int(np.argmin(np.isfinite(scores)))
        raise DataError(f"list {candidates.rows[at]}: the retriever knows nothing of item {candidates.values[at]}")
    return scores

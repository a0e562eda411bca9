"""Measure retrieve-then-rerank over the whole catalogue: what the reranker may touch is the head of the retriever's list, nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.evaluate import evaluate_ranks
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.ranks import UNLISTED, first_occurrences, pair_keys, rank_targets, unlisted, unseen_targets
from bertrec.evaluation.report import Report
from bertrec.models.base import FloatArray, Recommender
from bertrec.rankers.base import Ranker
from bertrec.rerank.two_stage import Reranker, Scores, best_first, fuse, reranker_scores
from bertrec.retrieval.exact import check_k, top_k

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RankedLists:
    """The heads of a retriever's ranked lists under one protocol.

    Attributes:
        targets: those of the evaluation set.
        ranks: the retriever's rank of each target, from 1, over the whole catalogue; beyond every list where the evaluator leaves a target
            out or the model gives it no score.
        items: what a reranker may put in another order, inner ids, the retriever's best first.
        places: the rank that each of ``items`` holds, ascending within a row.
        scores: ``[total items]``, the retriever's.
        seconds: what making them took.
    """

    targets: Ragged
    ranks: Ragged
    items: Ragged
    places: Ragged
    scores: FloatArray
    seconds: float

    @property
    def targets_within(self) -> int:
        """How many targets a reranker can move."""
        return int(np.isin(pair_keys(self.targets, self._width), pair_keys(self.items, self._width)).sum())

    @property
    def _width(self) -> int:
        return int(max(self.items.values.max(initial=0), self.targets.values.max(initial=0))) + 1

    def reranked(self, scores: Scores) -> Ragged:
        """Return the ranks of the targets once the lists are ordered by ``scores [total items]``; a target outside keeps its rank."""
        keys = pair_keys(self.items, self._width)[best_first(scores, self.items)]
        order = np.argsort(keys)
        wanted = pair_keys(self.targets, self._width)
        if not len(keys):
            return self.ranks
        found = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
        inside = keys[order][found] == wanted
        return Ragged(np.where(inside, self.places.values[order[found]], self.ranks.values), self.ranks.offsets)


def ranked_lists(
    model: Recommender, evaluation_set: EvaluationSet, protocol: Protocol, n: int, *, held_out: IntArray | None = None
) -> RankedLists:
    """Rank the catalogue for every row and keep the first ``n`` items of each list, ties broken against the targets as the evaluator does.

    With ``seen_targets="rank"`` a target that the user has seen stays a candidate for the evaluator, but no list that a user is shown would
    hold it: with seen items masked it keeps its rank and the others are put in order around it.

    Args:
        model: the retriever.
        evaluation_set: users, histories and targets.
        protocol: masking and candidates.
        n: length of the lists.
        held_out: inner ids that training never saw, for ``candidates="held_out"``.

    Raises:
        DataError: there are no users, or no held-out items where they are the candidates.
    """
    expect(evaluation_set, EvaluationSet, "the evaluation set")
    started = time.perf_counter()
    n = check_k(n)
    histories, targets = evaluation_set.histories, evaluation_set.targets
    mask = _candidate_mask(model, protocol, held_out)
    kept = first_occurrences(targets) & mask[targets.values]
    if protocol.mask_seen and protocol.seen_targets == "drop":
        kept &= unseen_targets(targets, histories)
    ranks = UNLISTED + np.arange(len(targets.values))
    parts: list[tuple[IntArray, IntArray, FloatArray]] = []
    usable, place, start = targets.where(kept), np.flatnonzero(kept), 0
    for batch in model.score_all(histories):
        stop = start + len(batch)
        wanted, past = usable.slice(start, stop), histories.slice(start, stop)
        seen = past if protocol.mask_seen else None
        found = rank_targets(batch, wanted, seen=seen, candidates=mask, users=evaluation_set.users[start:stop], first_row=start)
        beyond = unlisted(found, batch[wanted.rows, wanted.values] == -np.inf)
        ranks[place[usable.offsets[start] : usable.offsets[stop]]] = beyond
        parts.append(_head(batch, wanted, found, n, mask, past, protocol.mask_seen))
        start = stop
    if not parts:
        raise DataError("there are no users to rank the catalogue for")
    lengths = np.concatenate([(part[0] > 0).sum(axis=1) for part in parts])
    items, places, scores = (np.concatenate([part[column][part[0] > 0] for part in parts]) for column in range(3))
    return RankedLists(
        targets,
        Ragged(ranks, targets.offsets),
        Ragged.from_lengths(items.astype(np.int64), lengths),
        Ragged.from_lengths(places.astype(np.int64), lengths),
        scores.astype(np.float32),
        time.perf_counter() - started,
    )


def _candidate_mask(model: Recommender, protocol: Protocol, held_out: IntArray | None) -> BoolArray:
    mask = np.arange(len(model.catalog) + 1) > 0
    if protocol.candidates == "all":
        return mask
    if held_out is None or not len(held_out):
        raise DataError("candidates='held_out' needs a split with held-out items (cold_items); this one has none")
    return mask & (np.bincount(held_out, minlength=len(mask)) > 0)


def _head(
    scores: FloatArray, targets: Ragged, ranks: IntArray, n: int, mask: BoolArray, past: Ragged, mask_seen: bool
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return items, ranks and scores of the first ``n`` places, ``[b, n]`` each; item 0 where a place is empty or fixed."""
    others = np.where(mask, scores, -np.inf).astype(np.float32)
    others[targets.rows, targets.values] = -np.inf
    best = top_k(others, n, seen=past if mask_seen else None)[0]
    within = (ranks <= n) & np.isfinite(scores[targets.rows, targets.values])
    rows, columns = targets.rows[within], ranks[within] - 1
    taken = np.zeros(best.shape, bool)
    taken[rows, columns] = True
    # Place j that no target holds takes the next of the others: as many of them have gone before as places were free.
    items = np.take_along_axis(best, np.maximum(np.cumsum(~taken, axis=1) - 1, 0), axis=1)
    movable = ~np.isin(pair_keys(targets, len(mask)), pair_keys(past, len(mask))) if mask_seen else np.ones(len(ranks), bool)
    items[rows, columns] = np.where(movable[within], targets.values[within], 0)
    places = np.broadcast_to(np.arange(1, n + 1), items.shape)
    return items, places, np.take_along_axis(scores, items, axis=1)


def evaluate_reranked(
    model: Recommender,
    reranker: Reranker,
    evaluation_set: EvaluationSet,
    protocol: Protocol,
    item_counts: IntArray,
    *,
    candidates: int = 50,
    weight: float = 0.0,
    held_out: IntArray | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> tuple[Report, Report]:
    """Measure a retriever alone and with its first ``candidates`` items reranked; both figures are of the whole catalogue.

    Args:
        model: the retriever.
        reranker: over the same catalogue.
        evaluation_set: users, histories and targets.
        protocol: how to measure.
        item_counts: ``[n_items + 1]`` training interactions, for the slices.
        candidates: length of the lists that are reranked.
        weight: the retriever's share of the score, see `bertrec.rerank.two_stage.fused_scores`.
        held_out: inner ids that training never saw.
        manifest: of the split; stands in the reports' protocol.

    Returns:
        ``(retriever, reranked)``; ``protocol["rerank"]`` of the second says how many targets were within the lists. Their `per_user` values
        are ready for `paired_comparison`.
    """
    check_catalogs(model, reranker)
    lists = ranked_lists(model, evaluation_set, protocol, candidates, held_out=held_out)
    started = time.perf_counter()
    own = reranker_scores(reranker, evaluation_set.histories, lists.items, lists.scores)
    ranks = lists.reranked(fuse(own, lists.scores, lists.items, _share(weight)))
    info: dict[str, Any] = {"model": {"class": model.name, "hash": model.model_hash}}
    if manifest is not None:
        info["split"] = dict(manifest)
    about: dict[str, Any] = {
        "candidates": candidates,
        "weight": weight,
        "targets_within": lists.targets_within,
        "targets": len(lists.targets.values),
    }
    about |= {"reranker": str(getattr(reranker, "name", type(reranker).__name__)), "hash": getattr(reranker, "model_hash", None)}
    if isinstance(reranker, Ranker):  # and no stand-in
        about |= reranker.about()  # a head that bertrec trained among them
    seconds = lists.seconds + time.perf_counter() - started
    return (
        evaluate_ranks(lists.ranks, evaluation_set, protocol, item_counts, held_out=held_out, info=info, seconds=lists.seconds),
        evaluate_ranks(ranks, evaluation_set, protocol, item_counts, held_out=held_out, info=info | {"rerank": about}, seconds=seconds),
    )


def choose_weight(
    model: Recommender,
    reranker: Reranker,
    validation: EvaluationSet,
    protocol: Protocol,
    item_counts: IntArray,
    *,
    candidates: int = 50,
    metric: str = "NDCG@10",
    grid: Sequence[float] = WEIGHTS,
) -> tuple[float, dict[float, float]]:
    """Choose the retriever's share on validation users: the best of ``grid`` by ``metric``, of equals the largest (the least change).

    Returns:
        ``(weight, {weight: figure})``; weight 1 is the retriever alone.

    Raises:
        ConfigError: an empty grid, a weight outside 0 to 1, or an unknown metric.
    """
    if not len(grid):
        raise ConfigError("the grid of weights is empty")
    check_catalogs(model, reranker)
    rules = protocol.model_copy(update={"bootstrap": 0})
    lists = ranked_lists(model, validation, rules, candidates)
    own = reranker_scores(reranker, validation.histories, lists.items, lists.scores)
    figures = {}
    for weight in grid:
        ranks = lists.reranked(fuse(own, lists.scores, lists.items, _share(weight)))
        figures[float(weight)] = evaluate_ranks(ranks, validation, rules, item_counts).mean(metric)
    return max(figures, key=lambda weight: (figures[weight], weight)), figures


def check_catalogs(model: Recommender, reranker: Reranker) -> None:
    """See that retriever and reranker number the same items.

    Raises:
        DataError: they were made over different catalogues.
    """
    expect(model, Recommender, "the retriever", error=ModelError)
    own = getattr(reranker, "catalog", None)
    if own is not None and own.content_hash != model.catalog.content_hash:
        raise DataError(
            f"the reranker was made over other items ({len(own)}) than the retriever ({len(model.catalog)}): train it on that run; "
            "where its catalogue was updated since it was trained, give  bertrec update RUN --train  before"
        )


def _share(weight: float) -> float:
    if not 0.0 <= weight <= 1.0:
        raise ConfigError(f"the retriever's weight is {weight}: it lies between 0 (the reranker alone) and 1 (the retriever alone)")
    return weight

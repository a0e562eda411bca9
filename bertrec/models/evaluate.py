"""Measure a recommender: its vectors into the evaluator, with what identifies both beside the figures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import numpy as np

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.processes import gathered, own_share, world
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.load import Dataset
from bertrec.data.splits import EvaluationSet, Split
from bertrec.evaluation.by_vectors import ListMaker, UserBatch, evaluate_vectors
from bertrec.evaluation.evaluate import evaluate_ranks
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.ranks import BoolArray, ranks_in_lists
from bertrec.evaluation.report import Report
from bertrec.models.base import Recommender
from bertrec.models.best_items import BestItems, listable
from bertrec.models.fallback import beside, cold_rows, users_beside
from bertrec.models.serving import FloatArray
from bertrec.models.trained_on import held_out_part
from bertrec.retrieval.index import ItemIndex


def evaluate(
    model: Recommender,
    evaluation_set: EvaluationSet | Split | Dataset,
    *,
    protocol: Protocol | None = None,
    item_counts: IntArray | None = None,
    held_out: IntArray | None = None,
    manifest: Mapping[str, Any] | None = None,
    lists: bool = True,
    index: ItemIndex | None = None,
    part: str = "test",
) -> Report:
    """Rank the catalogue for every user of ``evaluation_set``.

    A `Dataset` is split again as the model's `fit` split it, and a `Split` has to be the one that the model was trained on: users are
    never measured on what the model has learned of them. What is not known to be so is refused; `EvaluationSet` is the caller's word.

    What is counted is what `Recommender.recommend` serves with ``exclude_seen=protocol.mask_seen``: a user of whose history the model reads
    nothing is ranked by popularity, and an item without a score, or withdrawn, is in no list.

    Args:
        model: fitted, over the catalogue that the evaluation set's inner ids belong to.
        evaluation_set: users, histories and targets; or a data set or split, of which the next three are taken.
        protocol: how to measure; None takes the defaults (seen items masked).
        item_counts: ``[n_items + 1]`` training interactions, for the slices.
        held_out: inner ids that training never saw.
        manifest: of the split; stands in the report's protocol.
        lists: also coverage, novelty and Gini of the recommended lists.
        index: count the lists that this index serves, as long as the largest cut-off, instead of scoring the whole catalogue.
        part: which users of a data set or split: ``test`` or ``valid``.

    Raises:
        DataError: a data set or split that the model was not trained on, or of which that is not known; the text says what to give.
        ConfigError: an index together with ``candidates="held_out"``, which an index knows nothing of.
        IndexFileError: the index was built from another model.
    """
    call = "bertrec.evaluate"
    expect(model, Recommender, f"{call}: model", error=ModelError)
    if isinstance(evaluation_set, Dataset | Split):
        if not (item_counts is None and held_out is None and manifest is None):
            raise DataError(f"{call}: item_counts, held_out and manifest are those of the split: leave them out")
        split, evaluation_set = held_out_part(model.trained_on, evaluation_set, part)
        item_counts, held_out, manifest = split.train.item_counts, split.held_out if len(split.held_out) else None, split.manifest
    if item_counts is None:
        raise DataError(f"{call}: item_counts must be given with an EvaluationSet, as in item_counts=split.train.item_counts")
    expect(evaluation_set, EvaluationSet, f"{call}: evaluation_set")
    expect(protocol, Protocol, f"{call}: protocol", optional=True, error=ConfigError)
    expect(manifest, Mapping, f"{call}: manifest", optional=True)
    info: dict[str, Any] = {"model": {"class": model.name, "hash": model.model_hash}} if lists else {}
    if manifest is not None:
        info["split"] = dict(manifest)
    rules = protocol or Protocol()
    if index is not None:
        return _through_index(model, index, evaluation_set, rules, item_counts, held_out, info)
    batches, vectors = _served(model, evaluation_set.histories)
    return evaluate_vectors(
        batches,
        vectors,
        evaluation_set,
        rules,
        item_counts,
        held_out=held_out,
        lists=_list_maker(BestItems(vectors)) if lists else None,
        info=info,
    )


def validation_figures(model: Recommender, validation: EvaluationSet, protocol: Protocol, item_counts: IntArray) -> dict[str, float]:
    """Return the mean of each figure over the validation users; several processes that train together measure a share of them each.

    Args:
        model: as for `evaluate`.
        validation: the users, the same in each process.
        protocol: how to measure.
        item_counts: ``[n_items + 1]`` training interactions.
    """
    several = world() > 1
    own = validation.take(own_share(len(validation))) if several and len(validation) >= world() else validation
    found = evaluate(model, own, protocol=protocol, item_counts=item_counts, lists=False).slices["all"]
    if not several:
        return {name: value.mean for name, value in found.metrics.items()}
    parts = gathered(found.values)
    return {name: float(np.concatenate([part[name] for part in parts if name in part]).mean()) for name in found.metrics}


def _served(model: Recommender, histories: Ragged) -> tuple[Iterator[UserBatch], FloatArray]:
    """Return batches of user vectors, and item vectors; users of whom nothing is read look at the popularity, as they are served."""
    batches, vectors = model.user_batches(histories), listable(model.item_embeddings(), model.catalog)
    if model.knows_all(histories):
        return batches, vectors
    first = list(islice(batches, 2))
    if len(first) < 2 and not any(cold_rows(users).any() for users, _ in first):  # of one batch we know that nobody is
        return iter(first), vectors
    return ((users_beside(users), lifts) for users, lifts in chain(first, batches)), beside(vectors, model.popularity)


def _through_index(
    model: Recommender,
    index: ItemIndex,
    data: EvaluationSet,
    rules: Protocol,
    item_counts: IntArray,
    held_out: IntArray | None,
    info: dict[str, Any],
) -> Report:
    """Measure the lists that an index serves; a target outside its user's list is in no list, whatever its score."""
    if rules.candidates != "all":
        raise ConfigError("an index serves all of its items: with --index, leave candidates at all")
    started, k = time.perf_counter(), max(rules.ks)
    found = model.serve(index).recommend(data.histories, k, exclude_seen=rules.mask_seen)
    items, scores = np.zeros((len(data), k), np.int64), np.full((len(data), k), -np.inf, np.float32)
    for row, (ids, values) in enumerate(zip(found.items, found.scores, strict=True)):
        items[row, : len(ids)], scores[row, : len(ids)] = model.catalog.ids.encode(ids), values
    ranks = Ragged(ranks_in_lists(items, scores, data.targets), data.targets.offsets)
    about = {"index": {"kind": index.kind, "items": len(index), "recall": index.recall}}
    seconds = time.perf_counter() - started
    more: dict[str, Any] = {"held_out": held_out, "top_k_lists": items, "info": info | about, "seconds": seconds}
    return evaluate_ranks(ranks, data, rules, item_counts, **more)


def _list_maker(best: BestItems) -> ListMaker:
    def lists(batch: UserBatch, k: int, seen: Ragged | None, candidates: BoolArray | None) -> IntArray:
        users, lifts = batch
        return best.search(users, k, seen=seen, lifts=lifts, candidates=candidates)[0]

    return lists

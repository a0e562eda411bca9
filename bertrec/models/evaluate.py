"""Measure a recommender: its vectors into the evaluator, with what identifies both beside the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.by_vectors import ListMaker, UserBatch, evaluate_vectors
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.ranks import BoolArray
from bertrec.evaluation.report import Report
from bertrec.models.base import Recommender
from bertrec.models.serving import BestItems


def evaluate(
    model: Recommender,
    evaluation_set: EvaluationSet,
    *,
    protocol: Protocol | None = None,
    item_counts: IntArray,
    held_out: IntArray | None = None,
    manifest: Mapping[str, Any] | None = None,
    lists: bool = True,
) -> Report:
    """Rank the catalogue for every user of ``evaluation_set``.

    Args:
        model: fitted, over the catalogue that the evaluation set's inner ids belong to.
        evaluation_set: users, histories and targets.
        protocol: how to measure; None takes the defaults (seen items masked).
        item_counts: ``[n_items + 1]`` training interactions, for the slices.
        held_out: inner ids that training never saw.
        manifest: of the split; stands in the report's protocol.
        lists: also coverage, novelty and Gini of the recommended lists.
    """
    call = "bertrec.evaluate"
    expect(model, Recommender, f"{call}: model", error=ModelError)
    expect(evaluation_set, EvaluationSet, f"{call}: evaluation_set")
    expect(protocol, Protocol, f"{call}: protocol", optional=True, error=ConfigError)
    expect(manifest, Mapping, f"{call}: manifest", optional=True)
    info: dict[str, Any] = {"model": {"class": model.name, "hash": model.model_hash}} if lists else {}
    if manifest is not None:
        info["split"] = dict(manifest)
    vectors = model.item_embeddings()
    return evaluate_vectors(
        model.user_batches(evaluation_set.histories),
        vectors,
        evaluation_set,
        protocol or Protocol(),
        item_counts,
        repeat_bias=model.repeat_bias,
        held_out=held_out,
        lists=_list_maker(BestItems(vectors, model.repeat_bias)) if lists else None,
        info=info,
    )


def _list_maker(best: BestItems) -> ListMaker:
    def lists(batch: UserBatch, k: int, seen: Ragged | None, candidates: BoolArray | None) -> IntArray:
        users, read = batch
        return best.search(users, k, seen=seen, read=read, candidates=candidates)[0]

    return lists

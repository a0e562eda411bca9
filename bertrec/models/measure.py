"""Measure a recommender: its scores into the evaluator, with what identifies both beside the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bertrec.core.ragged import IntArray
from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.evaluate import evaluate_scores
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.report import Report
from bertrec.models.base import Recommender


def measure(
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
    info: dict[str, Any] = {"model": {"class": model.name, "hash": model.model_hash}} if lists else {}
    if manifest is not None:
        info["split"] = dict(manifest)
    return evaluate_scores(
        model.score_all(evaluation_set.histories),
        evaluation_set,
        protocol or Protocol(),
        item_counts,
        held_out=held_out,
        top_k_lists=lists,
        info=info,
    )

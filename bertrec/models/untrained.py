"""What texts alone reach without training: the figures that a model has to beat among new items."""

from __future__ import annotations

from typing import Any

import numpy as np

from bertrec.data.splits import EvaluationSet, Split
from bertrec.encoders.config import EncoderConfig
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.report import Report
from bertrec.evaluation.significance import PairedResult, paired_comparison
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.item_vectors import ReadsItems
from bertrec.models.registry import create

UNTRAINED = ("text-similarity", "max-similarity")
SLICE = "cold_items"
_MANY_NEW = 0.05


def has_new_items(part: EvaluationSet, split: Split) -> bool:
    """Say whether a split is about new items: some were held out, or more than one target in twenty is new."""
    new = split.train.item_counts[part.targets.values] == 0
    return bool(len(split.held_out) and new.any()) or bool(len(new) and new.mean() > _MANY_NEW)


def untrained_reports(model: Recommender, split: Split, part: EvaluationSet, rules: Protocol) -> dict[str, Report]:
    """Measure `UNTRAINED` with the encoder of a model on the same users; empty where the model reads no text.

    Args:
        model: fitted; a tuned encoder is taken as it was before.
        split: the data.
        part: the users.
        rules: how to measure.
    """
    config = getattr(model.config, "encoder", None)
    if not model.reads_text or not isinstance(config, EncoderConfig):
        return {}
    settings = {f"encoder.{name}": value for name, value in config.updated({"tune": "frozen"}).to_flat().items()}
    how: dict[str, Any] = {"protocol": rules, "item_counts": split.train.item_counts, "lists": False}
    how["held_out"] = split.held_out if len(split.held_out) else None
    names = [name for name in UNTRAINED if name != model.name]
    untrained = {name: create(name, settings=settings) for name in names}
    if isinstance(model, ReadsItems) and model.takes_vectors:  # whose file need not be there any more
        for one in untrained.values():
            one.add_vectors(model.known_vectors())
    return {name: evaluate(one.fit(split.train, progress=False), part, **how) for name, one in untrained.items()}


def against_best(report: Report, untrained: dict[str, Report], *, name: str, metric: str = "NDCG@10") -> PairedResult | None:
    """Compare a model with the better of the untrained ones, on users whose next item is new; None where there are none."""
    known = {other: one for other, one in untrained.items() if metric in one.slices[SLICE].values}
    if not known or metric not in report.slices[SLICE].values:
        return None
    best = max(known, key=lambda other: known[other].mean(metric, SLICE))
    own, theirs = report.per_user(metric, SLICE), known[best].per_user(metric, SLICE)
    assert np.array_equal(report.slices[SLICE].rows, known[best].slices[SLICE].rows)
    return paired_comparison(own, theirs, names=(name, best))

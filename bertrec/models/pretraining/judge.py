"""How good a model is while it is pre-trained: validation users of each data set, within the items of their own."""

from __future__ import annotations

import numpy as np

from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.by_vectors import evaluate_vectors
from bertrec.evaluation.protocol import Protocol
from bertrec.models.pretraining.domains import Domain, Domains
from bertrec.models.sequential.neural import NeuralRecommender

METRIC = "NDCG@10"
_RULES = Protocol(ks=(10,), bootstrap=0)


class Judge:
    """Measures a model over the joined table, seen items masked.

    Args:
        model: as it is trained.
        domains: the data sets.
        users: of each data set, in its own inner ids; a data set without any is not measured.
    """

    def __init__(self, model: NeuralRecommender, domains: Domains, users: list[EvaluationSet]) -> None:
        self.model = model
        self.parts = [(part, some) for part, some in zip(domains.parts, users, strict=True) if len(some)]

    def __call__(self) -> dict[str, float]:
        """Return the mean over data sets under `METRIC`, and each under ``METRIC NAME``."""
        self.model.weights_changed()
        items = self.model.item_embeddings()
        figures = {f"{METRIC} {part.name}": self._figure(part, users, items) for part, users in self.parts}
        return {METRIC: float(np.mean(list(figures.values()))), **figures}

    def _figure(self, part: Domain, users: EvaluationSet, items: np.ndarray) -> float:
        vectors = self.model.user_vectors(part.moved(users.histories))
        own = np.concatenate([items[:1], items[part.rows]])
        return evaluate_vectors([(vectors, None)], own, users, _RULES, part.split.train.item_counts).mean(METRIC)

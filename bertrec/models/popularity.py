"""Popularity: every user is shown what was interacted with most. The yardstick that says how much personalisation is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import torch

from bertrec.core.config import Config
from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, Split
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.trained_on import Training


class PopularityConfig(Config):
    """There is nothing to set."""


class Popularity(Recommender):
    """An item's score is its number of training interactions, or the sum of their weights; an item without any is unknown."""

    name: ClassVar[str] = "popularity"
    config_class: ClassVar[type[Config]] = PopularityConfig
    _counts: torch.Tensor | None = None

    def fit(self, train: Training, *, validation: EvaluationSet | None = None, **options: Any) -> Self:
        """Count the interactions of each item, by weight where there are weights; ``validation`` and the options have no use here.

        Raises:
            DataError: a weight is below 0.
        """
        train, validation = self.check_data(train, validation)
        self.check_fit_options(options)
        self.check_start(resume=False, init=options.get("init") is not None)
        self.catalog = train.catalog
        self.keep_popularity(train)
        self._counts = torch.from_numpy(_counted(train).astype(np.float32))
        return self

    @property
    def counts(self) -> torch.Tensor:
        """Training interactions by inner id, ``[n_items + 1]`` float32."""
        self.catalog  # noqa: B018  # says that the model is not fitted, where that is so
        assert self._counts is not None
        return self._counts

    def item_embeddings(self) -> FloatArray:
        """Return ``[n_items + 1, 1]``; NaN for items never interacted with."""
        vectors = self.counts.numpy()[:, None].copy()
        vectors[vectors[:, 0] == 0] = np.nan
        vectors[0] = 0
        return vectors

    def user_vectors(self, histories: Ragged) -> FloatArray:
        """Return ``[n, 1]`` ones: all users are alike."""
        return np.ones((len(histories), 1), np.float32)

    @property
    def absorbed(self) -> str:
        """Nothing: it counts."""
        return ""

    def recount(self, split: Split) -> None:
        """Count anew."""
        super().recount(split)
        self._counts = torch.from_numpy(_counted(split.train).astype(np.float32))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the counts."""
        return {"counts": self.counts}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take the counts."""
        self._counts = state["counts"]


def _counted(train: Interactions) -> np.ndarray:
    if train.weight is None:
        return train.item_counts
    if len(train) and train.weight.min() < 0:
        raise DataError(f"a weight is {train.weight.min():g}: popularity counts by weight, and weights are 0 or more")
    return np.bincount(train.sequences.values, weights=train.weight, minlength=len(train.catalog) + 1)

"""Popularity: every user is shown what was interacted with most. The yardstick that says how much personalisation is worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from bertrec.core.checks import expect
from bertrec.core.config import Config
from bertrec.core.errors import ConfigError
from bertrec.core.files import atomic_folder
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.saving import WEIGHTS, hash_tensors, save_tensors


class PopularityConfig(Config):
    """There is nothing to set."""


class Popularity(Recommender):
    """An item's score is its number of training interactions; an item without any is unknown."""

    name: ClassVar[str] = "popularity"

    def __init__(self, config: PopularityConfig | None = None) -> None:
        expect(config, PopularityConfig, "Popularity: config", optional=True, error=ConfigError)
        self.config: PopularityConfig = config if config is not None else PopularityConfig()
        self._counts: torch.Tensor | None = None

    def fit(self, train: Interactions, *, validation: EvaluationSet | None = None, **options: Any) -> Self:
        """Count the interactions of each item; ``validation`` and ``run_dir`` are not used."""
        self._check_fit(train, validation)
        self._check_untrained(options)
        self._catalog = train.catalog
        self._counts = torch.from_numpy(train.item_counts.astype(np.float32))
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

    def _user_vectors(self, histories: Ragged) -> FloatArray:
        return np.ones((len(histories), 1), np.float32)

    @property
    def model_hash(self) -> str:
        """SHA-256 over the counts."""
        return hash_tensors({"counts": self.counts})

    def save_pretrained(self, folder: str | Path) -> None:
        """Write catalogue and counts."""
        with atomic_folder(folder, marker=WEIGHTS) as partial:
            save_tensors(partial, name=self.name, config=self.config.to_dict(), catalog=self.catalog, tensors={"counts": self.counts})

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], catalog: ItemCatalog, tensors: Mapping[str, torch.Tensor]) -> Self:
        """Rebuild from what was saved."""
        model = cls(PopularityConfig.from_dict(config))
        model._catalog, model._counts = catalog, tensors["counts"]
        return model

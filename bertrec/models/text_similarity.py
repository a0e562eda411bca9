"""TextSimilarity: the mean of the history's text vectors against each item's text vector. Nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError
from bertrec.core.files import atomic_folder
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.encoders.cache import EmbeddingCache
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_encoder
from bertrec.encoders.whitening import Whitening
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.saving import WEIGHTS, hash_tensors, save_tensors


class TextSimilarityConfig(Config):
    """Settings: the encoder, a fixed whitening, and how many of the newest items are averaged."""

    encoder: EncoderConfig = EncoderConfig()
    whitening: Literal["none", "pca", "zca"] = "none"
    max_history: int = Field(50, ge=1)


class TextSimilarity(Recommender):
    """Inner product of the mean of the history's unit text vectors with the item's unit text vector: the mean of the cosines.

    Args:
        config: all settings; None takes the defaults.
    """

    name: ClassVar[str] = "text-similarity"

    def __init__(self, config: TextSimilarityConfig | None = None) -> None:
        self.config: TextSimilarityConfig = config if config is not None else TextSimilarityConfig()
        if self.config.encoder.tune != "frozen":
            raise ConfigError("text-similarity trains nothing: leave out --tune, or take --model morec")
        self._vectors: torch.Tensor | None = None

    def fit(self, train: Interactions, *, validation: EvaluationSet | None = None, progress: bool = True, **options: Any) -> Self:
        """Encode the catalogue of ``train``; ``validation`` and ``run_dir`` are not used."""
        self._check_untrained(options)
        return self.over(train.catalog, progress=progress)

    def over(self, catalog: ItemCatalog, *, progress: bool = True) -> Self:
        """Encode a catalogue: no interactions are needed."""
        encoder = make_encoder(self.config.encoder)
        vectors = encoder.encode(catalog.texts, cache=EmbeddingCache(), progress=progress)
        if self.config.whitening != "none":
            vectors = Whitening.fit(vectors, method=self.config.whitening).transform(vectors)
        self._catalog = catalog
        self._vectors = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=1)
        return self

    def with_catalog(self, catalog: ItemCatalog) -> Self:
        """Return the same model over other items."""
        return type(self)(self.config).over(catalog, progress=False)

    @property
    def vectors(self) -> torch.Tensor:
        """Unit text vectors, ``[n_items, dim]``."""
        self.catalog  # noqa: B018  # says that the model is not fitted, where that is so
        assert self._vectors is not None
        return self._vectors

    def item_embeddings(self) -> FloatArray:
        """Return ``[n_items + 1, dim]`` unit vectors, row 0 zero."""
        return np.concatenate([np.zeros((1, self.vectors.shape[1]), np.float32), self.vectors.numpy()])

    def _user_vectors(self, histories: Ragged) -> FloatArray:
        read = histories.last(self.config.max_history)
        items = self.item_embeddings()
        sums = np.zeros((len(read), items.shape[1]), np.float32)
        np.add.at(sums, read.rows, items[read.values])
        counts = np.maximum(read.lengths, 1).astype(np.float32)
        return np.asarray(sums / counts[:, None], dtype=np.float32)

    @property
    def model_hash(self) -> str:
        """SHA-256 over the vectors."""
        return hash_tensors({"vectors": self.vectors})

    def save_pretrained(self, folder: str | Path) -> None:
        """Write settings, catalogue and vectors."""
        with atomic_folder(folder, marker=WEIGHTS) as partial:
            save_tensors(partial, name=self.name, config=self.config.to_dict(), catalog=self.catalog, tensors={"vectors": self.vectors})

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], catalog: ItemCatalog, tensors: Mapping[str, torch.Tensor]) -> Self:
        """Rebuild from what was saved."""
        model = cls(TextSimilarityConfig.from_dict(config))
        model._catalog, model._vectors = catalog, tensors["vectors"]
        return model

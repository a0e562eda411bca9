"""Biases, the candidate's text, and how that text meets the texts that the user liked: one ridge regression.

The rating of a new item is predicted from its text, that of a new user from the liked items.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.impressions import Impressions
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_encoder
from bertrec.encoders.whitening import Whitening
from bertrec.rankers.ratings.base import Float64Array, RatingRanker
from bertrec.rankers.ratings.bias import BiasConfig
from bertrec.rankers.ratings.given import GivenRatings
from bertrec.rankers.ratings.ridge import fit_ridge, one_hot

FloatArray = npt.NDArray[np.float32]


class BiasTextConfig(BiasConfig):
    """Settings."""

    encoder: EncoderConfig = Field(EncoderConfig(max_length=64), description="The encoder that reads the items; it stays frozen.")
    dim: int = Field(64, ge=1, le=4096, description="Principal components of the text vectors that are read; no more than there are.")
    text_penalty: float = Field(100.0, gt=0, description="On the squared weights of components and of their products with the user's.")
    max_history: int = Field(50, ge=1, le=100_000, description="Newest liked items whose texts are averaged.")


class BiasText(RatingRanker):
    """Predicts ratings by biases, the item's text, and its products with the mean text of what the user liked.

    Args:
        config: all settings; None takes the defaults.

    Raises:
        ConfigError: the encoder is to be tuned.
    """

    name: ClassVar[str] = "bias-text"
    config_class: ClassVar[type[Config]] = BiasTextConfig
    config: BiasTextConfig

    def __init__(self, config: BiasTextConfig | None = None) -> None:
        super().__init__(config)
        if self.config.encoder.tune != "frozen":
            raise ConfigError("bias-text trains no encoder: leave encoder.tune at frozen")

    def _learned(self, given: GivenRatings, residual: Float64Array, impressions: Impressions) -> dict[str, npt.NDArray[Any]]:
        catalog = impressions.catalog
        catalog.require_text(self.name)
        vectors = make_encoder(self.config.encoder).encode_items(catalog)
        whitened = Whitening.fit(vectors, dim=min(self.config.dim, vectors.shape[1], len(vectors))).transform(vectors)
        texts = np.concatenate([np.zeros_like(whitened[:1]), whitened / np.sqrt(np.float32(whitened.shape[1]))])
        users, items = one_hot(given.user - 1, len(given.users)), one_hot(given.item - 1, len(catalog))
        marks = [(users, self.config.user_penalty), (items, self.config.item_penalty)]
        read = self._features(texts, impressions.histories, given.row, given.item)
        found = fit_ridge(marks, read, self.config.text_penalty, residual)
        user, item = found.biases
        self.notes += found.notes
        return {"user": np.append(0.0, user), "item": np.append(0.0, item), "weight": found.weight, "texts": texts}

    def _features(self, texts: FloatArray, histories: Ragged, rows: IntArray, items: IntArray) -> FloatArray:
        """Return what is read of each pair, ``[n, 2 dim]``: the item's text, its products with the history's mean."""
        read = histories.last(self.config.max_history)
        sums = np.zeros((len(read), texts.shape[1]), np.float32)
        np.add.at(sums, read.rows, texts[read.values])
        means = sums / np.maximum(read.lengths, 1)[:, None].astype(np.float32)
        own, width = texts[items], np.sqrt(np.float32(texts.shape[1]))
        return np.concatenate([own, means[rows] * own * width], axis=1)

    def _beside_biases(self, users: IntArray, histories: Ragged, rows: IntArray, items: IntArray) -> Float64Array:
        return self._features(self.part("texts"), histories, rows, items) @ self.part("weight")

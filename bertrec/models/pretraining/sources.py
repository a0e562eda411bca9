"""Where item vectors come from while a model is pre-trained, and what an item is that says less."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bertrec.models.pretraining.config import PretrainingConfig
from bertrec.models.sequential.network import Network
from bertrec.models.sequential.neural import NeuralRecommender
from bertrec.models.texts import same_encoder


class ItemSource(nn.Module, ABC):
    """Item vectors of the joined table; ``pretrain.items`` names a class derived from it.

    Args:
        model: over the joined catalogue, its network built.
        config: all settings.

    Attributes:
        model_name: the retriever that is built, trained and saved.
        config_class: of the settings: those of that retriever, and ``pretrain.*``.
    """

    model_name: ClassVar[str] = "unisrec"
    config_class: ClassVar[type[PretrainingConfig]] = PretrainingConfig

    def __init__(self, model: NeuralRecommender, config: PretrainingConfig) -> None:
        super().__init__()
        self.network: Network = model.network
        self.settings = config

    def vectors(self, rows: Tensor | None) -> Tensor:
        """Return unscaled vectors, ``[m, width]`` of the inner ids ``rows [m]``, each once, or of all items from 0 on."""
        return self.network.item_vectors(rows)

    @abstractmethod
    def prepare(self, model: NeuralRecommender, *, progress: bool) -> None:
        """Make, once, what `altered` needs; called where a task asks for it."""

    @abstractmethod
    def altered(self, rows: Tensor) -> Tensor:
        """Return vectors ``[m, width]`` of the same items, changed: as their text says less, or their codes are others."""


class TextItems(ItemSource):
    """Whitened text vectors through the adaptor; an altered item is its text without some words, read by the same encoder."""

    thinned: Tensor

    def prepare(self, model: NeuralRecommender, *, progress: bool) -> None:
        """Read the thinned texts, by way of the cache."""
        texts = thinned_texts(model.catalog.texts, self.settings.pretrain.words)
        encoder = same_encoder(model.config.encoder, model.encoder_fingerprint)
        raw = torch.from_numpy(encoder.encode_kept(texts, progress=progress))
        text = self.network.text
        assert text is not None  # the settings have seen to it
        with torch.no_grad():
            read = text.whitened(raw)
        self.register_buffer("thinned", torch.cat([read.new_zeros(1, read.shape[1]), read]), persistent=False)

    def altered(self, rows: Tensor) -> Tensor:
        """Return the vectors of the thinned texts of the inner ids ``rows [m]``, ``[m, width]``."""
        vectors: Tensor = self.network.tower(self.thinned[rows], rows)
        return vectors


def thinned_texts(texts: Sequence[str], share: float) -> list[str]:
    """Return the texts with each word left out by chance, at least one of a text kept.

    What is left out is drawn by the text itself, so that the same text is thinned alike in every run and read once.

    Args:
        texts: of items.
        share: probability of a word to be left out.
    """
    return [_thinned(text, share) for text in texts]


def _thinned(text: str, share: float) -> str:
    words = text.split()
    if len(words) < 2 or not share:
        return text
    seed = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little")
    drawn = np.random.default_rng(seed).random(len(words))
    kept = drawn >= share
    kept[drawn.argmax()] = True
    return " ".join(word for word, keep in zip(words, kept, strict=True) if keep)

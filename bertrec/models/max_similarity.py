"""MaxSimilarity: the nearest text of the history against each item's text. Nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
import torch
from pydantic import Field

from bertrec.core.config import Config
from bertrec.core.lifts import Lifts
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.models.base import FloatArray
from bertrec.models.text_similarity import TextSimilarity, TextSimilarityConfig
from bertrec.retrieval.neighbours import Neighbours

_REST = 1e-3  # so little that it only orders what the nearest text leaves equal


class MaxSimilarityConfig(TextSimilarityConfig):
    """Settings: the encoder, a fixed whitening, and how many neighbours of each item of the history are looked at."""

    neighbours: int = Field(
        100,
        ge=1,
        le=100_000,
        description="Nearest texts that each item keeps; lists are exact where their length and the history fit into it.",
    )
    max_history: int = Field(50, ge=1, le=100_000, description="Newest items of a history whose neighbours are looked at.")


class MaxSimilarity(TextSimilarity):
    """The largest cosine of an item's text to any text of the history, plus a thousandth of the mean cosine for items that no list holds.

    Each item keeps its nearest texts. An item among the k largest cosines of a user is among the k nearest of one item of the history, so
    that short lists give the same top k as all cosines would.

    Args:
        config: all settings; None takes the defaults.
    """

    name: ClassVar[str] = "max-similarity"
    config_class: ClassVar[type[Config]] = MaxSimilarityConfig
    config: MaxSimilarityConfig
    _neighbours: Neighbours | None = None

    def _holding(self, catalog: ItemCatalog, vectors: FloatArray, *, progress: bool = False) -> Self:
        """Take a catalogue and the unit vectors of its texts, and find each item's nearest texts."""
        super()._holding(catalog, vectors)
        self._neighbours = Neighbours.of(vectors, self.config.neighbours, progress=progress, listed=catalog.listed[1:])
        return self

    def user_vectors(self, histories: Ragged) -> FloatArray:
        """Return a thousandth of the mean unit vector of the newest items, ``[n, dim]``; the rest of a score is a lift."""
        return np.asarray(super().user_vectors(histories) * np.float32(_REST))

    def scores_with_vectors(self, item: int, vectors: FloatArray, user: FloatArray, history: Ragged) -> FloatArray:
        """Return the scores ``[m]`` that an item would have with each of some vectors, its largest cosine to the history among them."""
        read = self.read_histories(history).values
        near = vectors @ self.item_embeddings()[read[read != item]].T
        return np.asarray(super().scores_with_vectors(item, vectors, user, history) + near.max(axis=1, initial=0.0))

    def profile_vectors(self, texts: Sequence[str]) -> FloatArray | None:
        """Return a thousandth of the profiles' unit vectors, ``[len(texts), dim]``: the order is that of the cosines."""
        vectors = super().profile_vectors(texts)
        return None if vectors is None else np.asarray(vectors * np.float32(_REST), np.float32)

    def read_histories(self, histories: Ragged) -> Ragged:
        """Return the newest items of each history."""
        return histories.last(self.config.max_history)

    @property
    def lifts_apart(self) -> str:
        """What vectors alone leave out of the score."""
        return "the largest cosine, which is nearly all of it"

    @property
    def users_at_once(self) -> int:
        """How many histories are scored at a time; fewer, since hundreds of items of each are lifted."""
        return 1 << 12

    def lifts(self, read: Ragged) -> Lifts:
        """Return for the neighbours of each history the largest cosine."""
        assert self._neighbours is not None
        return self._neighbours.lifts(read, decay=1.0, form="max")

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the unit vectors and the neighbours."""
        assert self._neighbours is not None
        return {**super().state_dict(), **self._neighbours.state_dict()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take the unit vectors and the neighbours."""
        super().load_state_dict(state)
        self._neighbours = Neighbours.from_state(state)

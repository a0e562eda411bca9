"""EASE over interactions and texts, and new items by their texts.

Jeunen, Van Balen and Goethals, RecSys 2020, "Closed-Form Models for Collaborative Filtering with Side-Information",
https://doi.org/10.1145/3383313.3418480 (Collective EASE); a new item's weights are a ridge regression of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field

from bertrec.core.checks import expect
from bertrec.core.config import Config
from bertrec.core.errors import ConfigError
from bertrec.core.lifts import Lifts
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.splits import EvaluationSet
from bertrec.encoders.base import Encoder
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.whitening import Whitening
from bertrec.models.base import FloatArray
from bertrec.models.ease import L2, solved
from bertrec.models.folder import SavedParts
from bertrec.models.item_vectors import ReadsItems
from bertrec.models.item_weights import (
    SIMILAR,
    HistoryConfig,
    at_once,
    check_memory,
    faded,
    known_items,
    largest_of,
    newest_once,
    taken,
)
from bertrec.models.texts import read_catalog, reread, same_encoder
from bertrec.models.trained_on import Training
from bertrec.retrieval.neighbours import Neighbours


class EaseTextConfig(HistoryConfig):
    """Settings: the encoder, the penalty, what texts weigh, and how new items are told from their texts."""

    encoder: EncoderConfig = Field(EncoderConfig(), description="The encoder that reads the items; it stays frozen.")
    l2: float = Field(6.0, gt=0, description=L2)
    text: float = Field(10.0, ge=0, description="What the cosine of two texts adds to the number of users whom two items share.")
    ridge: float = Field(1.0, gt=0, description="Penalty of the regression that tells a new item from its text.")
    nearness: float = Field(
        0.3, ge=0, le=10, description="What a trained item lends to a new one that has its text; 0 leaves what it lends to trained ones."
    )


class EaseText(ReadsItems):
    """EASE of the users' rows with a row for each direction of the items' texts beneath them.

    A new item is a mixture of trained ones: of their vectors as the ridge regression of its text on theirs says, in lists and in histories.

    Args:
        config: all settings; None takes the defaults.
    """

    name: ClassVar[str] = "ease-text"
    config_class: ClassVar[type[Config]] = EaseTextConfig
    item_inputs: ClassVar[tuple[str, ...]] = ("text+id",)
    config: EaseTextConfig
    encoder_fingerprint = ""
    _state: dict[str, torch.Tensor] | None = None
    _mixtures: FloatArray
    _vectors: FloatArray

    def __init__(self, config: EaseTextConfig | None = None) -> None:
        super().__init__(config)
        if self.config.encoder.tune != "frozen":
            raise ConfigError("ease-text reads a frozen encoder: leave out --tune, or take --model morec")

    def fit(self, train: Training, *, validation: EvaluationSet | None = None, progress: bool = True, **options: Any) -> Self:
        """Read the items and solve for the weights; ``validation`` and the other options have no use here.

        Raises:
            DataError: there is nothing to train on or to read, or the memory is too small for the catalogue.
        """
        train, validation = self.check_data(train, validation)
        self.check_fit_options(options)
        self.check_start(resume=False, init=options.get("init") is not None)
        known = known_items(train)
        check_memory(len(known), self.name)
        if not self.takes_vectors:
            train.catalog.require_text(self.name)
        encoder = self._first_encoder()
        fingerprint = encoder.fingerprint
        raw = read_catalog(encoder, train.catalog, progress=progress)
        whitening = Whitening.fit(raw, known - 1)
        texts = unit(whitening.transform(raw[known - 1]))
        table = taken(train)[:, known]
        weights = solved(table, l2=self.config.l2, texts=texts, text=self.config.text).astype(np.float32)
        weights[np.diag_indices_from(weights)] = self.config.nearness
        self.reset()
        self.encoder_fingerprint = fingerprint
        places = np.zeros(len(train.catalog) + 1, np.int64)
        places[known] = np.arange(1, len(known) + 1)
        state = {"columns": weights.T, "ridge": mixing(texts, self.config.ridge), "texts": raw, "places": places}
        white = {"mean": whitening.mean, "matrix": whitening.matrix}
        self._hold(train.catalog, {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()} | white)
        self.keep_popularity(train)
        return self

    def _hold(self, catalog: ItemCatalog, state: dict[str, torch.Tensor]) -> None:
        """Take a catalogue with what belongs to it, and derive the vectors."""
        self.catalog, self._state = catalog, state
        places, columns = state["places"].numpy(), state["columns"].numpy()
        self._mixtures = self._told_by(state["texts"].numpy()[np.flatnonzero(places[1:] == 0)])
        self._vectors = np.zeros((len(catalog) + 1, len(columns)), np.float32)
        self._vectors[places > 0] = columns[places[places > 0] - 1]
        self._vectors[self._new] = self._mixtures @ columns

    def _told_by(self, raw: FloatArray) -> FloatArray:
        """Return the mixtures of trained items that texts ask for, ``[n, m]``."""
        whitening = Whitening(*self.state["matrix"].shape)
        whitening.load_state_dict({name: self.state[name] for name in ("mean", "matrix")})
        return np.asarray(unit(whitening.transform(raw)) @ self.state["ridge"].numpy().T, np.float32)

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self._state = None

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """What was solved, the texts' vectors, and where each item of the catalogue stands among the trained ones, from 1; 0: new."""
        self.catalog  # noqa: B018  # says that the model is not fitted, where that is so
        assert self._state is not None
        return self._state

    @property
    def _new(self) -> IntArray:
        """The inner ids of the items that training did not hold."""
        return np.flatnonzero(self.state["places"].numpy()[1:] == 0) + 1

    @property
    def reads_text(self) -> bool:
        """Always."""
        return True

    @property
    def absorbed(self) -> str:
        """The weights: counts of pairs, and what was solved of them."""
        return "the weights between items"

    @property
    def users_at_once(self) -> int:
        """How many histories are scored at a time; fewer, since a user's vector has a number for every item."""
        return at_once(self.state["columns"].shape[1])

    def with_catalog(self, catalog: ItemCatalog) -> Self:
        """Return the same weights over other items: a known id keeps them, a new one is told by its text.

        Raises:
            ModelError: the encoder is not the one of training.
        """
        expect(catalog, ItemCatalog, "with_catalog: catalog")
        other = type(self)(self.config)
        other.encoder_fingerprint, other._popularity = self.encoder_fingerprint, self._popularity_over(catalog)
        if self.takes_vectors:
            other._added = self.vectors_for(catalog)
            raw = other._added.encode_items(catalog)
        else:
            catalog.require_text(self.name)
            raw = reread(self._encoder, catalog, known=self.catalog, vectors=self.text_vectors)
        places = self.state["places"].numpy()[np.concatenate([[0], self.catalog.ids.encode(catalog.ids.ids)])]
        other._hold(catalog, self.state | {"texts": torch.from_numpy(raw), "places": torch.from_numpy(places)})
        return other

    def _encoder(self) -> Encoder:
        return same_encoder(self.config.encoder, self.encoder_fingerprint)

    @property
    def text_vectors(self) -> FloatArray:
        """The encoder's vectors of what items say, ``[n_items, dim]``."""
        return self._raw_vectors()

    def _raw_vectors(self) -> FloatArray:
        raw: FloatArray = self.state["texts"].numpy()
        return raw

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return the encoder's vectors of any texts, ``[len(texts), dim]``."""
        return self._encoder().encode(list(texts))

    @property
    def behaviour_lists(self) -> Neighbours:
        """The trained items that each trained item lends most to."""
        places = self.state["places"].numpy()
        known = np.flatnonzero(places)
        rows = self.state["columns"].numpy()[np.ix_(places[known] - 1, places[known] - 1)].T.copy()
        np.fill_diagonal(rows, 0)
        return largest_of(rows, known, len(places), SIMILAR)

    def item_embeddings(self) -> FloatArray:
        """Return what the trained items lend to each item, ``[n_items + 1, m]``."""
        self.state  # noqa: B018  # says that the model is not fitted, where that is so
        return self._vectors.copy()

    def user_vectors(self, histories: Ragged) -> FloatArray:
        """Return what the items of each history count among the trained ones, ``[n, m]``; zeros for an empty one."""
        places = self.state["places"].numpy()
        counted, known = faded(histories, self.config.decay, len(places)), np.flatnonzero(places)
        users = np.zeros((len(histories), self._vectors.shape[1]), np.float32)
        users[:, places[known] - 1] = counted[:, known].toarray()
        return users + np.asarray(counted[:, self._new] @ self._mixtures, np.float32)

    def read_histories(self, histories: Ragged) -> Ragged:
        """Return each item once, where it stands last."""
        return newest_once(histories)

    def lifts(self, read: Ragged) -> Lifts:
        """Return what takes from each item of the history what it lends to itself: EASE lends nothing there."""
        table = faded(read, self.config.decay, len(self._vectors))
        table.data *= -self._own()[table.indices]
        return Lifts.of_table(table)

    def _own(self) -> FloatArray:
        """Return what each item lends to itself, ``[n_items + 1]``."""
        own = np.full(len(self._vectors), self.config.nearness, np.float32)
        own[self._new] = np.einsum("ij,ij->i", self._mixtures, self._vectors[self._new])
        return own

    @property
    def repeat_bias(self) -> float:
        """What an item of a history loses that training held: what it lends to itself."""
        return -self.config.nearness

    @property
    def lifts_apart(self) -> str:
        """What vectors alone leave out of the score."""
        return "that no item of the history lends to itself"

    def vectors_with_texts(self, item: int, texts: Sequence[str]) -> FloatArray | None:
        """Return the vectors ``[len(texts), m]`` of a new item with each of these texts; None for a trained one, which keeps its own."""
        if self.takes_vectors or self.state["places"][item]:
            return None
        return self._told_by(self.encode_texts(texts)) @ self.state["columns"].numpy()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the weights, the ridge, the whitening, the texts' vectors, and the place of each item."""
        return dict(self.state)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take them."""
        self._hold(self.catalog, dict(state))

    def saved_values(self) -> dict[str, Any]:
        """Return also which encoder's vectors the weights belong to."""
        return {**super().saved_values(), "encoder_fingerprint": self.encoder_fingerprint}

    def restore(self, parts: SavedParts) -> None:
        """Take what was saved."""
        self.encoder_fingerprint = str(parts.about["encoder_fingerprint"])
        super().restore(parts)


def mixing(texts: FloatArray, ridge: float) -> FloatArray:
    """Return ``T (TᵀT + ρI)⁻¹``, ``[m, dim]``: times a text's vector, the mixture of trained texts nearest to it.

    Args:
        texts: T, ``[m, dim]``.
        ridge: ρ.
    """
    of = texts.astype(np.float64)
    gram = of.T @ of + ridge * np.eye(of.shape[1])
    return np.asarray(np.linalg.solve(gram, of.T).T, np.float32)


def unit(vectors: FloatArray) -> FloatArray:
    """Return vectors of length 1; a vector of zeros stays."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)

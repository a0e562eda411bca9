"""Retrievers whose item vectors may have been made elsewhere: where these come from, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bertrec.core.errors import ModelError
from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.base import Encoder
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.given import GivenVectors, reads_vectors
from bertrec.encoders.registry import check_tune, make_encoder
from bertrec.evaluation.ranks import BoolArray
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.text_search import TextSearch


class ReadsItems(Recommender):
    """A retriever with an encoder, or with a file of item vectors in its place.

    The vectors of the catalogue are saved with the model, so that the file is needed no more but for items that are not in it.
    """

    config: Any
    _added: GivenVectors | None = None

    @property
    def takes_vectors(self) -> bool:
        """Whether ``encoder.name`` is a file of item vectors, and is read."""
        return self.reads_text and reads_vectors(self.config.encoder)

    def add_vectors(self, vectors: str | Path | GivenVectors) -> None:
        """Take vectors of items that `with_catalog` is to meet; before a `fit` they stand in place of the file.

        Raises:
            ModelError: this model has an encoder.
            DataError: the file is not as it should be, or its vectors are of another width.
        """
        if not self.takes_vectors:
            super().add_vectors(vectors)
        more = vectors if isinstance(vectors, GivenVectors) else self._read(vectors)
        if self._catalog is not None:
            self._own_vectors().joined(more)  # says what does not fit
        self._added = more if self._added is None else self._added.joined(more)

    @property
    def told(self) -> BoolArray:
        """Which items something is said of, ``[n_items]``: all of them, where vectors were given."""
        return np.ones(len(self.catalog), np.bool_) if self.takes_vectors else super().told

    def searcher(self) -> TextSearch:
        """Return what answers many searches.

        Raises:
            ModelError: the model reads no text, or vectors made elsewhere.
        """
        if self.takes_vectors:
            raise ModelError(f"this {self.name} model reads vectors made elsewhere and no words: search with a model of text")
        return super().searcher()

    def _read(self, path: str | Path) -> GivenVectors:
        config: EncoderConfig = self.config.encoder
        return GivenVectors.from_config(config.updated({"name": str(path)}))

    def _first_encoder(self, device: torch.device | str | None = None) -> Encoder:
        """Return what the items of a `fit` are encoded with."""
        if self._added is None:
            return make_encoder(self.config.encoder, device=device)
        check_tune(self.config.encoder, GivenVectors)
        return self._added

    def _raw_vectors(self) -> FloatArray:
        """Return the vectors of the catalogue as they were given, ``[n_items, dim]``."""
        raise NotImplementedError

    def _own_vectors(self) -> GivenVectors:
        """Return the vectors of this model's items."""
        config = self.config.encoder.updated({"truncate_dim": None})
        return GivenVectors(config, self.catalog.ids, self._raw_vectors())

    def known_vectors(self) -> GivenVectors:
        """Return the vectors of this model's items and of those that were added."""
        own = self._own_vectors()
        return own if self._added is None else own.joined(self._added)

    def vectors_for(self, catalog: ItemCatalog) -> GivenVectors:
        """Return vectors that hold all items of another catalogue.

        Raises:
            ModelError: some have none.
        """
        known = self.known_vectors()
        if lost := known.missing(catalog.ids):
            mend = "name a file that holds them: --vectors FILE, add_vectors(FILE) in Python"
            raise ModelError(f"{lost}, and this {self.name} model reads no text but vectors made elsewhere: {mend}")
        return known

"""TextSimilarity: the mean of the history's text vectors against each item's text vector. Nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field

from bertrec.core.checks import expect
from bertrec.core.config import Config
from bertrec.core.errors import ConfigError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.splits import EvaluationSet
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_encoder
from bertrec.encoders.whitening import Whitening
from bertrec.models.base import FloatArray
from bertrec.models.item_vectors import ReadsItems
from bertrec.models.texts import reread
from bertrec.models.trained_on import Training

_RAW = "given_vectors"  # among the saved tensors


class TextSimilarityConfig(Config):
    """Settings: the encoder, a fixed whitening, and how many of the newest items are averaged."""

    encoder: EncoderConfig = Field(EncoderConfig(), description="The encoder that reads the items; it stays frozen.")
    whitening: Literal["none", "pca", "zca"] = Field(
        "none",
        description="Fixed whitening of the text vectors, fitted on the whole catalogue; none leaves them as they are.",
    )
    max_history: int = Field(50, ge=1, le=100_000, description="Newest items of a history that are averaged.")


class TextSimilarity(ReadsItems):
    """Inner product of the mean of the history's unit text vectors with the item's unit text vector: the mean of the cosines.

    Args:
        config: all settings; None takes the defaults.
    """

    name: ClassVar[str] = "text-similarity"
    config_class: ClassVar[type[Config]] = TextSimilarityConfig
    item_inputs: ClassVar[tuple[str, ...]] = ("text",)
    trains_nothing: ClassVar[bool] = True
    config: TextSimilarityConfig
    _vectors: torch.Tensor | None = None
    _raw: torch.Tensor | None = None

    def __init__(self, config: TextSimilarityConfig | None = None) -> None:
        super().__init__(config)
        if self.config.encoder.tune != "frozen":
            raise ConfigError("text-similarity trains nothing: leave out --tune, or take --model morec")

    def fit(self, train: Training, *, validation: EvaluationSet | None = None, progress: bool = True, **options: Any) -> Self:
        """Encode the catalogue of ``train``; ``validation`` and the other options have no use here."""
        train, validation = self.check_data(train, validation)
        self.check_fit_options(options)
        self.check_start(resume=False, init=options.get("init") is not None)
        self.keep_popularity(train)
        return self.over(train.catalog, progress=progress)

    def over(self, catalog: ItemCatalog, *, progress: bool = True) -> Self:
        """Encode a catalogue: no interactions are needed."""
        expect(catalog, ItemCatalog, f"{type(self).__name__}: catalog")
        if not self.takes_vectors:
            catalog.require_text(self.name)
        vectors = self._first_encoder().encode_items(catalog, progress=progress)
        if self.config.whitening != "none":
            self._raw = torch.from_numpy(vectors) if self.takes_vectors else None
            vectors = Whitening.fit(vectors, method=self.config.whitening).transform(vectors)
        return self._holding(catalog, _unit(vectors), progress=progress)

    def _holding(self, catalog: ItemCatalog, vectors: FloatArray, *, progress: bool = False) -> Self:
        """Take a catalogue and the unit vectors of its texts, ``[n_items, dim]``."""
        self.catalog, self._vectors = catalog, torch.from_numpy(vectors)
        return self

    @property
    def reads_text(self) -> bool:
        """Always."""
        return True

    @property
    def absorbed(self) -> str:
        """Nothing: users are not looked at."""
        return ""

    def with_catalog(self, catalog: ItemCatalog) -> Self:
        """Return the same model over other items; a fixed whitening is fitted anew on all of them."""
        other = type(self)(self.config)
        if self.takes_vectors:
            other._added = self.vectors_for(catalog)
        if self.takes_vectors or self.config.whitening != "none":
            other.over(catalog, progress=False)
        else:
            expect(catalog, ItemCatalog, f"{type(self).__name__}: catalog")
            catalog.require_text(self.name)
            other._holding(catalog, _unit(reread(self._first_encoder, catalog, known=self.catalog, vectors=self.vectors.numpy())))
        other._popularity = self._popularity_over(catalog)
        return other

    @property
    def text_vectors(self) -> FloatArray:
        """The vectors of what items say, ``[n_items, dim]``, without a whitening."""
        if self.config.whitening == "none" or self.takes_vectors:
            return self._raw_vectors()
        return make_encoder(self.config.encoder).encode_items(self.catalog)

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return the encoder's vectors of any texts, ``[len(texts), dim]``."""
        return make_encoder(self.config.encoder).encode(list(texts))

    @property
    def vectors(self) -> torch.Tensor:
        """Unit text vectors, ``[n_items, dim]``."""
        self.catalog  # noqa: B018  # says that the model is not fitted, where that is so
        assert self._vectors is not None
        return self._vectors

    def item_embeddings(self) -> FloatArray:
        """Return ``[n_items + 1, dim]`` unit vectors, row 0 zero."""
        return np.concatenate([np.zeros((1, self.vectors.shape[1]), np.float32), self.vectors.numpy()])

    def user_vectors(self, histories: Ragged) -> FloatArray:
        """Return the mean unit vector of the newest items, ``[n, dim]``; zeros for an empty history."""
        read = histories.last(self.config.max_history)
        items = self.item_embeddings()
        sums = np.zeros((len(read), items.shape[1]), np.float32)
        np.add.at(sums, read.rows, items[read.values])
        counts = np.maximum(read.lengths, 1).astype(np.float32)
        return np.asarray(sums / counts[:, None], dtype=np.float32)

    def vectors_with_texts(self, item: int, texts: Sequence[str]) -> FloatArray | None:
        """Return the unit vectors ``[len(texts), dim]`` of the texts; None where no text is read, and with a whitening (not kept)."""
        if self.config.whitening != "none" or self.takes_vectors:
            return None
        vectors = make_encoder(self.config.encoder).encode(list(texts))
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)

    def profile_vectors(self, texts: Sequence[str]) -> FloatArray | None:
        """Return the unit vectors of the profiles, ``[len(texts), dim]``; None as in `vectors_with_texts`."""
        return self.vectors_with_texts(0, texts)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the unit vectors, and with a whitening those that were given, to whiten them anew beside others."""
        return {"vectors": self.vectors} | ({} if self._raw is None else {_RAW: self._raw})

    def _raw_vectors(self) -> FloatArray:
        """Return what was given; without a whitening the direction is all that matters of it."""
        raw: FloatArray = (self.vectors if self._raw is None else self._raw).numpy()
        return raw

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take the unit vectors."""
        self._vectors, self._raw = state["vectors"], state.get(_RAW)


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=1).numpy()
    return unit

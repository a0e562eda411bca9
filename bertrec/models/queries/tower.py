"""The query tower: a frozen encoder, two adapters, and the vectors of a catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from bertrec.core.checks import expect
from bertrec.core.config import Config
from bertrec.core.devices import chosen_device
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.plugins import Registry
from bertrec.core.products import FloatArray, row_lengths
from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.base import Encoder
from bertrec.encoders.registry import make_encoder
from bertrec.evaluation.ranks import BoolArray
from bertrec.models.fitted import Fitted
from bertrec.models.folder import SavedParts
from bertrec.models.queries.config import QueryConfig
from bertrec.models.queries.network import TowerNetwork, unit
from bertrec.models.text_search import Searchable, TextSearch
from bertrec.models.texts import reread, same_encoder
from bertrec.retrieval.index import ItemIndex

_TEXTS = "texts"  # among the saved tensors
_LEAST_SHARED = 0.5


class QueryTower(Fitted):
    """Items for words: the inner product of unit vectors, the same one in training, in scores and in an index.

    Args:
        config: the settings; None takes the defaults.

    Attributes:
        encoder_fingerprint: of the encoder in training.
        weights: of the lists ``tower`` and ``words`` where their ranks are joined, as validation pairs chose them;
            empty without such.
        about: what it learned from and how well, JSON values.
        served_by: an index that `best` searches; None looks at every item.
    """

    name: ClassVar[str] = "query-tower"
    registry: ClassVar[Registry] = Registry(
        what="query tower",
        base="bertrec.models.queries.tower:QueryTower",
        group="bertrec.queries",
        own={"query-tower": "bertrec.models.queries.tower:QueryTower"},
    )
    config_class: ClassVar[type[Config]] = QueryConfig
    task: ClassVar[str] = "sentence-similarity"
    ready_by: ClassVar[str] = "call bertrec.models.queries.train_tower(…) or from_pretrained(…)"
    config: QueryConfig

    def __init__(self, config: QueryConfig | None = None) -> None:
        super().__init__(config)
        if self.config.encoder.tune != "frozen":
            raise ConfigError(f"a query tower's encoder stays frozen: leave out encoder.tune {self.config.encoder.tune}")
        self.encoder_fingerprint = ""
        self.weights: dict[str, float] = {}
        self.about: dict[str, Any] = {}
        self.served_by: ItemIndex | None = None
        self._encoder: Encoder | None = None
        self._network: TowerNetwork | None = None
        self._texts = torch.zeros(0, 0)
        self._items: FloatArray | None = None
        self._told: BoolArray | None = None

    @classmethod
    def untrained(cls, catalog: ItemCatalog, config: QueryConfig | None = None, *, progress: bool = True) -> Self:
        """Return a tower over a catalogue whose adapters change nothing: the encoder itself.

        Raises:
            DataError: no item has a text.
            ModelError: the encoder cannot be loaded.
        """
        expect(catalog, ItemCatalog, "QueryTower.untrained: catalog")
        tower = cls(config)
        catalog.require_text(cls.name)
        tower._encoder = make_encoder(tower.config.encoder)
        tower.encoder_fingerprint = tower._encoder.fingerprint
        texts = torch.from_numpy(tower._encoder.encode_items(catalog, progress=progress))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(tower.config.train.seed)
            tower._network = TowerNetwork(texts.shape[1], tower.config).eval().to(chosen_device())
        return tower._over(catalog, unit(texts))

    @property
    def network(self) -> TowerNetwork:
        """The adapters.

        Raises:
            ModelError: it was not fitted.
        """
        if self._network is None:
            raise ModelError(f"this {type(self).__name__} is not fitted: {self.ready_by} first")
        return self._network

    @property
    def text_vectors(self) -> Tensor:
        """The encoder's unit vectors by inner id, ``[n_items + 1, dim]``; zeros for padding and where no text is."""
        told = torch.tensor([bool(text) for text in self.catalog.texts])
        return torch.cat([torch.zeros(1, self._texts.shape[1]), self._texts * told[:, None]])

    @property
    def item_vectors(self) -> FloatArray:
        """Unit vectors of the items, ``[n_items + 1, dim]``; zeros for padding and for an item without text."""
        if self._items is None:
            with torch.no_grad():
                self._items = self.network.item_vectors(self.text_vectors.to(self._device)).cpu().numpy()
        return self._items

    def encoded(self, queries: Sequence[str]) -> Tensor:
        """Return the encoder's unit vectors of queries, ``[n, dim]``."""
        return unit(torch.from_numpy(self.encoder.encode_kept(list(queries))))

    def query_vectors(self, queries: Sequence[str]) -> FloatArray:
        """Return unit vectors of queries, ``[n, dim]``; zeros for one of which the encoder knows nothing.

        Raises:
            DataError: a query is empty.
        """
        if any(not query.strip() for query in queries):
            raise DataError("an empty query asks for nothing: give words")
        return self.adapted(self.encoded(queries))

    def adapted(self, encoded: Tensor) -> FloatArray:
        """Return what `query_vectors` does, of vectors of `encoded`."""
        with torch.no_grad():
            vectors: FloatArray = self.network.query_vectors(encoded.to(self._device)).cpu().numpy()
        return vectors

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def encoder(self) -> Encoder:
        """The encoder.

        Raises:
            ModelError: the encoder of that name is not the one of training.
        """
        _ = self.network  # says that the tower is not fitted, where that is so
        if self._encoder is None:
            self._encoder = same_encoder(self.config.encoder, self.encoder_fingerprint)
        return self._encoder

    def scores(self, vectors: FloatArray) -> FloatArray:
        """Return inner products of vectors of queries with all items, ``[n, n_items + 1]``.

        What is unlisted or says nothing has -inf.

        Args:
            vectors: ``[n, dim]``, from `query_vectors`; a row of zeros has no product with anything.
        """
        known = self.told & (row_lengths(vectors) > 0)[:, None]
        return np.where(known, vectors @ self.item_vectors.T, -np.inf).astype(np.float32)

    @property
    def told(self) -> BoolArray:
        """Which items can be found, ``[n_items + 1]``: they are listed and say something."""
        if self._told is None:
            self._told = self.catalog.listed & (row_lengths(self.item_vectors) > 0)
        return self._told

    def best(self, query: str, depth: int, allowed: BoolArray) -> FloatArray:
        """Return the scores of the best allowed items, as `bertrec.models.text_search.Tower` says, ``[n_items + 1]``.

        Args:
            query: words.
            depth: how many, at least; without an index all are there.
            allowed: ``[n_items + 1]``.
        """
        vectors = self.query_vectors([query])
        if self.served_by is None:
            return np.where(allowed, self.scores(vectors)[0], -np.inf).astype(np.float32)
        found, within = np.full(len(self.catalog) + 1, -np.inf, np.float32), np.flatnonzero(self.told & allowed)
        if len(within) and np.any(vectors):
            some = None if len(within) == len(self.served_by) else self.served_by.select(self.catalog.ids.decode(within))
            result = self.served_by.search(vectors, min(depth, len(within)), within=some)
            found[self.catalog.ids.encode(result.ids[0])] = result.scores[0][: len(result.ids[0])]
        return found

    def index(self, *, kind: str = "auto", **parameters: Any) -> ItemIndex:
        """Build an index of the items that say something, whose scores are those of the tower.

        Args:
            kind: see `bertrec.retrieval.index.ItemIndex.build`.
            **parameters: see there.
        """
        rows = np.flatnonzero(self.told)
        ids = self.catalog.ids.decode(rows)
        how = {"metric": "inner_product", "model_hash": self.model_hash, **parameters}
        return ItemIndex.build(self.item_vectors[rows], ids, kind=kind, **how)

    def serve_by(self, index: ItemIndex) -> None:
        """Let `best` search an index.

        Raises:
            IndexFileError: it is of another tower, or of this one over another catalogue.
        """
        index.require_model(self.model_hash)
        self.served_by = index

    def searcher(self, model: Searchable, *, learned: bool = False) -> TextSearch:
        """Return what answers many searches of a model's items, the tower in the place of the model's own encoder.

        Args:
            model: over the same items as the tower; see `over`.
            learned: join ranks with the weights that validation pairs chose; else all lists count alike.

        Raises:
            ConfigError: there are no such weights.
        """
        if learned and not self.weights:
            raise ConfigError("this query tower has learned no weights, since its pairs had no valid part: take --fusion rrf")
        return TextSearch(model, tower=self, weights=self.weights if learned else None)

    def over(self, catalog: ItemCatalog) -> Self:
        """Return the tower over other items; texts that it knows are not encoded again.

        Raises:
            DataError: no item has a text.
            ModelError: fewer than half of the items are those that it was trained with, or the encoder is another one
                now.
        """
        expect(catalog, ItemCatalog, "QueryTower.over: catalog")
        if catalog.content_hash == self.catalog.content_hash:
            return self
        shared = float((self.catalog.ids.encode(catalog.ids.ids) > 0).mean()) if len(catalog) else 0.0
        if shared < _LEAST_SHARED:
            few = f"was trained over another catalogue: it knows {shared:.0%} of these {len(catalog)} items"
            raise ModelError(f"the query tower {few}; train one on these data (bertrec queries train)")
        catalog.require_text(self.name)
        other = type(self)(self.config)
        other._network, other.encoder_fingerprint, other._encoder = self.network, self.encoder_fingerprint, self._encoder
        other.weights, other.about, other.train_log = dict(self.weights), dict(self.about), self.train_log
        texts = reread(lambda: self.encoder, catalog, known=self.catalog, vectors=self._texts.numpy())
        return other._over(catalog, unit(torch.from_numpy(texts)))

    def note_on(self, query: str) -> str | None:
        """Return a note where the encoder reads little or nothing of a query: another script, or none of its words."""
        if note := self.encoder.script_note([query]):
            return f"note: {note}; items that hold the query's own words are found all the same"
        if self.encoder.knows_nothing_of(query):
            known = f"the encoder {self.config.encoder.name} knows no word of this query"
            return f"note: {known}: items that hold its words are found, what else is listed is a guess"
        return None

    def _over(self, catalog: ItemCatalog, texts: Tensor) -> Self:
        self.catalog, self._texts = catalog, texts
        self.forget_vectors()
        return self

    def forget_vectors(self) -> None:
        """Make the vectors of items anew when they are next asked for: the adapters have changed."""
        self._items = self._told = None

    def state_dict(self) -> dict[str, Tensor]:
        """Return the adapters, and the encoder's unit vectors of the catalogue."""
        return {_TEXTS: self._texts, **{f"network.{name}": value for name, value in self.network.state_dict().items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state_dict` gave."""
        self._network = TowerNetwork(state[_TEXTS].shape[1], self.config).eval()
        self._network.load_state_dict({name.removeprefix("network."): value for name, value in state.items() if name != _TEXTS})
        self._network.to(chosen_device())
        self._over(self.catalog, state[_TEXTS])

    def saved_values(self) -> dict[str, Any]:
        """Return the encoder's fingerprint, the weights of lists and what it learned from."""
        values = {"encoder_fingerprint": self.encoder_fingerprint, "weights": self.weights, "about": self.about}
        return {**super().saved_values(), **values}

    def restore(self, parts: SavedParts) -> None:
        """Take what was saved."""
        self.encoder_fingerprint = str(parts.about["encoder_fingerprint"])
        self.weights = {str(name): float(value) for name, value in dict(parts.about["weights"]).items()}
        self.about = dict(parts.about["about"])
        super().restore(parts)

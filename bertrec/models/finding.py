"""Items that are like an item, and items that a text asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from bertrec.core.checks import expect_whole
from bertrec.core.errors import ConfigError, DataError, ModelError, unknown_name
from bertrec.core.products import FloatArray
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.evaluation.ranks import BoolArray
from bertrec.models.found import Cosines, Found, joined, padded
from bertrec.models.text_search import TextSearch
from bertrec.retrieval.neighbours import Neighbours

By = Literal["auto", "text", "behaviour", "both"]
BY = ("auto", "text", "behaviour", "both")
TEXT, BEHAVIOUR = "text", "behaviour"


class Finding(ABC):
    """What a retriever knows of likeness; one that reads no text, or learned of no behaviour, says None."""

    @property
    @abstractmethod
    def catalog(self) -> ItemCatalog:
        """The items."""

    @property
    def text_vectors(self) -> FloatArray | None:
        """The vectors of what items say, ``[n_items, dim]``, as `encode_texts` gives them; None for a model that reads no text."""
        return None

    @property
    def told(self) -> BoolArray:
        """Which items something is said of, ``[n_items]``: likeness by text knows no others."""
        return np.array([bool(text) for text in self.catalog.texts], np.bool_)

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of any texts, ``[len(texts), dim]``; asked of models alone that have `text_vectors`."""
        raise ModelError(f"a {type(self).__name__} reads no text")

    @property
    def behaviour_lists(self) -> Neighbours | None:
        """What the same users took; None where the model has no such lists."""
        return None

    @property
    def behaviour_vectors(self) -> FloatArray | None:
        """Vectors learned of behaviour, ``[n_items + 1, dim]``, NaN for an item without; looked at where there are no lists."""
        return None

    @abstractmethod
    def score(
        self, histories: Sequence[Sequence[str | int]] | Ragged, candidates: Sequence[Sequence[str | int]] | Ragged
    ) -> list[FloatArray]:
        """Score given candidates."""

    def similar(self, item: str | int, k: int = 10, *, by: By = "auto", allowed: BoolArray | None = None) -> Found:
        """Return the items that are most like one.

        Args:
            item: external id.
            k: how many, at most.
            by: ``text``: by the cosine of their texts; ``behaviour``: by what the same users took, close to one another; ``both``: by
                reciprocal rank fusion of these; ``auto``: by whatever is known of the item.
            allowed: which items may be found, ``[n_items + 1]``; None: all that are listed.

        Raises:
            DataError: the item is unknown, or nothing of the kind is known of it.
            ModelError: the model knows no text, or no behaviour.
        """
        return self.likeness().similar(item, k, by=by, allowed=allowed)

    def likeness(self) -> Likeness:
        """Return what answers many questions of likeness: vectors are taken once, as the catalogue is now."""
        return Likeness(self)

    def searcher(self) -> TextSearch:
        """Return what answers many searches: texts are counted once, as the catalogue is now.

        Raises:
            ModelError: the model reads no text.
        """
        return TextSearch(self)

    def search(self, query: str, k: int = 10, *, history: Sequence[str | int] | None = None, allowed: BoolArray | None = None) -> Found:
        """Return the items that a text asks for: the nearest by the model's encoder and by BM25, joined by reciprocal rank fusion.

        Args:
            query: what is looked for, in words.
            k: how many, at most.
            history: of a user, oldest first; the model's own order of what was found is then joined too.
            allowed: which items may be found, ``[n_items + 1]``; None: all that are listed.

        Raises:
            ModelError: the model reads no text.
            DataError: an empty query, or a history of which no item is known.
        """
        return self.searcher().search(query, k, history=history, allowed=allowed)


class Likeness:
    """What a model knows of likeness, ready to be asked.

    Args:
        model: fitted.
    """

    def __init__(self, model: Finding) -> None:
        self.model, self.catalog = model, model.catalog

    @cached_property
    def texts(self) -> Cosines | None:
        """The vectors of what items say; None for a model that reads no text."""
        vectors = self.model.text_vectors
        return None if vectors is None else Cosines(padded(vectors))

    @cached_property
    def _told(self) -> BoolArray:
        return self.model.told

    @cached_property
    def _lists(self) -> Neighbours | None:
        return self.model.behaviour_lists

    @cached_property
    def _behaviour(self) -> Cosines | None:
        vectors = self.model.behaviour_vectors
        return None if vectors is None else Cosines(vectors)

    def similar(self, item: str | int, k: int = 10, *, by: By = "auto", allowed: BoolArray | None = None) -> Found:
        """Return what `Finding.similar` does."""
        k = expect_whole(k, "k", least=1, error=DataError)
        if by not in BY:
            raise ConfigError(unknown_name("likeness", by, BY))
        inner = int(self.catalog.ids.encode([item])[0])
        if not inner:
            raise DataError(f"item {item!r} is not in the catalogue")
        lists = {name: values for name in (TEXT, BEHAVIOUR) if (values := self._likeness(name, inner, by)) is not None}
        if not lists:
            raise DataError(f"nothing is known that could say what is like item {item!r}: neither its text nor who took it")
        open_ = self.catalog.listed if allowed is None else self.catalog.listed & allowed
        for values in lists.values():
            values[~open_] = values[inner] = -np.inf
        return joined(self.catalog, lists, k)

    def _likeness(self, kind: str, inner: int, by: By) -> FloatArray | None:
        """Return how like one item all others are, ``[n_items + 1]``, -inf for those of which this is not known."""
        if by not in (kind, "both", "auto"):
            return None
        try:
            return self._by_text(inner) if kind == TEXT else self._by_behaviour(inner)
        except (DataError, ModelError):
            if by == "auto":
                return None
            raise

    def _by_text(self, inner: int) -> FloatArray:
        if self.texts is None:
            raise ModelError(f"this {type(self.model).__name__} reads no text: ask it for likeness by behaviour")
        if not self._told[inner - 1]:
            raise DataError(f"item {self.catalog.ids.ids[inner - 1]!r} has no text: ask for likeness by behaviour")
        values = self.texts.of(self.texts.table[inner])
        values[1:][~self._told] = -np.inf
        return values

    def _by_behaviour(self, inner: int) -> FloatArray:
        lists = self._lists
        if lists is None and self._behaviour is None:
            raise ModelError(f"this {type(self.model).__name__} has learned of no behaviour: ask it for likeness by text")
        values = np.full(len(self.catalog) + 1, -np.inf, np.float32)
        if lists is not None:
            there = lists.items[inner] > 0
            values[lists.items[inner][there]] = lists.strengths[inner][there]
        elif self._behaviour is not None and self._behaviour.lengths[inner] >= 0:
            values = self._behaviour.of(self._behaviour.table[inner])
        if not np.isfinite(values).any():
            name = self.catalog.ids.ids[inner - 1]
            raise DataError(f"training saw nobody take item {name!r} beside others: ask for likeness by text")
        return values

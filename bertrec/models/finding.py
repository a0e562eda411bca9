"""Items that are like an item, and items that a text asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect, expect_list, expect_whole
from bertrec.core.errors import ConfigError, DataError, ModelError, unknown_name
from bertrec.core.products import FloatArray, IntArray, row_lengths
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.retrieval.fusion import fused, rank_in
from bertrec.retrieval.neighbours import Neighbours
from bertrec.retrieval.sparse_text import BM25
from bertrec.retrieval.words import Vocabulary

Id = str | int
BoolArray = npt.NDArray[np.bool_]
By = Literal["auto", "text", "behaviour", "both"]
BY = ("auto", "text", "behaviour", "both")
TEXT, BEHAVIOUR, WORDS, MEANING, USER = "text", "behaviour", "words", "meaning", "user"
_DEPTH = 200
"""How many of the best of each list are joined, at least."""


@dataclass(frozen=True)
class Found:
    """Items that were found.

    Attributes:
        items: external ids, best first.
        scores: of the order: of one list its own, of several that of reciprocal rank fusion.
        ranks: for each list that was joined the rank from 1 of each item, 0 where the list lacks it.
    """

    items: list[Id]
    scores: list[float]
    ranks: dict[str, list[int]]


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

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of any texts, ``[len(texts), dim]``; asked of models alone that have `text_vectors`."""
        raise ModelError(f"a {type(self).__name__} reads no text")

    @property
    def near_texts(self) -> FloatArray | None:
        """The vectors whose cosines say which items are alike in text, ``[n_items, dim]``."""
        return self.text_vectors

    @property
    def behaviour_lists(self) -> Neighbours | None:
        """What the same users took; None where the model has no such lists."""
        return None

    @property
    def behaviour_vectors(self) -> FloatArray | None:
        """Vectors learned of behaviour, ``[n_items + 1, dim]``, NaN for an item without; looked at where there are no lists."""
        return None

    @abstractmethod
    def score(self, histories: Sequence[Sequence[Id]], candidates: Sequence[Sequence[Id]] | Ragged) -> list[FloatArray]:
        """Score given candidates."""

    def similar(self, item: Id, k: int = 10, *, by: By = "auto") -> Found:
        """Return the items that are most like one.

        Args:
            item: external id.
            k: how many, at most.
            by: ``text``: by the cosine of their texts; ``behaviour``: by what the same users took, close to one another; ``both``: by
                reciprocal rank fusion of these; ``auto``: by whatever is known of the item.

        Raises:
            DataError: the item is unknown, or nothing of the kind is known of it.
            ModelError: the model knows no text, or no behaviour.
        """
        k = expect_whole(k, "k", least=1, error=DataError)
        if by not in BY:
            raise ConfigError(unknown_name("likeness", by, BY))
        inner = self._inner(item)
        orders = {name: values for name in (TEXT, BEHAVIOUR) if (values := self._likeness(name, inner, by)) is not None}
        if not orders:
            raise DataError(f"nothing is known of item {item!r} that could say what is like it: neither its text nor who took it")
        for values in orders.values():
            values[~self.catalog.listed] = -np.inf
            values[inner] = -np.inf
        return found(self.catalog, orders, k)

    def _inner(self, item: Id) -> int:
        inner = int(self.catalog.ids.encode([item])[0])
        if not inner:
            raise DataError(f"item {item!r} is not in the catalogue")
        return inner

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
        vectors = self.near_texts
        if vectors is None:
            raise ModelError(f"this {type(self).__name__} reads no text: ask it for likeness by behaviour")
        if not self.catalog.texts[inner - 1]:
            raise DataError(f"item {self.catalog.ids.ids[inner - 1]!r} has no text: ask for likeness by behaviour")
        return cosines(vectors[inner - 1], np.concatenate([np.full((1, vectors.shape[1]), np.nan, np.float32), vectors]))

    def _by_behaviour(self, inner: int) -> FloatArray:
        lists, vectors = self.behaviour_lists, self.behaviour_vectors
        if lists is None and vectors is None:
            raise ModelError(f"this {type(self).__name__} has learned of no behaviour of items: ask it for likeness by text")
        values = np.full(len(self.catalog) + 1, -np.inf, np.float32)
        if lists is not None:
            there = lists.items[inner] > 0
            values[lists.items[inner][there]] = lists.strengths[inner][there]
        elif vectors is not None and np.isfinite(vectors[inner]).all():
            values = cosines(vectors[inner], vectors)
        if not np.isfinite(values).any():
            raise DataError(f"nobody took item {self.catalog.ids.ids[inner - 1]!r} in training: ask for likeness by text")
        return values

    def searcher(self) -> TextSearch:
        """Return what answers many searches: texts are counted once, as the catalogue is now.

        Raises:
            ModelError: the model reads no text.
        """
        return TextSearch(self)

    def search(self, query: str, k: int = 10, *, history: Sequence[Id] | None = None) -> Found:
        """Return the items that a text asks for: the nearest by the model's encoder and by BM25, joined by reciprocal rank fusion.

        Args:
            query: what is looked for, in words.
            k: how many, at most.
            history: of a user, oldest first; the model's own order of what was found is then joined too.

        Raises:
            ModelError: the model reads no text.
            DataError: an empty query, or a history of which no item is known.
        """
        return self.searcher().search(query, k, history=history)


class TextSearch:
    """The texts of a catalogue, ready to be searched.

    Args:
        model: fitted.

    Raises:
        ModelError: it reads no text.
    """

    def __init__(self, model: Finding) -> None:
        vectors = model.text_vectors
        if vectors is None:
            raise ModelError(f"this {type(model).__name__} reads no text: search takes a model trained with --item-input text or text+id")
        self.model, self.catalog = model, model.catalog
        empty = np.array([not text for text in self.catalog.texts])
        self._vectors = np.concatenate([np.full((1, vectors.shape[1]), np.nan, np.float32), vectors])
        self._listed = self.catalog.listed
        self._listed[1:] &= ~empty
        self._vocabulary, documents = Vocabulary.of(self.catalog.texts)
        self._bm25 = BM25.build(documents)

    def search(self, query: str, k: int = 10, *, history: Sequence[Id] | None = None) -> Found:
        """Return what `Finding.search` does."""
        k = expect_whole(k, "k", least=1, error=DataError)
        if not expect(query, str, "search: query").strip():
            raise DataError("an empty query asks for nothing: give words")
        lists = {WORDS: self._by_words(query), MEANING: cosines(self.model.encode_texts([query])[0], self._vectors)}
        for values in lists.values():
            values[~self._listed] = -np.inf
        if history is not None:
            lists[USER] = self._by_user(expect_list(history, "search: history", of="ids"), lists, max(_DEPTH, k))
        return found(self.catalog, lists, k)

    def _by_words(self, query: str) -> FloatArray:
        scores = self._bm25.score_terms(self._vocabulary.encode(query))
        return np.where(scores > 0, scores, np.float32(-np.inf))

    def _by_user(self, history: Sequence[Id], lists: Mapping[str, FloatArray], depth: int) -> FloatArray:
        """Return the model's own score of what the lists hold, -inf elsewhere."""
        held = np.unique(np.concatenate([best(values, depth) for values in lists.values()]))
        scores = np.full(len(self.catalog) + 1, -np.inf, np.float32)
        scores[held] = np.nan_to_num(self.model.score([list(history)], Ragged.from_rows([held]))[0], nan=-np.inf)
        return scores


def cosines(vector: FloatArray, table: FloatArray) -> FloatArray:
    """Return the cosine of a vector with each row of a table, ``[rows]``; -inf for rows of NaN or of zeros."""
    lengths = row_lengths(table) * np.linalg.norm(vector.astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (np.nan_to_num(table) @ vector) / lengths
    return np.where(lengths > 0, values, -np.inf).astype(np.float32)


def best(values: FloatArray, depth: int) -> IntArray:
    """Return the inner ids of the ``depth`` largest finite values, the largest first and among equals the smaller id."""
    order = np.argsort(-values, kind="stable")[:depth]
    return order[np.isfinite(values[order])]


def found(catalog: ItemCatalog, lists: Mapping[str, FloatArray], k: int) -> Found:
    """Return the best of several lists of scores, each ``[n_items + 1]``."""
    orders = {name: best(values, max(_DEPTH, k)) for name, values in lists.items()}
    if len(lists) == 1:
        (values,), (items,) = lists.values(), orders.values()
        items, scores = items[:k], values[items[:k]]
    else:
        items, scores = (array[:k] for array in fused(list(orders.values())))
    ranks = {name: rank_in(order, items).tolist() for name, order in orders.items()}
    return Found(catalog.ids.decode(items), [float(score) for score in scores], ranks)

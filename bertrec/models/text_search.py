"""Free text against what items say: by meaning and by words, and where a user is known by taste."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from bertrec.core.checks import expect, expect_list, expect_whole
from bertrec.core.errors import DataError, ModelError
from bertrec.core.products import FloatArray
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.evaluation.ranks import BoolArray
from bertrec.models.found import DEPTH, Cosines, Found, best_of, joined, padded
from bertrec.retrieval.sparse_text import BM25
from bertrec.retrieval.words import Vocabulary, words_of

WORDS, MEANING, USER = "words", "meaning", "user"
# In short titles these are rare, so that BM25 would put every "rain cape for cyclists" first for "something for the night".
_SMALL = frozenset(["a", "an", "and", "as", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or", "the", "to", "with"])


class Searchable(Protocol):
    """What a search asks of a model; see `bertrec.models.finding.Finding`."""

    @property
    def catalog(self) -> ItemCatalog:
        """The items."""

    @property
    def text_vectors(self) -> FloatArray | None:
        """The vectors of what items say, ``[n_items, dim]``."""

    def encode_texts(self, texts: Sequence[str], /) -> FloatArray:
        """Return the vectors of any texts."""

    def score(self, histories: Sequence[Sequence[str | int]], candidates: Ragged, /) -> list[FloatArray]:
        """Score given candidates."""


class TextSearch:
    """The texts of a catalogue, ready to be searched.

    Args:
        model: fitted.
        texts: the vectors of what its items say, where they were made ready already, a row of NaN for padding before them.

    Raises:
        ModelError: it reads no text.
    """

    def __init__(self, model: Searchable, texts: Cosines | None = None) -> None:
        vectors = model.text_vectors if texts is None else texts.table
        if vectors is None:
            raise ModelError(f"this {type(model).__name__} reads no text: search with a model of text, such as --item-input text+id")
        self.model, self.catalog = model, model.catalog
        self._vectors = Cosines(padded(vectors)) if texts is None else texts
        self._listed = self.catalog.listed
        self._listed[1:] &= np.array([bool(text) for text in self.catalog.texts], np.bool_)
        self._vocabulary, documents = Vocabulary.of(self.catalog.texts)
        self._bm25 = BM25.build(documents)

    def search(self, query: str, k: int = 10, *, history: Sequence[str | int] | None = None, allowed: BoolArray | None = None) -> Found:
        """Return what `bertrec.models.finding.Finding.search` does."""
        k = expect_whole(k, "k", least=1, error=DataError)
        expect(query, str, "search: query", called="text")
        if not query.strip():
            raise DataError("an empty query asks for nothing: give words")
        lists = {MEANING: self._vectors.of(self.model.encode_texts([query])[0]), WORDS: self._by_words(query)}
        open_ = self._listed if allowed is None else self._listed & allowed
        for values in lists.values():
            values[~open_] = -np.inf
        if history is not None:
            expect_list(history, "search: history", of="ids")
            lists[USER] = self._by_user(history, lists, max(DEPTH, k))
        return joined(self.catalog, lists, k)

    def _by_words(self, query: str) -> FloatArray:
        words = [word for word in words_of(query) if word not in _SMALL]
        scores = self._bm25.score_terms(self._vocabulary.encode(" ".join(words) or query))
        return np.where(scores > 0, scores, np.float32(-np.inf))

    def _by_user(self, history: Sequence[str | int], lists: Mapping[str, FloatArray], depth: int) -> FloatArray:
        """Return the model's own score of what the lists hold, -inf elsewhere."""
        held = np.unique(np.concatenate([best_of(values, depth) for values in lists.values()]))
        scores = np.full(len(self.catalog) + 1, -np.inf, np.float32)
        if len(held):
            scores[held] = np.nan_to_num(self.model.score([list(history)], Ragged.from_rows([held]))[0], nan=-np.inf)
        return scores

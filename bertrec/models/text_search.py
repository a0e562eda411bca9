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
from bertrec.retrieval.word_scores import WordScores

WORDS, MEANING, USER, TOWER = "words", "meaning", "user", "tower"


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


class Tower(Protocol):
    """What was trained to find items for words, over a model's items; see `bertrec.models.queries.tower.QueryTower`."""

    def best(self, query: str, depth: int, allowed: BoolArray, /) -> FloatArray:
        """Return the scores of the ``depth`` best allowed items, or of more, ``[n_items + 1]``; -inf for all others."""


class TextSearch:
    """The texts of a catalogue, ready to be searched.

    Args:
        model: fitted.
        texts: the vectors of what its items say, where they were made ready already, a row of NaN for padding before them.
        tower: trained on queries, over the same items; it stands in place of the model's own encoder, which need not be there.
        weights: of the lists by name (``words``, ``tower``, …) where their ranks are joined; 1 for one that is not named.

    Raises:
        ModelError: there is no tower, and the model reads no text.
    """

    def __init__(
        self, model: Searchable, texts: Cosines | None = None, *, tower: Tower | None = None, weights: Mapping[str, float] | None = None
    ) -> None:
        self.model, self.catalog = model, model.catalog
        self._tower, self._weights = tower, dict(weights or {})
        self._vectors = None if tower is not None else _cosines_of(model, texts)
        self._listed = self.catalog.listed
        self._listed[1:] &= np.array([bool(text) for text in self.catalog.texts], np.bool_)
        self._words = WordScores(self.catalog.texts)

    def search(self, query: str, k: int = 10, *, history: Sequence[str | int] | None = None, allowed: BoolArray | None = None) -> Found:
        """Return what `bertrec.models.finding.Finding.search` does."""
        k = expect_whole(k, "k", least=1, error=DataError)
        expect(query, str, "search: query", called="text")
        if not query.strip():
            raise DataError("an empty query asks for nothing: give words")
        open_ = self._listed if allowed is None else self._listed & allowed
        lists = {**self._by_meaning(query, max(DEPTH, k), open_), WORDS: self._words.of(query)}
        for values in lists.values():
            values[~open_] = -np.inf
        if history is not None:
            expect_list(history, "search: history", of="ids")
            lists[USER] = self._by_user(history, lists, max(DEPTH, k))
        return joined(self.catalog, lists, k, weights=self._weights)

    def _by_meaning(self, query: str, depth: int, open_: BoolArray) -> dict[str, FloatArray]:
        if self._tower is not None:
            return {TOWER: self._tower.best(query, depth, open_)}
        assert self._vectors is not None
        return {MEANING: self._vectors.of(self.model.encode_texts([query])[0])}

    def _by_user(self, history: Sequence[str | int], lists: Mapping[str, FloatArray], depth: int) -> FloatArray:
        """Return the model's own score of what the lists hold, -inf elsewhere."""
        held = np.unique(np.concatenate([best_of(values, depth) for values in lists.values()]))
        scores = np.full(len(self.catalog) + 1, -np.inf, np.float32)
        if len(held):
            scores[held] = np.nan_to_num(self.model.score([list(history)], Ragged.from_rows([held]))[0], nan=-np.inf)
        return scores


def _cosines_of(model: Searchable, texts: Cosines | None) -> Cosines:
    if texts is not None:
        return texts
    vectors = model.text_vectors
    if vectors is None:
        mend = "search with a model of text, such as --item-input text+id, or with a tower (--queries)"
        raise ModelError(f"this {type(model).__name__} reads no text: {mend}")
    return Cosines(padded(vectors))

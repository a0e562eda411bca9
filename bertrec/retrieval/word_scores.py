"""BM25 of any words over the texts of a catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertrec.retrieval.sparse_text import BM25, FloatArray
from bertrec.retrieval.words import Vocabulary, words_of

# In short titles these are rare, so that BM25 would put every "rain cape for cyclists" first for "something for the night".
_SMALL = frozenset(["a", "an", "and", "as", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or", "the", "to", "with"])


class WordScores:
    """The words of texts, counted once.

    Args:
        texts: row ``i`` is inner item id ``i + 1``.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._vocabulary, documents = Vocabulary.of(texts)
        self._bm25 = BM25.build(documents)

    def of(self, query: str) -> FloatArray:
        """Return BM25 of each text for the words of a query, ``[n_items + 1]``; -inf where a text has none of them."""
        words = [word for word in words_of(query) if word not in _SMALL]
        scores = self._bm25.score_terms(self._vocabulary.encode(" ".join(words) or query))
        return np.where(scores > 0, scores, np.float32(-np.inf))

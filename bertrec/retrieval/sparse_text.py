"""Counted words of item texts: BM25 and shared labels between a history and its candidates, without a loop over users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import IntArray, Ragged

FloatArray = npt.NDArray[np.float32]
_CELLS_AT_ONCE = 1 << 24  # of a dense block of histories by terms: 64 MiB


@dataclass(frozen=True)
class SparseRows:
    """A sparse matrix by rows: row ``i`` is inner item id ``i``, row 0 (padding) is empty.

    Attributes:
        terms: column numbers, distinct within a row.
        values: ``[total]`` float32, the cells.
        width: number of columns.
    """

    terms: Ragged
    values: FloatArray
    width: int

    def cells(self, rows: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
        """Return ``(which of rows, column, value)`` of every cell of the rows numbered ``rows``."""
        at = Ragged(np.arange(len(self.values)), self.terms.offsets).take(rows)
        return at.rows, self.terms.values[at.values], self.values[at.values]


def overlap(queries: SparseRows, documents: SparseRows, histories: Ragged, candidates: Ragged) -> FloatArray:
    """Return the inner product of each candidate's row of ``documents`` with the mean row of ``queries`` over its history.

    Args:
        queries: ``[n_items + 1, width]``.
        documents: of the same shape.
        histories: ``n`` rows of inner ids; an empty one gives 0 throughout.
        candidates: ``n`` rows of inner ids.

    Returns:
        ``[total candidates]``.
    """
    out = np.zeros(len(candidates.values), np.float32)
    step = max(1, _CELLS_AT_ONCE // max(1, queries.width))
    for start in range(0, len(histories), step):
        stop = min(start + step, len(histories))
        past, shown = histories.slice(start, stop), candidates.slice(start, stop)
        mean = np.zeros((stop - start, max(1, queries.width)), np.float32)
        item, column, value = queries.cells(past.values)
        np.add.at(mean, (past.rows[item], column), value)
        mean /= np.maximum(past.lengths, 1)[:, None]
        pair, column, value = documents.cells(shown.values)
        sums = np.bincount(pair, value * mean[shown.rows[pair], column], minlength=len(shown.values))
        out[candidates.offsets[start] : candidates.offsets[stop]] = sums
    return out


@dataclass(frozen=True)
class BM25:
    """BM25 (Robertson & Zaragoza 2009, *The Probabilistic Relevance Framework*) between item texts.

    ``score(q, d) = Σ_t qtf(t) · idf(t) · tf(t, d) · (k1 + 1) / (tf(t, d) + k1 · (1 - b + b · |d| / avgdl))`` over the terms of the query,
    with ``idf(t) = ln(1 + (N - df(t) + 0.5) / (df(t) + 0.5))``, the form that is never negative. The query's own counts are not saturated
    (``k3`` without bound), so that the score of a history is the mean over its items. Items without a text are not counted in ``N``.

    Attributes:
        counts: ``qtf``, how often each item's text holds each term.
        weights: all of the rest.
        words: the terms of the columns, ascending.
    """

    counts: SparseRows
    weights: SparseRows
    words: IntArray

    @classmethod
    def build(cls, documents: Ragged, *, k1: float = 1.2, b: float = 0.75) -> Self:
        """Weigh the terms of ``documents``.

        Args:
            documents: word-piece ids, row ``i`` is inner item id ``i``, row 0 empty.
            k1: how slowly repeated terms stop to count; 0 looks at presence only.
            b: how much long texts are held back, 0 to 1.

        Raises:
            ConfigError: ``k1`` below 0, or ``b`` outside 0 to 1.
        """
        if k1 < 0 or not 0 <= b <= 1:
            raise ConfigError(f"BM25 takes k1 from 0 and b from 0 to 1, got k1={k1}, b={b}")
        words, terms = np.unique(documents.values, return_inverse=True)
        width = len(words)
        cells, counts = np.unique(documents.rows * max(1, width) + terms, return_counts=True)
        rows, columns = cells // max(1, width), cells % max(1, width)
        lengths = documents.lengths.astype(np.float64)
        filled = max(1, int((lengths > 0).sum()))
        frequency = np.bincount(columns, minlength=width)
        idf = np.log1p((filled - frequency + 0.5) / (frequency + 0.5))
        norm = k1 * (1 - b + b * lengths / max(1.0, lengths.sum() / filled))
        weights = idf[columns] * counts * (k1 + 1) / (counts + norm[rows])
        places = Ragged.from_lengths(columns, np.bincount(rows, minlength=len(documents)))
        return cls(SparseRows(places, counts.astype(np.float32), width), SparseRows(places, weights.astype(np.float32), width), words)

    def score(self, histories: Ragged, candidates: Ragged) -> FloatArray:
        """Return the score of each candidate's text for its history's texts, the mean over the history's items, ``[total candidates]``."""
        return overlap(self.counts, self.weights, histories, candidates)

    def score_terms(self, query: IntArray) -> FloatArray:
        """Return the score of every row's text for the terms of a query, ``[n_items + 1]``; terms that no text holds count nothing."""
        known = query[np.isin(query, self.words)]
        asked = np.bincount(np.searchsorted(self.words, known), minlength=len(self.words))
        rows = self.weights
        return np.bincount(rows.terms.rows, rows.values * asked[rows.terms.values], minlength=len(rows.terms)).astype(np.float32)


def shared_labels(labels: Ragged, histories: Ragged, candidates: Ragged) -> FloatArray:
    """Return, for each candidate, the share of its history's items that have its label, the mean over its labels, ``[total candidates]``.

    Args:
        labels: label numbers, row ``i`` is inner item id ``i``, row 0 empty; distinct within a row.
        histories: ``n`` rows of inner ids.
        candidates: ``n`` rows of inner ids; 0 for one without labels.
    """
    width = int(labels.values.max(initial=0)) + 1
    ones = SparseRows(labels, np.ones(len(labels.values), np.float32), width)
    each = (1.0 / np.maximum(labels.lengths, 1)).astype(np.float32)
    return overlap(ones, SparseRows(labels, each[labels.rows], width), histories, candidates)

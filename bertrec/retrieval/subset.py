"""Exact search of some rows of a table of vectors: where they are few, they are gathered once, and only they are looked at."""

from __future__ import annotations

import numpy as np

from bertrec.core.products import row_lengths
from bertrec.core.ragged import Ragged
from bertrec.retrieval.exact import BoolArray, FloatArray, IntArray
from bertrec.retrieval.scan import search_vectors

_GATHERED = 0.5  # up to such a share of all rows is copied


class Subset:
    """Some rows of a table of vectors, with what is added to their scores.

    Args:
        vectors: ``[n, d]``.
        alive: ``[n]``, which rows these are.
        boost: ``[n]``, added to the scores; None adds nothing.
    """

    def __init__(self, vectors: FloatArray, alive: BoolArray, boost: FloatArray | None = None) -> None:
        self._rows = np.flatnonzero(alive)
        self._gathered = boost is not None or len(self._rows) <= _GATHERED * len(vectors)
        self._alive = np.ones(len(self._rows), bool) if self._gathered else alive
        self._vectors = np.ascontiguousarray(vectors[self._rows], np.float32) if self._gathered else vectors
        self._boosted = boost is not None
        if boost is not None:  # one more dimension, in which every query is 1
            self._vectors = np.concatenate([self._vectors, boost[self._rows, None]], axis=1)
        self._largest_norm = float(row_lengths(self._vectors).max(initial=0.0))
        self._place = np.full(len(vectors), -1, np.int64)
        self._place[self._rows] = np.arange(len(self._rows)) if self._gathered else self._rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes that are held beside the table."""
        return self._place.nbytes + self._rows.nbytes + (self._vectors.nbytes if self._gathered else 0)

    def search(self, queries: FloatArray, k: int, banned: Ragged) -> tuple[IntArray, FloatArray]:
        """Return positions and scores of the ``k`` best rows, ``[b, k]``, equal scores by lower position; -1 and ``-inf`` where none is.

        Args:
            queries: ``[b, d]``.
            k: at least 1.
            banned: positions that must not be returned, a row for each query; others than these rows do no harm.
        """
        if self._boosted:
            queries = np.concatenate([queries, np.ones((len(queries), 1), np.float32)], axis=1)
        at = self._place[banned.values]
        hidden = Ragged(at, banned.offsets).where(at >= 0)
        found, scores = search_vectors(queries, self._vectors, k, alive=self._alive, banned=hidden, largest_norm=self._largest_norm)
        if self._gathered and len(self._rows):
            found = np.where(found >= 0, self._rows[found], -1)
        return found, scores

"""Exact search of a model's item vectors, with seen items left out and lifted ones in their places."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bertrec.core.distinct import among
from bertrec.core.errors import DataError
from bertrec.core.lifts import Lifts
from bertrec.core.products import FloatArray, pair_scores
from bertrec.core.ragged import IntArray, Ragged
from bertrec.evaluation.ranks import pair_keys
from bertrec.retrieval.checks import unit_length
from bertrec.retrieval.scan import place_best, search_vectors
from bertrec.retrieval.subset import Subset

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog


def listable(vectors: FloatArray, catalog: ItemCatalog) -> FloatArray:
    """Return the vectors of the items of a catalogue, ``[n_items + 1, d]``, with NaN for those that are withdrawn: no list holds them."""
    return vectors if catalog.withdrawn is None else np.where(catalog.listed[:, None], vectors, np.float32(np.nan))


class BestItems:
    """Exact search of a model's item vectors by inner id, with seen items left out and lifted ones in their places.

    Args:
        vectors: ``[n_items + 1, d]``; row 0 is padding, a row with NaN is an item without a score.
    """

    def __init__(self, vectors: FloatArray) -> None:
        known = np.asarray(~np.isnan(vectors).any(axis=1))
        known[0] = False
        self._known = known
        self._vectors = np.ascontiguousarray(np.where(known[:, None], vectors, np.float32(0)), dtype=np.float32)
        self._largest_norm = float(np.linalg.norm(self._vectors, axis=1).max(initial=0.0))
        self._boost: FloatArray | None = None
        self._subset: Subset | None = None

    def within(self, candidates: npt.NDArray[np.bool_], boost: FloatArray | None) -> BestItems:
        """Return a search of these items alone, with what is added to the score of each; both ``[n_items + 1]``."""
        other = copy.copy(self)
        other._known, other._boost = self._known & candidates, boost
        other._subset = Subset(self._vectors, other._known, boost)
        return other

    def __len__(self) -> int:
        """How many items can be found."""
        return int(self._known.sum())

    @property
    def nbytes(self) -> int:
        """Bytes that a search of some items holds beside all vectors."""
        return 0 if self._subset is None else self._subset.nbytes

    def directions(self, items: IntArray) -> FloatArray:
        """Return the vectors of items, ``[m, d]``, scaled to length 1 where they have any."""
        return unit_length(self._vectors[items])

    def search(
        self,
        users: FloatArray,
        k: int,
        *,
        seen: Ragged | None = None,
        lifts: Lifts | None = None,
        candidates: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[IntArray, FloatArray]:
        """Return inner ids and scores of the ``k`` best items of each user, 0 and ``-inf`` where there are no more.

        Args:
            users: ``[b, d]``.
            k: at least 1.
            seen: inner ids to leave out; None leaves nothing out.
            lifts: what is added to the scores of some items.
            candidates: ``[n_items + 1]``; None allows the whole catalogue.
        """
        if users.shape[1:] != self._vectors.shape[1:]:
            raise DataError(f"user vectors have {users.shape[-1]} dimensions, the model's {self._vectors.shape[1]}")
        alive = self._known if candidates is None else self._known & candidates
        gone = self._checked(seen, len(users))
        lifted = None if lifts is None else self._listable(lifts, gone, alive, len(users))
        banned = gone if lifted is None else self._both(gone, lifted.items)
        if self._subset is not None and candidates is None:
            items, scores = self._subset.search(users, k, banned)
        else:
            items, scores = search_vectors(users, self._vectors, k, alive=alive, banned=banned, largest_norm=self._largest_norm)
        items[items < 0] = 0
        return (items, scores) if lifted is None else merged(items, scores, lifted.items, self.lifted_scores(users, lifted))

    def lifted_scores(self, users: FloatArray, lifts: Lifts) -> FloatArray:
        """Return the scores of the lifted pairs, lifts included, ``[total]``."""
        scores = pair_scores(users, self._vectors, lifts.items.rows, lifts.items.values) + lifts.values
        return scores if self._boost is None else scores + self._boost[lifts.items.values]

    def _checked(self, rows: Ragged | None, count: int) -> Ragged:
        if rows is None:
            return Ragged(np.zeros(0, np.int64), np.zeros(count + 1, np.int64))
        if len(rows) != count or (len(rows.values) and (rows.values.min() < 0 or rows.values.max() >= len(self._known))):
            raise DataError(f"histories must be {count} rows of inner ids up to {len(self._known) - 1}")
        return rows

    def _listable(self, lifts: Lifts, gone: Ragged, alive: npt.NDArray[np.bool_], count: int) -> Lifts:
        self._checked(lifts.items, count)
        width = len(self._known)
        return lifts.where(alive[lifts.items.values] & ~among(pair_keys(lifts.items, width), pair_keys(gone, width)))

    def _both(self, one: Ragged, other: Ragged) -> Ragged:
        width = len(self._known)
        rows, items = np.divmod(np.sort(np.concatenate([pair_keys(one, width), pair_keys(other, width)])), width)
        return Ragged.from_lengths(items, np.bincount(rows, minlength=len(one)))


def merged(items: IntArray, scores: FloatArray, lifted: Ragged, lifted_scores: FloatArray) -> tuple[IntArray, FloatArray]:
    """Put lifted items in their places among the others, equal scores by the smaller id.

    Args:
        items: ``[b, k]``, none of them lifted; 0 where there are no more.
        scores: ``[b, k]``, ``-inf`` where there are no more.
        lifted: ``b`` rows of items.
        lifted_scores: ``[total lifted]``.

    Returns:
        Items and scores of the ``k`` best of both, as they came.
    """
    there = np.isfinite(scores)
    reached = lifted_scores >= scores.min(axis=1, initial=np.inf)[lifted.rows]  # the others are below k items already
    lifted, lifted_scores = lifted.where(reached), lifted_scores[reached]
    rows = np.concatenate([np.nonzero(there)[0], lifted.rows])
    order = np.argsort(rows, kind="stable")
    found, values = np.full(items.shape, -1, np.int64), np.full(scores.shape, -np.inf, np.float32)
    all_items, all_scores = np.concatenate([items[there], lifted.values]), np.concatenate([scores[there], lifted_scores])
    place_best(rows[order], all_items[order], all_scores[order], found, values)
    found[found < 0] = 0
    return found, values

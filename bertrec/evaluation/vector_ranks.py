"""Ranks straight from user and item vectors: no score matrix, only blocks of scores that stay in the cache.

The score of a pair is its inner product summed on its own (`bertrec.core.products.pair_scores`), in float32. A matrix product rounds the
same pair differently in blocks of different shapes, so it only tells the items that are surely above a target from those that surely are
not; what lies within its rounding bound of the target, a few items per user, is scored again pair by pair. So a rank
depends on nothing but the user's vector and the items', and is what `rank_targets` gives for the full matrix of such scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from bertrec.core.distinct import distinct, without
from bertrec.core.errors import DataError, NotFiniteError
from bertrec.core.lifts import Lifts
from bertrec.core.products import FloatArray, pair_scores, row_lengths
from bertrec.core.ragged import IntArray, Ragged
from bertrec.evaluation.count_above import TargetScores, count_above
from bertrec.evaluation.ranks import BoolArray, check_items, check_range, count_candidates, pair_keys, place_among_targets


@dataclass(frozen=True)
class RankedItems:
    """The items that targets are ranked among, made once for all users.

    Attributes:
        vectors: ``[n_items + 1, d]`` float32; zeros for padding and for items without a score.
        known: ``[n_items + 1]``: whether an item has a score.
        candidates: ``[n_items + 1]``, or None for the whole catalogue.
        counted: ``[m + 1, d]``: the vectors of the candidates that have a score, after a row of padding.
        largest_norm: the largest length of a row.
    """

    vectors: FloatArray
    known: BoolArray
    candidates: BoolArray | None
    counted: FloatArray
    largest_norm: float

    @classmethod
    def of(cls, vectors: npt.ArrayLike, candidates: BoolArray | None = None) -> Self:
        """Take item vectors ``[n_items + 1, d]``; row 0 is padding, a row with NaN is an item without a score.

        Raises:
            DataError: no such table, or a mask of another length.
            NotFiniteError: a value is infinite; the item is named.
        """
        table = np.array(vectors, dtype=np.float32, order="C")
        if table.ndim != 2 or len(table) < 2 or not table.shape[1]:
            raise DataError(f"item vectors must be [n_items + 1, dimensions], not of shape {list(table.shape)}")
        if candidates is not None and candidates.shape != (len(table),):
            raise DataError(f"candidates must be a mask of {len(table)} items, as the vectors are, not of shape {list(candidates.shape)}")
        table[0] = 0
        norms = row_lengths(table)
        known = ~np.isnan(norms)
        table[~known] = norms[~known] = 0
        if np.isinf(norms).any():
            item = int(np.argmax(norms))
            raise NotFiniteError(f"the vector of item {item} holds an infinite value (look for a diverged training)")
        kept = known.copy() if candidates is None else known & candidates
        kept[0], known[0] = True, False  # padding stays the first row
        counted = table if kept.all() else table[kept]
        return cls(table, known, candidates, counted, float(norms.max()))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def inside(self) -> BoolArray:
        """Whether an item is in ``counted``, ``[n_items + 1]``."""
        return self.known if self.candidates is None else self.known & self.candidates


def rank_vectors(
    users: npt.ArrayLike,
    items: RankedItems,
    targets: Ragged,
    *,
    seen: Ragged | None = None,
    lifts: Lifts | None = None,
    names: Sequence[str | int] | None = None,
    first_row: int = 0,
) -> IntArray:
    """Return the rank, from 1, of every target, as `bertrec.evaluation.ranks.rank_targets` does for scores.

    Args:
        users: ``[b, d]`` user vectors.
        items: the items, with the candidates among them.
        targets: ``b`` rows of distinct inner item ids.
        seen: ``b`` rows of inner item ids that are no candidates unless they are targets; None masks nothing.
        lifts: ``b`` rows of items whose scores get something added.
        names: ``[b]`` names of the users for error texts.
        first_row: the number of the first row, for error texts.

    Returns:
        ``[total targets]`` int64, in the order of ``targets.values``.

    Raises:
        DataError: shapes that do not fit, a target outside the candidates or twice in a row.
        NotFiniteError: a user vector is not finite, or so large that scores are not; the row is named.

    >>> items = RankedItems.of([[0.0], [0.5], [0.7], [0.5]])
    >>> rank_vectors([[2.0]], items, Ragged.from_rows([[1]]))
    array([3])
    """
    queries = _checked_users(users, items, names, first_row)
    shape = (len(queries), len(items))
    check_items(targets, shape, items.candidates, first_row=first_row)
    for rows, what in ((seen, "seen items"), (None if lifts is None else lifts.items, "lifted items")):
        if rows is not None:
            check_range(rows, shape, what)
    case = _Case(queries, items, targets, seen, lifts)
    scores, scored = case.scores(targets.rows, targets.values), items.known[targets.values]
    above = np.empty(len(scores), np.int64)
    above[scored] = case.count(targets if scored.all() else targets.where(scored), scores[scored])
    if not scored.all():  # after every candidate that is no target
        total = count_candidates(targets, n_items=len(items) - 1, seen=seen, candidates=items.candidates) - targets.lengths
        above[~scored] = total[targets.rows[~scored]]
        scores[~scored] = -np.inf
    return above + place_among_targets(scores, targets.rows, targets.offsets) + 1


def _checked_users(users: npt.ArrayLike, items: RankedItems, names: Sequence[str | int] | None, first_row: int) -> FloatArray:
    queries = np.ascontiguousarray(users, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != items.vectors.shape[1]:
        raise DataError(f"user vectors of shape {list(queries.shape)} do not fit item vectors of {items.vectors.shape[1]} dimensions")
    with np.errstate(over="ignore", invalid="ignore"):
        largest = row_lengths(queries) * items.largest_norm
    bad = np.flatnonzero(~(largest < np.finfo(np.float32).max / 4))
    if len(bad):
        who = f" (user {names[bad[0]]!r})" if names is not None else ""
        raise NotFiniteError(
            f"row {first_row + bad[0]}{who}: the user vector gives scores that are not finite in float32 "
            "(look for a diverged training or a fully masked attention row)"
        )
    return queries


@dataclass(frozen=True)
class _Case:
    """Everything beside the plain count: what stands in it by mistake, and what is lifted."""

    users: FloatArray
    items: RankedItems
    targets: Ragged
    seen: Ragged | None
    lifts: Lifts | None

    def scores(self, rows: IntArray, columns: IntArray) -> FloatArray:
        """Return the scores, lifts included, of pairs of row and item."""
        scores = pair_scores(self.users, self.items.vectors, rows, columns)
        return scores if self.lifts is None else scores + self.lifts.of(rows, columns)

    def count(self, targets: Ragged, scores: FloatArray) -> IntArray:
        """Return for targets that have a score how many candidates that are no targets score at least as high."""
        wanted = TargetScores.of(self.users, self.items.counted, self.items.largest_norm, targets, scores)
        at = (targets.rows, scores)
        if wanted.hides(sum(len(rows.values) for rows in self.parts)):
            return count_above(wanted, self.places()) + self.lifted(at)
        return count_above(wanted) - self.mistaken(at) + self.lifted(at)

    @property
    def parts(self) -> list[Ragged]:
        """What stands in the plain count by mistake: targets, seen items, lifted items."""
        lifted = None if self.lifts is None else self.lifts.items
        return [rows for rows in (self.targets, self.seen, lifted) if rows is not None]

    def places(self) -> list[Ragged]:
        """Return where they stand in ``items.counted``, 0 where they do not."""
        if len(self.items.counted) == len(self.items):  # at their own numbers
            return self.parts
        place = np.where(self.items.inside, np.cumsum(self.items.inside), 0)
        return [Ragged(place[rows.values], rows.offsets) for rows in self.parts]

    def mistaken(self, at: tuple[IntArray, FloatArray]) -> IntArray:
        """Return for the targets ``at`` (row numbers and scores) how many of them, without any lift, score at least as high."""
        keys = self._counted(distinct(np.concatenate([self._keys(rows) for rows in self.parts])))
        rows, columns = np.divmod(keys, len(self.items))
        return _at_or_above((rows, pair_scores(self.users, self.items.vectors, rows, columns)), at, len(self.users))

    def lifted(self, at: tuple[IntArray, FloatArray]) -> IntArray | int:
        """Return for the targets ``at`` how many lifted items that are candidates, lifts included, score at least as high."""
        if self.lifts is None:
            return 0
        others = np.concatenate([self._keys(rows) for rows in (self.targets, self.seen) if rows is not None])
        keys = self._counted(without(self._keys(self.lifts.items), others))
        rows, columns = np.divmod(keys, len(self.items))
        return _at_or_above((rows, self.scores(rows, columns)), at, len(self.users))

    def _keys(self, rows: Ragged) -> IntArray:
        return pair_keys(rows, len(self.items))

    def _counted(self, keys: IntArray) -> IntArray:
        """Keep the pairs whose item is in the plain count."""
        return keys[self.items.inside[keys % len(self.items)]]


def _one_each(rows: IntArray, n_rows: int) -> bool:
    return len(rows) == n_rows and bool(np.array_equal(rows, np.arange(n_rows)))


def _at_or_above(others: tuple[IntArray, FloatArray], targets: tuple[IntArray, FloatArray], n_rows: int) -> IntArray:
    """Return for each target how many of the others of its row score at least as high; both are ``(row numbers, scores)``."""
    if _one_each(targets[0], n_rows):  # as a rule: nothing to sort
        return np.bincount(others[0][others[1] >= targets[1][others[0]]], minlength=n_rows)
    rows, scores = np.concatenate([others[0], targets[0]]), np.concatenate([others[1], targets[1]])
    is_target = np.arange(len(rows)) >= len(others[0])
    order = np.lexsort((is_target, -scores, rows))
    until = np.empty(len(rows), np.int64)
    until[order] = np.cumsum(~is_target[order])
    before = np.concatenate([[0], np.cumsum(np.bincount(others[0], minlength=n_rows))])
    return until[len(others[0]) :] - before[targets[0]]

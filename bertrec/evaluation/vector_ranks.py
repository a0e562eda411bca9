"""Ranks straight from user and item vectors: no score matrix, only blocks of scores that stay in the cache.

The score of a pair is its inner product summed on its own (`bertrec.core.products.pair_scores`), in float32. A matrix product rounds the
same pair differently in blocks of different shapes, so it only tells the items that are surely above a target from those that surely are
not; what lies within its rounding bound of the target, a few items a user, is scored again pair by pair. So a rank depends on nothing but
the user's vector and the items', and is what `rank_targets` gives for the full matrix of such scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bertrec.core.distinct import among, distinct, without
from bertrec.core.errors import DataError, NotFiniteError
from bertrec.core.products import FloatArray, in_threads, pair_scores, rounding_bound
from bertrec.core.ragged import IntArray, Ragged
from bertrec.evaluation.ranks import BoolArray, check_items, check_range, count_candidates, pair_keys, place_among_targets

_ITEMS_AT_ONCE = 255  # what counts in one byte
_USERS_AT_ONCE = 1024  # times 255 float32 scores: 1 MiB
_FEWEST_USERS = 256
_NEAR_AT_ONCE = 1 << 18
_PAIRS_COST = 64  # a pair scored on its own costs about as much as so many scores of a matrix product
_MOST_PLACES = 1 << 15  # what counts in two bytes, which sort several times faster than eight


@dataclass(frozen=True)
class RankedItems:
    """The items that targets are ranked among, made once for all users.

    Attributes:
        vectors: ``[n_items + 1, d]`` float32; zeros for padding and for items without a score.
        known: ``[n_items + 1]``: whether an item has a score.
        candidates: ``[n_items + 1]``, or None for the whole catalogue.
        counted: ``[m, d]``, the vectors of the candidates that have a score.
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
        table = np.array(vectors, dtype=np.float32)
        if table.ndim != 2 or len(table) < 2 or not table.shape[1]:
            raise DataError(f"item vectors must be [n_items + 1, dimensions], not of shape {list(table.shape)}")
        if candidates is not None and candidates.shape != (len(table),):
            raise DataError(f"candidates must be a mask of {len(table)} items, as the vectors are, not of shape {list(candidates.shape)}")
        table[0] = np.nan
        known = np.asarray(~np.isnan(table).any(axis=1))
        table[~known] = 0
        if not np.isfinite(table).all():
            item = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
            raise NotFiniteError(f"the vector of item {item} holds an infinite value (look for a diverged training)")
        norms = np.linalg.norm(table.astype(np.float64), axis=1)
        counted = table[known if candidates is None else known & candidates]
        return cls(table, known, candidates, counted, float(norms.max()))

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def inside(self) -> BoolArray:
        """Whether an item is in ``counted``, ``[n_items + 1]``."""
        return self.known if self.candidates is None else self.known & self.candidates

    @property
    def few(self) -> bool:
        """Whether places in ``counted`` are numbers of two bytes."""
        return len(self.counted) < _MOST_PLACES


def rank_vectors(
    users: npt.ArrayLike,
    items: RankedItems,
    targets: Ragged,
    *,
    seen: Ragged | None = None,
    repeats: Ragged | None = None,
    repeat_bias: float = 0.0,
    names: Sequence[str | int] | None = None,
    first_row: int = 0,
) -> IntArray:
    """Return the rank, from 1, of every target, as `bertrec.evaluation.ranks.rank_targets` does for scores.

    Args:
        users: ``[b, d]`` user vectors.
        items: the items, with the candidates among them.
        targets: ``b`` rows of distinct inner item ids.
        seen: ``b`` rows of inner item ids that are no candidates unless they are targets; None masks nothing.
        repeats: ``b`` rows of inner item ids whose scores get ``repeat_bias``; repeats count once.
        repeat_bias: see ``repeats``.
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
    for rows, what in ((seen, "seen items"), (repeats, "repeats")):
        if rows is not None:
            check_range(rows, shape, what)
    case = _Case(queries, items, targets, seen, repeats if repeat_bias else None, np.float32(repeat_bias))
    wanted = case.scores(pair_keys(targets, len(items)))
    scored = items.known[targets.values]
    at = (targets.rows[scored], wanted[scored])
    hidden = case.places() if items.few and case.pairs * _PAIRS_COST >= len(queries) * len(items) else None
    found = _count_all(queries, items, targets.where(scored), wanted[scored], hidden)
    if hidden is None:
        found -= case.mistaken(at)
    above = np.zeros(len(wanted), np.int64)
    above[scored] = found + case.lifted(at)
    if not scored.all():  # after every candidate that is no target
        total = count_candidates(targets, n_items=len(items) - 1, seen=seen, candidates=items.candidates) - targets.lengths
        above[~scored] = total[targets.rows[~scored]]
        wanted[~scored] = -np.inf
    return above + place_among_targets(wanted, targets.rows, targets.offsets) + 1


def _checked_users(users: npt.ArrayLike, items: RankedItems, names: Sequence[str | int] | None, first_row: int) -> FloatArray:
    queries = np.ascontiguousarray(users, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != items.vectors.shape[1]:
        raise DataError(f"user vectors of shape {list(queries.shape)} do not fit item vectors of {items.vectors.shape[1]} dimensions")
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.linalg.norm(queries.astype(np.float64), axis=1) * items.largest_norm
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
    """Everything beside the plain count: what stands in it by mistake, and what the repeat bias lifts."""

    users: FloatArray
    items: RankedItems
    targets: Ragged
    seen: Ragged | None
    repeats: Ragged | None
    bias: np.float32

    def scores(self, keys: IntArray) -> FloatArray:
        """Return the scores, bias included, of (row, item) pairs given as keys."""
        rows, columns = np.divmod(keys, len(self.items))
        scores = pair_scores(self.users, self.items.vectors, rows, columns)
        if self.repeats is not None:
            scores[among(keys, self._keys(self.repeats))] += self.bias
        return scores

    @property
    def parts(self) -> list[Ragged]:
        """What stands in the plain count by mistake: targets, seen items, repeats."""
        return [rows for rows in (self.targets, self.seen, self.repeats) if rows is not None]

    @property
    def pairs(self) -> int:
        """How many that are."""
        return sum(len(rows.values) for rows in self.parts)

    def places(self) -> list[Ragged]:
        """Return where they stand in ``items.counted``, -1 where they do not."""
        place = np.where(self.items.inside, np.cumsum(self.items.inside) - 1, -1)
        return [Ragged(place[rows.values], rows.offsets) for rows in self.parts]

    def mistaken(self, at: tuple[IntArray, FloatArray]) -> IntArray:
        """Return for the targets ``at`` (row numbers and scores) how many of them, without any bias, score at least as high."""
        keys = self._counted(distinct(np.concatenate([self._keys(rows) for rows in self.parts])))
        rows, columns = np.divmod(keys, len(self.items))
        return _at_or_above((rows, pair_scores(self.users, self.items.vectors, rows, columns)), at, len(self.users))

    def lifted(self, at: tuple[IntArray, FloatArray]) -> IntArray | int:
        """Return for the targets ``at`` how many repeats that are candidates, bias included, score at least as high."""
        if self.repeats is None:
            return 0
        others = np.concatenate([self._keys(rows) for rows in (self.targets, self.seen) if rows is not None])
        keys = self._counted(without(self._keys(self.repeats), others))
        return _at_or_above((keys // len(self.items), self.scores(keys)), at, len(self.users))

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


def _count_all(users: FloatArray, items: RankedItems, targets: Ragged, wanted: FloatArray, hidden: Sequence[Ragged] | None) -> IntArray:
    """Return for each target how many items of ``items.counted`` score at least ``wanted``, ``[total]``.

    Each of ``hidden`` holds, a row a user, the places there of items that are not counted.
    """
    import torch

    # Users by falling number of targets: in each block those with a second, third … target are its first columns.
    order = np.argsort(-targets.lengths, kind="stable")
    order = order[targets.lengths[order] > 0]
    bound = rounding_bound(users, items.largest_norm)[:, 0]
    counts = np.empty(len(wanted), np.int64)

    def work(rows: IntArray) -> None:
        at = targets.offsets[rows]
        columns = _Columns(users[rows], wanted, at, targets.lengths[rows], bound[rows])
        gone = _by_place([places.take(rows) for places in hidden or ()], len(rows))
        for place, found in enumerate(columns.count(items.counted, gone)):
            counts[at[: len(found)] + place] = found

    # Fewer users a block than fit, where a thread would have none.
    size = min(_USERS_AT_ONCE, max(_FEWEST_USERS, -(-len(order) // torch.get_num_threads())))
    in_threads(work, [order[start : start + size] for start in range(0, len(order), size)])
    return counts


def _by_place(parts: Sequence[Ragged], width: int) -> IntArray:
    """Return ``place * width + row`` of all values, by rising place, those of -1 left out."""
    if not parts:
        return np.zeros(0, np.int64)
    places, rows = (np.concatenate(arrays) for arrays in zip(*((part.values, part.rows) for part in parts), strict=True))
    order = np.argsort(places.astype(np.int16), kind="stable")
    return (places * width + rows)[order[np.count_nonzero(places < 0) :]]


class _Columns:
    """A block of users, one a column of the score blocks, with the limits of each of their targets."""

    def __init__(self, users: FloatArray, wanted: FloatArray, at: IntArray, lengths: IntArray, bound: FloatArray) -> None:
        self.users = users
        widths = [int(np.count_nonzero(lengths > place)) for place in range(int(lengths[0]))]
        self.wanted = [wanted[at[:width] + place] for place, width in enumerate(widths)]
        # Where the bound is 0 the product is exact and nothing is near; elsewhere the limits are moved out by their own rounding.
        free = bound > 0
        self.low, self.high = [], []
        for score in self.wanted:
            own, spread = free[: len(score)], bound[: len(score)]
            self.low.append(np.where(own, np.nextafter(score - spread, np.float32(-np.inf)), score))
            self.high.append(np.where(own, np.nextafter(score + spread, np.float32(np.inf)), score))
        self.counts = [np.zeros(len(score), np.int64) for score in self.wanted]

    def count(self, vectors: FloatArray, gone: IntArray) -> list[IntArray]:
        """Return for each place among a user's targets the counts of the users that have one there.

        ``gone`` are the cells of ``[len(vectors), b]`` that are not counted, in the order of their rows.
        """
        import torch

        table, queries = torch.from_numpy(vectors), torch.from_numpy(self.users).T
        width = len(self.users)
        scores = torch.empty(min(_ITEMS_AT_ONCE, len(vectors)), width)
        flags = np.empty(scores.shape, np.bool_)
        near: list[tuple[int, IntArray, IntArray]] = []
        for start in range(0, len(vectors), _ITEMS_AT_ONCE):
            part = table[start : start + _ITEMS_AT_ONCE]
            torch.mm(part, queries, out=scores[: len(part)])
            if len(gone):
                first, last = np.searchsorted(gone, [start * width, (start + len(part)) * width])
                scores.view(-1).numpy()[gone[first:last] - start * width] = -np.inf
            for place in range(len(self.wanted)):
                rows, columns = self._count_block(scores.numpy()[: len(part)], flags[: len(part)], place)
                if len(rows):
                    near.append((place, start + rows, columns))
            if sum(len(rows) for _, rows, _ in near) > _NEAR_AT_ONCE:
                self._settle(near, vectors)
                near = []
        self._settle(near, vectors)
        return self.counts

    def _count_block(self, scores: FloatArray, flags: npt.NDArray[Any], place: int) -> tuple[IntArray, IntArray]:
        """Count what is surely above; return rows and columns of what is too near the target to say."""
        width = len(self.wanted[place])
        scores, flags = scores[:, :width], flags[:, :width]
        sure = _column_sums(np.greater_equal(scores, self.high[place], out=flags))
        self.counts[place] += sure
        columns = np.flatnonzero(_column_sums(np.greater_equal(scores, self.low[place], out=flags)) != sure)
        if not len(columns):
            return columns, columns
        some = scores[:, columns]
        rows, which = np.nonzero((some >= self.low[place][columns]) & (some < self.high[place][columns]))
        return rows, columns[which]

    def _settle(self, near: list[tuple[int, IntArray, IntArray]], vectors: FloatArray) -> None:
        for place in range(len(self.wanted)):
            found = [(rows, columns) for at, rows, columns in near if at == place]
            if found:
                rows, columns = (np.concatenate(parts) for parts in zip(*found, strict=True))
                above = pair_scores(self.users, vectors, columns, rows) >= self.wanted[place][columns]
                self.counts[place] += np.bincount(columns[above], minlength=len(self.wanted[place]))


def _column_sums(flags: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.add.reduce(flags.view(np.uint8), axis=0, dtype=np.uint8)

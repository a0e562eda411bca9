"""How many items score at least as high as each target: counted in blocks of a matrix product that stay in the cache.

Few items are counted with one user per row, all of them at once: what does not count is then overwritten where it
stands, in any order. With more items such rows would be too few for a fast product: there a block holds some of the
items, one item per row, for many users, and what does not count is sorted by item first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from bertrec.core.devices import computed_there
from bertrec.core.products import FloatArray, pair_scores, rounding_bound
from bertrec.core.ragged import IntArray, Ragged
from bertrec.core.threads import in_threads
from bertrec.evaluation.flags import BoolArray, cells_of, count_flags, flag_at_least, padded

if TYPE_CHECKING:
    import torch

_FEW_ITEMS = 1 << 12
_MOST_SORTED = 1 << 15  # what counts in two bytes, which sort several times faster than eight
_CELLS_AT_ONCE = 1 << 20  # float32 scores of users by few items: 4 MiB; with less, calls cost more than the cache saves
_CELLS_THERE = 1 << 26  # of an accelerator: 256 MiB
_ITEMS_AT_ONCE = 255  # what counts in one byte
_USERS_AT_ONCE = 1024  # times 255 float32 scores: 1 MiB
_FEWEST_USERS = 256
_NEAR_AT_ONCE = 1 << 18
_MOST_ALONE = 1 << 24  # multiplications, some half a millisecond of one thread: calling others would take about as long as they save
_PAIRS_COST = 64  # a pair scored on its own costs about as much as so many scores of a matrix product


@dataclass(frozen=True)
class TargetScores:
    """The targets to count for, and between which scores a matrix product cannot say whether an item counts.

    Attributes:
        users: ``[b, d]`` float32.
        table: ``[m + 1, d]`` float32, the items after a row of padding, which never counts.
        offsets: ``[b + 1]``, where each user's targets begin among all.
        scores: ``[total targets]``, of each pair on its own; an item of the same score counts.
        low: ``[total targets]``: an item below surely does not count.
        high: ``[total targets]``: an item from here on surely does.
    """

    users: FloatArray
    table: FloatArray
    offsets: IntArray
    scores: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, users: FloatArray, table: FloatArray, largest_norm: float, targets: Ragged, scores: FloatArray) -> Self:
        """Set the limits for a table whose longest row has the length ``largest_norm``."""
        bound = rounding_bound(users, largest_norm)[targets.rows, 0]
        # Where the bound is 0 the product is exact and nothing is near; elsewhere the limits are moved out by their own rounding.
        free = bound > 0
        low = np.where(free, np.nextafter(scores - bound, np.float32(-np.inf)), scores)
        high = np.where(free, np.nextafter(scores + bound, np.float32(np.inf)), scores)
        return cls(users, table, targets.offsets, scores, low, high)

    @property
    def few(self) -> bool:
        """Whether the items are few."""
        return len(self.table) <= _FEW_ITEMS

    def hides(self, pairs: int) -> bool:
        """Say whether so many pairs that do not count are better left out of the count than scored on their own and subtracted."""
        dense = pairs * _PAIRS_COST >= len(self.users) * len(self.table)
        return self.few or (dense and len(self.table) <= _MOST_SORTED)

    def order(self) -> IntArray:
        """Return the users with targets by falling number of these: in every block, those with a second, third … target come first."""
        lengths = np.diff(self.offsets)
        order = np.argsort(-lengths, kind="stable")
        return order[: np.count_nonzero(lengths)]

    def places(self, rows: IntArray) -> list[IntArray]:
        """Return the first target of each of these users, in `order`; the second of those that have one; and so on."""
        first, lengths = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        return [first[: np.count_nonzero(lengths > place)] + place for place in range(int(lengths[0]))]

    def settle(self, rows: IntArray, which: IntArray, at: IntArray, items: IntArray) -> IntArray:
        """Return for each target of ``which``, one of each of the users ``rows``, how many of the given pairs count.

        A pair is a place ``at`` in ``which`` and a row of the table, and is scored on its own.
        """
        above = pair_scores(self.users, self.table, rows[at], items) >= self.scores[which[at]]
        return np.bincount(at[above], minlength=len(which))


def count_above(wanted: TargetScores, hidden: Sequence[Ragged] = ()) -> IntArray:
    """Return for each target how many rows of the table, but for the first, score at least as high, ``[total targets]``.

    Each of ``hidden`` holds, one row per user, rows of the table that do not count, in any order and as often as they
    like. There may be such only where `TargetScores.hides`.
    """
    counts = np.empty(len(wanted.scores), np.int64)
    if computed_there(wanted.table.nbytes, lambda device: _count_there(wanted, hidden, counts, device)) is None:
        (_count_by_users if wanted.few else _count_by_items)(wanted, hidden, counts)
    return counts


def _count_there(wanted: TargetScores, hidden: Sequence[Ragged], counts: IntArray, device: torch.device) -> IntArray:
    """Count on an accelerator, in larger blocks, and return ``counts``; what is too near a target is settled here as ever."""
    import torch

    table, order = torch.from_numpy(wanted.table).to(device).T, wanted.order()
    size = max(1, _CELLS_THERE // len(wanted.table))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        scores = torch.from_numpy(wanted.users[rows]).to(device) @ table
        scores[:, 0] = -torch.inf
        for part in (places.take(rows) for places in hidden):
            at = (torch.from_numpy(array).to(device) for array in (part.rows, part.values))
            scores.index_put_(tuple(at), torch.tensor(-torch.inf, device=device))
        for which in wanted.places(rows):
            low, high = (torch.from_numpy(limit[which]).to(device)[:, None] for limit in (wanted.low, wanted.high))
            block = scores[: len(which)]
            near = ((block >= low) & (block < high)).nonzero().cpu().numpy()
            counts[which] = (block >= high).sum(1).cpu().numpy() + wanted.settle(rows, which, near[:, 0], near[:, 1])
    return counts


def _count_by_users(wanted: TargetScores, hidden: Sequence[Ragged], counts: IntArray) -> None:
    import torch

    order = wanted.order()
    if not np.array_equal(order, np.arange(len(wanted.users))):
        hidden = [places.take(order) for places in hidden]
    width = padded(len(wanted.table))
    items = np.zeros((wanted.table.shape[1], width), np.float32)  # an item per column: a faster product
    items[:, : len(wanted.table)] = wanted.table.T
    columns, most = torch.from_numpy(items), min(_USERS_AT_ONCE, max(1, _CELLS_AT_ONCE // width))
    alone = len(order) * items.size <= _MOST_ALONE
    threads = 1 if alone else torch.get_num_threads()
    blocks = threads * max(1, math.ceil(len(order) / (most * threads)))  # as many for each thread
    size = max(1, math.ceil(len(order) / blocks))

    def work(starts: Sequence[int]) -> None:
        scores, flags = torch.empty(size, width), np.empty((2, size, width), np.bool_)
        for start in starts:
            rows = order[start : start + size]
            block = torch.mm(torch.from_numpy(wanted.users[rows]), columns, out=scores[: len(rows)]).numpy()
            block[:, 0] = block[:, len(wanted.table) :] = -np.inf
            for places in hidden:
                block.reshape(-1)[cells_of(places, start, start + len(rows), width)] = -np.inf
            for which in wanted.places(rows):
                counts[which] = _count_rows(wanted, rows, which, block, flags[:, : len(which)])

    starts = range(0, len(order), size)
    in_threads(work, [starts[thread::threads] for thread in range(min(threads, len(starts)))], alone=alone)


def _count_rows(wanted: TargetScores, rows: IntArray, which: IntArray, scores: FloatArray, flags: BoolArray) -> IntArray:
    """Count for the targets ``which``, a row of scores each; the flags, as many twice, are for use here."""
    sure, maybe = flags
    flag_at_least(scores[: len(which)], wanted.high[which, None], sure)
    flag_at_least(scores[: len(which)], wanted.low[which, None], maybe)
    counts = count_flags(sure)
    unsure = np.flatnonzero(count_flags(maybe) != counts)
    if len(unsure):
        at, places = np.divmod(np.flatnonzero(sure[unsure] != maybe[unsure]), scores.shape[1])
        counts += wanted.settle(rows, which, unsure[at], places)
    return counts


def _count_by_items(wanted: TargetScores, hidden: Sequence[Ragged], counts: IntArray) -> None:
    import torch

    order = wanted.order()

    def work(rows: IntArray) -> None:
        gone = _by_place([places.take(rows) for places in hidden], len(rows))
        columns = _Columns(wanted, rows)
        columns.count(gone)
        for which, found in zip(columns.places, columns.counts, strict=True):
            counts[which] = found

    # Fewer users per block than fit, where a thread would have none.
    size = min(_USERS_AT_ONCE, max(_FEWEST_USERS, -(-len(order) // torch.get_num_threads())))
    in_threads(work, [order[start : start + size] for start in range(0, len(order), size)])


def _by_place(parts: Sequence[Ragged], width: int) -> IntArray:
    """Return ``(place - 1) * width + row`` of all values, by rising place, those of 0 left out."""
    if not parts:
        return np.zeros(0, np.int64)
    places, rows = (np.concatenate(arrays) for arrays in zip(*((part.values, part.rows) for part in parts), strict=True))
    order = np.argsort(places.astype(np.int16), kind="stable")
    return ((places - 1) * width + rows)[order[np.count_nonzero(places == 0) :]]


class _Columns:
    """A block of users, one per column of the score blocks, with the limits of each of their targets."""

    def __init__(self, wanted: TargetScores, rows: IntArray) -> None:
        self.wanted, self.rows, self.places = wanted, rows, wanted.places(rows)
        self.limits = [(wanted.low[which], wanted.high[which]) for which in self.places]
        self.counts = [np.zeros(len(which), np.int64) for which in self.places]

    def count(self, gone: IntArray) -> None:
        """Count all items; ``gone`` are the cells of ``[m, b]`` that do not count, in the order of their rows."""
        import torch

        table, queries = torch.from_numpy(self.wanted.table)[1:], torch.from_numpy(self.wanted.users[self.rows]).T
        width = len(self.rows)
        scores = torch.empty(min(_ITEMS_AT_ONCE, len(table)), width)
        flags = np.empty(scores.shape, np.bool_)
        near: list[tuple[int, IntArray, IntArray]] = []
        for start in range(0, len(table), _ITEMS_AT_ONCE):
            part = table[start : start + _ITEMS_AT_ONCE]
            torch.mm(part, queries, out=scores[: len(part)])
            if len(gone):
                first, last = np.searchsorted(gone, [start * width, (start + len(part)) * width])
                scores.view(-1).numpy()[gone[first:last] - start * width] = -np.inf
            for place in range(len(self.places)):
                rows, columns = self._count_block(scores.numpy()[: len(part)], flags[: len(part)], place)
                if len(rows):
                    near.append((place, start + 1 + rows, columns))
            if sum(len(rows) for _, rows, _ in near) > _NEAR_AT_ONCE:
                self._settle(near)
                near = []
        self._settle(near)

    def _count_block(self, scores: FloatArray, flags: BoolArray, place: int) -> tuple[IntArray, IntArray]:
        """Count what is surely above; return rows and columns of what is too near the target to say."""
        low, high = self.limits[place]
        scores, flags = scores[:, : len(low)], flags[:, : len(low)]
        flag_at_least(scores, high, flags)
        sure = _column_sums(flags)
        self.counts[place] += sure
        flag_at_least(scores, low, flags)
        columns = np.flatnonzero(_column_sums(flags) != sure)
        if not len(columns):
            return columns, columns
        some = scores[:, columns]
        rows, at = np.nonzero((some >= low[columns]) & (some < high[columns]))
        return rows, columns[at]

    def _settle(self, near: list[tuple[int, IntArray, IntArray]]) -> None:
        for place, which in enumerate(self.places):
            found = [(columns, rows) for at, rows, columns in near if at == place]
            if found:
                columns, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
                self.counts[place] += self.wanted.settle(self.rows, which, columns, rows)


def _column_sums(flags: BoolArray) -> npt.NDArray[np.uint8]:
    return np.add.reduce(flags.view(np.uint8), axis=0, dtype=np.uint8)

"""The nearest items of every item, and what they lend to the scores of a user who had those items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import numpy.typing as npt

from bertrec.core.lifts import FEW_PAIRS, Lifts
from bertrec.core.products import FloatArray, IntArray
from bertrec.core.ragged import Ragged
from bertrec.retrieval.index import ItemIndex

if TYPE_CHECKING:
    import torch
    from scipy.sparse import coo_array, csr_array

_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Neighbours:
    """A short list for every item: which items are nearest to it, and how near.

    Attributes:
        items: ``[n_items + 1, m]`` inner ids, the nearest first; 0 where there are fewer. Row 0 is padding.
        strengths: ``[n_items + 1, m]`` float32, never negative; 0 where there is no item.
    """

    items: IntArray
    strengths: FloatArray

    @classmethod
    def of(
        cls,
        vectors: FloatArray,
        m: int,
        *,
        cut: bool = False,
        progress: bool = False,
        listed: npt.NDArray[np.bool_] | None = None,
    ) -> Self:
        """Find the ``m`` items of the largest cosine for every item, itself left out; exactly below 200,000 items, then by HNSW.

        Args:
            vectors: ``[n_items, d]``; a vector of zeros has no neighbours and is nobody's.
            m: length of the lists.
            cut: take from each cosine that of the item after the last of its list, so that a strength falls to 0 at the end of a list; else
                a strength is the cosine, or 0 where that is negative.
            progress: show a bar while the index is built.
            listed: ``[n_items]``, which items may stand in lists; the others have lists all the same. None allows all.
        """
        items, strengths = np.zeros((len(vectors) + 1, m), np.int64), np.zeros((len(vectors) + 1, m), np.float32)
        there = np.flatnonzero(vectors.any(axis=1))
        if len(there) < 2:
            return cls(items, strengths)
        known = np.ascontiguousarray(vectors[there], dtype=np.float32)
        index = ItemIndex.build(known, there.tolist(), kind="auto", metric="cosine", progress=progress)
        if listed is not None and not listed[there].all():
            index.remove(there[~listed[there]].tolist())
        if not len(index):
            return cls(items, strengths)
        for start in range(0, len(there), _ROWS_AT_ONCE):
            part = np.arange(start, min(start + _ROWS_AT_ONCE, len(there)))
            found = index.search(known[part], m + 1, exclude=Ragged.from_lengths(part + 1, np.ones(len(part), np.int64)))
            cosines = np.where(found.positions >= 0, found.scores, np.float32(0))
            nearer = cosines[:, :m] - (np.maximum(cosines[:, m:], 0) if cut else 0)
            rows = there[part] + 1
            strengths[rows] = np.maximum(nearer, 0)
            items[rows] = np.where(strengths[rows] > 0, there[np.maximum(found.positions[:, :m], 0)] + 1, 0)
        return cls(items, strengths)

    @classmethod
    def together(cls, sequences: Ragged, n_items: int, m: int, *, decay: float = 0.8, window: int = 20) -> Self:
        """Find the ``m`` items that were most often taken by the same users, close to one another.

        Two interactions of a user that are g apart count ``decay^(g - 1)``. The strength of item i for item h is that count, divided by
        ``(n_h + 2)^.5 (n_i + 2)^.4`` where n is how often an item was taken: a cosine that leans a little to what is popular.

        Args:
            sequences: inner ids of each user, in order.
            n_items: size of the catalogue.
            m: length of the lists.
            decay: see above.
            window: pairs that are farther apart count nothing.
        """
        counts = _counted_together(sequences, n_items, decay, window)
        taken = np.bincount(sequences.values, minlength=n_items + 1) + 2.0
        counts.data *= taken[counts.row] ** -0.5 * taken[counts.col] ** -0.4
        order = np.lexsort((counts.col, -counts.data, counts.row))
        rows, columns, values = counts.row[order], counts.col[order], counts.data[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = place < m
        items, strengths = np.zeros((n_items + 1, m), np.int64), np.zeros((n_items + 1, m), np.float32)
        items[rows[kept], place[kept]], strengths[rows[kept], place[kept]] = columns[kept], values[kept]
        return cls(items, strengths)

    def scaled(self) -> Self:
        """Return the lists with strengths such that the first of a list is 1 in the mean over lists."""
        first = self.strengths.max(axis=1, initial=0)
        return self if not first.any() else replace(self, strengths=(self.strengths / first[first > 0].mean()).astype(np.float32))

    def without(self, gone: npt.NDArray[np.bool_]) -> Self:
        """Return the lists without the items ``gone [n_items + 1]``, neither their own lists nor their places in others."""
        kept = ~(gone[self.items] | gone[:, None])
        return replace(self, items=np.where(kept, self.items, 0), strengths=np.where(kept, self.strengths, np.float32(0)))

    def over(self, origin: IntArray) -> Self:
        """Return the lists over another catalogue.

        Args:
            origin: ``[m_items + 1]``, for each of its items the inner id here, 0 for a new one.
        """
        place = np.zeros(len(self.items), np.int64)
        place[origin] = np.arange(len(origin))
        place[0] = 0
        items = place[self.items[origin]]
        items[origin == 0] = 0
        return replace(self, items=items, strengths=np.where(items > 0, self.strengths[origin], np.float32(0)))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the lists as tensors, to be saved."""
        import torch

        return {"neighbours.items": torch.from_numpy(self.items.astype(np.int32)), "neighbours.strengths": torch.from_numpy(self.strengths)}

    @classmethod
    def from_state(cls, state: Mapping[str, torch.Tensor]) -> Self:
        """Take what `state_dict` gave."""
        return cls(state["neighbours.items"].numpy().astype(np.int64), state["neighbours.strengths"].numpy())

    def lifts(self, histories: Ragged, *, decay: float, form: Literal["sum", "max"] = "sum") -> Lifts:
        """Return what the items of each history lend to their neighbours, the newest one most.

        Args:
            histories: inner ids, oldest first.
            decay: what an item counts for each step that it is older.
            form: neighbours of several items get the sum, or the largest.
        """
        age = histories.offsets[1:][histories.rows] - 1 - np.arange(len(histories.values))
        faded = np.power(decay, age, dtype=np.float64)
        if form == "sum" and len(faded) * self.items.shape[1] >= FEW_PAIRS:
            from scipy.sparse import csr_array

            counted = csr_array((faded, histories.values, histories.offsets), shape=(len(histories), len(self.items)))
            return Lifts.of_table(counted @ self._table)
        values = self.strengths[histories.values] * faded[:, None]
        listed = self.items[histories.values]
        there = listed > 0
        rows = np.broadcast_to(histories.rows[:, None], listed.shape)[there]
        joined = Lifts.summed if form == "sum" else Lifts.largest
        return joined(rows, listed[there], values[there], len(histories))

    @cached_property
    def _table(self) -> csr_array:
        """The lists as a sparse table ``[n_items + 1, n_items + 1]``."""
        from scipy.sparse import csr_array

        there = self.items > 0
        offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        return csr_array((self.strengths[there].astype(np.float64), self.items[there], offsets), shape=(len(self.items),) * 2)


def _counted_together(sequences: Ragged, n_items: int, decay: float, window: int) -> coo_array:
    """Return the symmetric counts ``[n_items + 1, n_items + 1]`` of pairs of different items of one user."""
    from scipy.sparse import coo_array, csr_array

    values, rows = sequences.values, sequences.rows
    total = csr_array((n_items + 1, n_items + 1), dtype=np.float64)
    for apart in range(1, min(window, int(sequences.lengths.max(initial=0)) - 1) + 1):
        same = (rows[apart:] == rows[:-apart]) & (values[apart:] != values[:-apart])
        pairs = values[:-apart][same], values[apart:][same]
        total = total + csr_array((np.full(len(pairs[0]), decay ** (apart - 1)), pairs), shape=total.shape)
    return coo_array(total + total.T)

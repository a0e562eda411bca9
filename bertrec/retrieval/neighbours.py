"""The nearest items of every item, and what they lend to the scores of a user who had those items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from bertrec.core.lifts import Lifts
from bertrec.core.products import FloatArray, IntArray
from bertrec.core.ragged import Ragged
from bertrec.retrieval.index import ItemIndex

if TYPE_CHECKING:
    import torch

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
    def of(cls, vectors: FloatArray, m: int, *, cut: bool = False, progress: bool = False) -> Self:
        """Find the ``m`` items of the largest cosine for every item, itself left out; exactly below 200,000 items, then by HNSW.

        Args:
            vectors: ``[n_items, d]``; a vector of zeros has no neighbours and is nobody's.
            m: length of the lists.
            cut: take from each cosine that of the item after the last of its list, so that a strength falls to 0 at the end of a list; else
                a strength is the cosine, or 0 where that is negative.
            progress: show a bar while the index is built.
        """
        items, strengths = np.zeros((len(vectors) + 1, m), np.int64), np.zeros((len(vectors) + 1, m), np.float32)
        there = np.flatnonzero(vectors.any(axis=1))
        if len(there) < 2:
            return cls(items, strengths)
        known = np.ascontiguousarray(vectors[there], dtype=np.float32)
        index = ItemIndex.build(known, there.tolist(), kind="auto", metric="cosine", progress=progress)
        for start in range(0, len(there), _ROWS_AT_ONCE):
            part = np.arange(start, min(start + _ROWS_AT_ONCE, len(there)))
            found = index.search(known[part], m + 1, exclude=Ragged.from_lengths(part + 1, np.ones(len(part), np.int64)))
            cosines = np.where(found.positions >= 0, found.scores, np.float32(0))
            nearer = cosines[:, :m] - (np.maximum(cosines[:, m:], 0) if cut else 0)
            rows = there[part] + 1
            strengths[rows] = np.maximum(nearer, 0)
            items[rows] = np.where(strengths[rows] > 0, there[np.maximum(found.positions[:, :m], 0)] + 1, 0)
        return cls(items, strengths)

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
        values = self.strengths[histories.values] * np.power(decay, age, dtype=np.float64)[:, None]
        listed = self.items[histories.values]
        there = listed > 0
        rows = np.broadcast_to(histories.rows[:, None], listed.shape)[there]
        combined = Lifts.summed if form == "sum" else Lifts.largest
        return combined(rows, listed[there], values[there], len(histories))

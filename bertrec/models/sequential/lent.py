"""What known items lend to the vector of a new one: the mean vector of those with the nearest texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from bertrec.core.products import FloatArray, IntArray
from bertrec.retrieval.index import ItemIndex

NEAREST_KNOWN = 3
"""How many known items lend to a new one."""
_ITEMS, _VECTORS = "match.lent.items", "match.lent.vectors"


@dataclass(frozen=True, eq=False)
class LentVectors:
    """Vectors as such and not the places of known items, so that a new item has the same ones in any catalogue.

    Attributes:
        items: ``[m]`` inner ids of new items, ascending.
        vectors: ``[m, d]`` what is lent to each.
    """

    items: IntArray
    vectors: FloatArray

    @classmethod
    def of(cls, texts: FloatArray, new: IntArray, known_texts: FloatArray, known_vectors: FloatArray) -> Self | None:
        """Let known items lend: the `NEAREST_KNOWN` of the largest cosine, each weighed by its square; None where nobody lends.

        Exact below 200,000 known items, by HNSW from there on.

        Args:
            texts: of new items, ``[m, t]``.
            new: their inner ids, ascending, ``[m]``.
            known_texts: ``[k, t]``.
            known_vectors: ``[k, d]``.
        """
        known, asked = known_texts.any(axis=1), texts.any(axis=1)  # a text of zeros is near to nobody
        if not known.any() or not asked.any():
            return None
        lenders, new = known_vectors[known], new[asked]
        index = ItemIndex.build(known_texts[known], range(len(lenders)), kind="auto", metric="cosine")
        found = index.search(texts[asked], min(NEAREST_KNOWN, len(lenders)))
        shares = np.where(found.positions >= 0, np.maximum(found.scores, 0), 0).astype(np.float32) ** 2
        lent = shares.sum(axis=1) > 0
        shares, positions = shares[lent] / shares[lent].sum(axis=1, keepdims=True), np.maximum(found.positions[lent], 0)
        mean = sum(shares[:, place, None] * lenders[positions[:, place]] for place in range(shares.shape[1]))
        return cls(new[lent], np.asarray(mean, np.float32)) if lent.any() else None

    def towards(self, own: FloatArray, items: IntArray) -> FloatArray:
        """Return the way from vectors of items to what is lent to these, ``[n, d]``; 0 where nothing is."""
        place = np.minimum(np.searchsorted(self.items, items), len(self.items) - 1)
        there = (self.items[place] == items)[:, None]
        return np.where(there, self.vectors[place] - own, np.float32(0))

    def over(self, origin: IntArray) -> Self | None:
        """Return what is lent over another catalogue; None where that is nothing.

        Args:
            origin: ``[m_items + 1]``, for each of its items the inner id here, 0 for one that takes nothing along.
        """
        place = np.minimum(np.searchsorted(self.items, origin), len(self.items) - 1)
        there = self.items[place] == origin
        return type(self)(np.flatnonzero(there), self.vectors[place[there]]) if there.any() else None

    def joined(self, other: LentVectors) -> Self:
        """Return this and, for items that have nothing here, what the other one has."""
        more = ~np.isin(other.items, self.items)
        items = np.concatenate([self.items, other.items[more]])
        order = np.argsort(items)
        return type(self)(items[order], np.concatenate([self.vectors, other.vectors[more]])[order])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return it as tensors, to be saved with a match."""
        return {_ITEMS: torch.from_numpy(self.items), _VECTORS: torch.from_numpy(self.vectors)}

    @classmethod
    def from_state(cls, state: Mapping[str, torch.Tensor]) -> Self | None:
        """Take what `state_dict` gave; None where there is nothing."""
        return cls(state[_ITEMS].numpy(), state[_VECTORS].numpy()) if _ITEMS in state else None

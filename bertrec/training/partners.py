"""Beside each training sequence another one that led to the same item, as DuoRec's contrast reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bertrec.core.ragged import IntArray, Ragged
from bertrec.training.sequences import SequenceDataset

_SHORTEST_CUT = 10
"""Items that are left of a partner beside short sequences."""


@dataclass(frozen=True)
class Paired:
    """A batch.

    Attributes:
        rows: ``[batch]`` training sequences.
        partners: ``[batch]`` what came before the same item elsewhere.
    """

    rows: Ragged
    partners: Ragged


class PartnerDataset(SequenceDataset):
    """Training sequences, each with what came before another target, at random, that is the same item as its last.

    Where no other target is that item, a sequence is its own partner. Partners are cut to their newest items, as many as the longest
    input of the batch has, and no fewer than 10.
    """

    def __init__(self, sequences: Ragged, max_length: int) -> None:
        super().__init__(sequences, max_length)
        values = self.chunks.values
        is_target = np.ones(len(values), dtype=bool)
        is_target[self.chunks.offsets[:-1]] = False
        places = np.flatnonzero(is_target)
        self._places = places[np.argsort(values[places], kind="stable")]  # of all targets, sorted by their item
        self._items = values[self._places]
        self._starts = self.chunks.offsets[self.chunks.rows]

    def __getitems__(self, indices: Sequence[int] | IntArray) -> Any:  # torch's loader asks for a whole batch by this name
        picked = np.asarray(indices, dtype=np.int64)
        rows = self.chunks.take(picked)
        # Batches are of similar lengths, partners of any: one long partner would make the pass over them many times as long.
        longest = max(_SHORTEST_CUT, int(rows.lengths.max(initial=0)) - 1)
        return Paired(rows, self._partners(self.chunks.offsets[1:][picked] - 1).last(longest))

    def _partners(self, own: IntArray) -> Ragged:
        """Return what came before another target of the same item as each of the targets at the places ``own [b]``."""
        wanted = self.chunks.values[own]
        first, stop = (np.searchsorted(self._items, wanted, side=side) for side in ("left", "right"))
        drawn = torch.rand(len(own), dtype=torch.float64).numpy()  # of the state that a resumed run takes up again
        count = stop - first
        chosen = self._places[first + (drawn * np.maximum(count - 1, 1)).astype(np.int64)]
        # Drawn from all but one: whoever draws itself takes the one that was left out.
        chosen = np.where(chosen == own, self._places[stop - 1], chosen)
        return self.chunks.spans(chosen, chosen - self._starts[chosen])

    @staticmethod
    def collate(items: Any) -> dict[str, torch.Tensor]:
        """Pad a batch on the right.

        Returns:
            What `SequenceDataset.collate` gives, ``partners``, int64 ``[batch, longest partner]``, and with times
            ``partner_times``.
        """
        times = items.partners.padded_times()
        batch = SequenceDataset.collate(items.rows) | {"partners": torch.from_numpy(items.partners.padded())}
        return batch if times is None else {**batch, "partner_times": torch.from_numpy(times)}

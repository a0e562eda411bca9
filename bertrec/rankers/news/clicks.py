"""Impressions as batches: rows of a history with its candidates and what is known of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.impressions import Impressions
from bertrec.training.batches import similar_lengths


class Lists(torch.utils.data.Dataset[int]):
    """A row for each impression.

    Args:
        impressions: histories and candidates.
        labels: ``[total candidates]`` whole numbers from 0.
        max_history: newest items that are read.
        **more: further columns of numbers, ``[n]`` each, by the name that the network's ``forward`` gives them.
    """

    def __init__(
        self,
        impressions: Impressions,
        labels: npt.NDArray[np.int8],
        max_history: int,
        **more: IntArray,
    ) -> None:
        self.histories = impressions.histories.last(max_history)
        self.items = impressions.candidates
        self.labels = Ragged(labels.astype(np.int64) + 1, impressions.candidates.offsets)  # padding is 0
        self.more: Mapping[str, IntArray] = more
        self.content_hash = impressions.content_hash

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> int:
        return int(index)

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterable[IntArray]:
        """Yield the rows of each batch of an epoch, histories of like length together."""
        return similar_lengths(self.histories.lengths, epoch, batch_size, seed)

    def collate(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return histories ``[b, H]``, candidates and labels ``[b, g]``, padded, and what else there is."""
        rows = np.asarray(indices, np.int64)
        lists = {"histories": self.histories, "candidates": self.items, "labels": self.labels}
        arrays = {name: own.take(rows).padded() for name, own in lists.items()}
        arrays |= {name: own[rows] for name, own in self.more.items()}
        arrays["labels"] -= 1
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

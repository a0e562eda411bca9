"""Rows to score as numbers of text vectors: items first, then what users wrote and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bertrec.core.files import sha256_parts
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.impressions import Impressions
from bertrec.training.batches import similar_lengths

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class ReviewRows:
    """What the texts of ``n`` rows are.

    Attributes:
        vectors: ``[1 + m, d]`` on the CPU, zeros, then the texts; inner item ids are their numbers.
        histories: ``[n]`` rows of inner ids.
        said: ``[n, 1 + S]``: the profile's number, then those of the user's reviews, 0 for none.
        candidates: ``[n]`` rows of inner ids.
        reviews: ``[total candidates, T]`` numbers of others' reviews, 0 for none.
    """

    vectors: Tensor
    histories: Ragged
    said: IntArray
    candidates: Ragged
    reviews: IntArray

    def batch(self, rows: IntArray, places: IntArray) -> Batch:
        """Return the arguments of `CoMatching.scores` for the rows ``[u]`` and the candidates at ``places [u, g]``, -1 for none."""
        inside = np.maximum(places, 0)
        items, reviews = self.candidates.values[inside], self.reviews[inside]
        return {
            "history": self._means(self.histories.take(rows)),
            "said": self._texts(self.said[rows]),
            "said_mask": torch.from_numpy(self.said[rows] > 0),
            "items": self._texts(np.where(places >= 0, items, 0)),
            "reviews": self._texts(reviews),
            "reviews_mask": torch.from_numpy(reviews > 0),
        }

    def _means(self, histories: Ragged) -> Tensor:
        """Return the mean vector of each history, ``[u, d]``; zeros of an empty one."""
        items = histories.padded()
        counts = np.maximum(histories.lengths, 1)[:, None].astype(np.float32)
        return self._texts(items).sum(dim=1) / torch.from_numpy(counts)

    def _texts(self, numbers: IntArray) -> Tensor:
        return self.vectors[torch.from_numpy(numbers)]


class ReviewedClicks(torch.utils.data.Dataset[int]):
    """Training data: a row per impression or click.

    Attributes:
        content_hash: of the impressions and of what their texts are, to recognise a run that goes on.
    """

    def __init__(self, rows: ReviewRows, clicks: Impressions) -> None:
        assert clicks.labels is not None
        self.rows = rows
        offsets = clicks.candidates.offsets
        self.labels = Ragged(clicks.labels.astype(np.int64) + 1, offsets).padded() - 1  # -1 where there is no candidate
        self.places = Ragged(np.arange(1, len(clicks.candidates.values) + 1), offsets).padded() - 1
        self.content_hash = sha256_parts([clicks.content_hash], [rows.vectors.numpy(), rows.said, rows.reviews])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> int:
        return int(index)

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterable[IntArray]:
        """Yield the rows of each batch, lists of similar length together."""
        return similar_lengths((self.labels >= 0).sum(axis=1), epoch, batch_size, seed)

    def collate(self, indices: Sequence[int]) -> Batch:
        """Return the keyword arguments of the network."""
        picked = np.asarray(indices, np.int64)
        width = int((self.labels[picked] >= 0).sum(axis=1).max(initial=1))
        labels, places = self.labels[picked, :width], self.places[picked, :width]
        return {**self.rows.batch(picked, places), "labels": torch.from_numpy(labels)}

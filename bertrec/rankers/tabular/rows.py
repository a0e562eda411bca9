"""Rows of histories, candidates and features as tensors: for training, and in blocks for scoring."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.files import sha256_parts
from bertrec.core.ragged import IntArray, Ragged
from bertrec.rankers.tabular.features import RowFeatures
from bertrec.training.batches import similar_lengths

Batch = dict[str, Tensor]
MOST = 32  # candidates of a block; more of one row make several
_CELLS = 1 << 16  # candidates times items of the history in a block


@dataclass(frozen=True, eq=False)
class Rows:
    """Histories with candidates and features, cut into pieces of candidates.

    Attributes:
        histories: ``[n]`` rows, the newest items of each.
        candidates: ``[n]`` rows.
        features: of both.
        owners: ``[pieces]``, which row each piece is of.
        places: ``[pieces]`` rows of places among the candidates.
    """

    histories: Ragged
    candidates: Ragged
    features: RowFeatures
    owners: IntArray
    places: Ragged

    @classmethod
    def of(cls, histories: Ragged, candidates: Ragged, features: RowFeatures, *, most: int | None) -> Rows:
        """Cut rows into pieces of up to ``most`` candidates, of all where it is None; a row without candidates has no piece."""
        lengths = candidates.lengths
        whole = lengths if most is None else np.full(len(lengths), most)
        pieces = -(-lengths // np.maximum(whole, 1))
        owners = np.repeat(np.arange(len(lengths)), pieces)
        number = np.arange(len(owners)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        sizes = np.minimum(lengths[owners] - number * whole[owners], whole[owners])
        return cls(histories, candidates, features, owners, Ragged.from_lengths(np.arange(len(candidates.values)), sizes))

    def __len__(self) -> int:
        return len(self.owners)

    def batch(self, pieces: IntArray) -> tuple[Batch, IntArray]:
        """Return the arguments of `TabularNetwork.pair_vectors`, and the place of each candidate, ``[u, g]``, -1 for none."""
        rows, own = self.owners[pieces], self.places.take(pieces)
        at = Ragged(own.values + 1, own.offsets).padded() - 1
        here, read = at >= 0, self.features
        arrays = {name: getattr(read, name)[rows] for name in ("users", "hours", "days", "activity")}
        arrays["histories"] = self.histories.take(rows).padded()
        arrays["candidates"] = np.where(here, self.candidates.values[at], 0)
        arrays["popularity"] = np.where(here, read.popularity[at], 0)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}, at

    def blocks(self) -> list[IntArray]:
        """Return the pieces in blocks of similar shape, small enough to be scored at once."""
        sizes, lengths = self.places.lengths, self.histories.lengths[self.owners]
        order = np.lexsort((lengths, sizes))
        block = np.cumsum(sizes[order] * (lengths[order] + 8)) // _CELLS
        return np.split(order, np.flatnonzero(np.diff(block)) + 1) if len(order) else []


class RowDataset(torch.utils.data.Dataset[int]):
    """Training data: pieces with labels.

    Attributes:
        content_hash: to recognise a run that goes on.
    """

    def __init__(self, rows: Rows, labels: npt.NDArray[np.int8]) -> None:
        self.rows, self.labels = rows, labels.astype(np.int64)
        arrays = [rows.histories.values, rows.histories.offsets, rows.candidates.values, rows.places.offsets, self.labels]
        names = ("users", "hours", "days", "activity", "popularity")
        self.content_hash = sha256_parts([], [*arrays, *(getattr(rows.features, name) for name in names)])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> int:
        return int(index)

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterable[IntArray]:
        """Yield the pieces of each batch, histories of similar length together."""
        return similar_lengths(self.rows.histories.lengths[self.rows.owners], epoch, batch_size, seed)

    def collate(self, indices: Sequence[int]) -> Batch:
        """Return the arguments of `TabularNetwork.forward`."""
        batch, at = self.rows.batch(np.asarray(indices, np.int64))
        return {**batch, "labels": torch.from_numpy(np.where(at >= 0, self.labels[at], -1))}

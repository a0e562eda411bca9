"""User sequences as training data: every position is a target once per epoch, and no prefix is ever materialised."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import torch

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.training.batches import similar_lengths


class SequenceDataset(torch.utils.data.Dataset[IntArray]):
    """Each item is one training sequence of 2 to ``max_length + 1`` item ids: inputs are all but the last, targets all but the first.

    A longer row is cut into consecutive chunks that overlap by one item, so that each position but the row's first is a
    target exactly once. Chunks are counted from the row's end: its newest targets have the full context, and only the
    first chunk, whose targets have little context anyhow, is short.

    Attributes:
        chunks: ``[len(self)]`` rows of 2 to ``max_length + 1`` ids, in the order of the given rows, oldest chunk first.
        source_rows: ``[len(self)]`` the row of the given sequences that each chunk comes from.
        max_length: positions of the longest input.
        dropped: rows shorter than 2, which hold no target.
        whole_batches: whether sequences of a batch are told from one another, see `bertrec.training.fit.fit_module`.
    """

    whole_batches: bool = False

    def __init__(self, sequences: Ragged, max_length: int) -> None:
        """Cut ``sequences`` into training sequences.

        Raises:
            ConfigError: ``max_length`` is below 1.
            DataError: no row has two items.
        """
        if max_length < 1:
            raise ConfigError(f"max_length is {max_length}: it must be at least 1")
        self.max_length = max_length
        self.dropped = int(np.count_nonzero(sequences.lengths < 2))
        self.chunks, self.source_rows = _cut(sequences, max_length)
        if not len(self.chunks):
            raise DataError(
                f"none of the {len(sequences)} training sequences has two items: there is nothing to predict; loosen the filters"
            )

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> IntArray:
        return self.chunks[int(index)]

    def __getitems__(self, indices: Sequence[int] | IntArray) -> Ragged:  # torch's loader asks for a whole batch by this name
        return self.chunks.take(indices)

    def targets(self, indices: IntArray) -> int:
        """Return the targets of some sequences."""
        return int(self.chunks.lengths[indices].sum()) - len(indices)

    @property
    def n_targets(self) -> int:
        """Targets in one epoch."""
        return len(self.chunks.values) - len(self.chunks)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the chunks, by which a resumed run knows its data again."""
        digest = hashlib.sha256(self.chunks.offsets.tobytes())
        digest.update(self.chunks.values.tobytes())
        if self.chunks.times is not None:
            digest.update(self.chunks.times.tobytes())
        return digest.hexdigest()

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[IntArray]:
        """Yield the index arrays of one epoch, each chunk in exactly one batch of rows of similar length.

        Args:
            epoch: counted from 0; the order depends on it and on ``seed`` only.
            batch_size: chunks per batch; only one batch of an epoch may be smaller.
            seed: of the shuffle.
        """
        return similar_lengths(self.chunks.lengths, epoch, batch_size, seed)

    @staticmethod
    def collate(items: Ragged | Sequence[IntArray]) -> dict[str, torch.Tensor]:
        """Pad a batch on the right.

        Returns:
            ``inputs`` and ``targets``, int64 ``[batch, longest input]``; 0 is padding, and no target. Where the sequences have times,
            ``times``, int64 ``[batch, longest input + 1]``, those of the inputs and of the last target.
        """
        rows = items if isinstance(items, Ragged) else Ragged.from_rows(items)
        padded, times = rows.padded(), rows.padded_times()
        has_target = np.arange(padded.shape[1] - 1) < rows.lengths[:, None] - 1
        batch = {"inputs": torch.from_numpy(padded[:, :-1] * has_target), "targets": torch.from_numpy(padded[:, 1:].copy())}
        return batch if times is None else {**batch, "times": torch.from_numpy(times)}


def _cut(sequences: Ragged, max_length: int) -> tuple[Ragged, IntArray]:
    lengths = sequences.lengths
    pieces: IntArray = np.where(lengths >= 2, -(-(lengths - 1) // max_length), 0)
    rows = np.repeat(np.arange(len(sequences), dtype=np.int64), pieces)
    first = np.cumsum(pieces) - pieces
    from_end = np.repeat(pieces, pieces) - 1 - (np.arange(len(rows)) - first[rows])
    stops = lengths[rows] - from_end * max_length
    starts = np.maximum(stops - max_length - 1, 0)
    return sequences.spans(sequences.offsets[rows] + stops, stops - starts), rows

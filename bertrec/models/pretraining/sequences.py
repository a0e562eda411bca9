"""Sequences of all data sets in steps of about equally many targets, whatever their lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from bertrec.core.ragged import IntArray, Ragged
from bertrec.training.sequences import SequenceDataset


class MixedSequences(SequenceDataset):
    """As its base, but a batch has about so many targets and not so many sequences.

    Every target is a negative of the others, so that a step takes memory and time by the square of their number. A batch also says where
    its items stand among all interactions, from 1 on: ``places``, int64 ``[batch, longest input + 1]``, 0 where padded.
    """

    whole_batches = True

    def __init__(self, sequences: Ragged, max_length: int) -> None:
        # What goes with values as times do finds its way into the chunks.
        super().__init__(replace(sequences, times=np.arange(1, 1 + len(sequences.values))), max_length)

    @staticmethod
    def collate(items: Ragged | Sequence[IntArray]) -> dict[str, torch.Tensor]:
        """Pad a batch on the right; ``places`` are there where the items know them."""
        return {"places" if name == "times" else name: tensor for name, tensor in SequenceDataset.collate(items).items()}

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[IntArray]:
        """Yield the index arrays of one epoch, each chunk in exactly one batch; lengths of a batch are as near as can be.

        There are as many batches in each epoch, since the lengths in their order are always the same.

        Args:
            epoch: counted from 0; the order depends on it and on ``seed`` only.
            batch_size: targets per batch, about; a batch holds less than one sequence more.
            seed: of the shuffle.
        """
        rng = np.random.default_rng([seed, epoch])
        shuffled = rng.permutation(len(self))
        ordered = shuffled[np.argsort(self.chunks.lengths[shuffled], kind="stable")]
        before = np.cumsum(self.chunks.lengths[ordered] - 1) - (self.chunks.lengths[ordered] - 1)
        parts = np.split(ordered, np.flatnonzero(np.diff(before // batch_size)) + 1)
        for number in rng.permutation(len(parts)):
            yield parts[number]

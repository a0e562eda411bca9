"""Sequences of all data sets in steps of about equally many targets, whatever their lengths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bertrec.core.ragged import IntArray
from bertrec.training.sequences import SequenceDataset


class MixedSequences(SequenceDataset):
    """As its base, but a batch has about so many targets and not so many sequences.

    Every target is a negative of the others, so that a step takes memory and time by the square of their number.
    """

    whole_batches = True

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

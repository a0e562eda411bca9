"""Lists to learn from before any label is read: each next item of a history beside items that its user did not take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.negatives import impressions_from_sequences
from bertrec.rankers.prompts.rows import Batch, ClickDataset
from bertrec.training.batches import similar_lengths

CHUNK = 1000
"""Lists between two checkpoints, about."""


def history_lists(shown: Impressions, *, lists: int, negatives: int, alpha: float, seed: int, most: int) -> Impressions:
    """Return lists made of the histories of impressions: what stands before an item of a history, and that item among negatives.

    Of a user with several impressions the longest history is read. Neither candidates nor labels of the impressions are read, so that
    what a user clicked later stays unseen. Negatives are items of the histories that the user's own history lacks.

    Args:
        shown: training impressions.
        lists: how many; 0 takes each place of each history once. Where there are fewer places, they come again with other negatives.
        negatives: of each list.
        alpha: negatives are drawn by (number of users) to this power.
        seed: of the choice.
        most: items of a history, the newest.

    Raises:
        DataError: no history has two items, or there is nothing to draw negatives from.
    """
    sequences = _sequences(shown)
    found: list[Impressions] = []
    while not found or sum(map(len, found)) < lists:
        drawn = np.random.SeedSequence([seed, len(found)])
        made = impressions_from_sequences(
            sequences, negatives=negatives, seed=int(drawn.generate_state(1)[0]), alpha=alpha, max_history=most
        )
        usable = np.flatnonzero((made.histories.lengths > 0) & (made.candidates.lengths > 1))
        if not len(usable):
            raise DataError("no history has two items and others to set beside them: leave out --pretrain")
        left = lists - sum(map(len, found)) if lists else len(usable)
        found.append(made.take(np.random.default_rng(drawn).permutation(usable)[:left]))
    return _joined(found)


def _sequences(shown: Impressions) -> Interactions:
    """Return the longest history of each user, the newest of equally long ones."""
    longest: dict[str | int, int] = {}
    for row in np.argsort(shown.histories.lengths, kind="stable").tolist():
        longest[shown.users[row]] = row
    users = sorted(longest, key=str)
    return Interactions(shown.catalog, IdMap(users), shown.histories.take([longest[user] for user in users]))


def _joined(parts: list[Impressions]) -> Impressions:
    first = parts[0]
    if len(parts) == 1:
        return first
    labels = [part.labels for part in parts if part.labels is not None]
    return replace(
        first,
        ids=[str(number) for number in range(1, sum(map(len, parts)) + 1)],
        users=[user for part in parts for user in part.users],
        histories=_end_to_end([part.histories for part in parts]),
        candidates=_end_to_end([part.candidates for part in parts]),
        labels=np.concatenate(labels),
    )


def _end_to_end(parts: list[Ragged]) -> Ragged:
    return Ragged.from_lengths(np.concatenate([part.values for part in parts]), np.concatenate([part.lengths for part in parts]))


@dataclass(frozen=True)
class Chunks:
    """Training data in parts of equal size, each of which is an epoch: every row is read once, and a checkpoint follows each part.

    Attributes:
        dataset: the rows.
        count: of the parts; what the division leaves over, fewer rows than parts, is not read.
    """

    dataset: ClickDataset
    count: int

    @classmethod
    def of(cls, dataset: ClickDataset) -> Chunks:
        """Divide into parts of about `CHUNK` rows."""
        return cls(dataset, max(1, round(len(dataset) / CHUNK)))

    @property
    def content_hash(self) -> str:
        """Of the rows."""
        return self.dataset.content_hash

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> int:
        return int(index)

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[IntArray]:
        """Yield the batches of one part."""
        size = len(self.dataset) // self.count
        start = epoch % self.count * size
        for batch in similar_lengths(self.dataset.rows.lengths[start : start + size], epoch, batch_size, seed):
            yield start + batch

    def collate(self, indices: list[int]) -> Batch:
        """Return the keyword arguments of the network."""
        return self.dataset.collate(indices)

"""The order of the data: of epoch ``e`` it depends on the seed and on ``e`` alone, so that a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from bertrec.core.errors import ModelError
from bertrec.core.ragged import IntArray

Indices = Sequence[int] | IntArray


SHARE = "share_of_the_batch"
"""The key of a `Part`'s share beside what goes to the module."""
_POOL_BATCHES = 64
"""Batches sorted by length together: enough for little padding, few enough that batches still mix at random."""


@runtime_checkable
class Batched(Protocol):
    """A dataset that groups its own items, e.g. by length."""

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterable[Indices]:
        """Yield the indices of each batch of one epoch; the same number of batches in each epoch."""


@runtime_checkable
class Weighed(Protocol):
    """A dataset whose rows count for unequal parts of a batch's mean loss."""

    def targets(self, indices: IntArray) -> int:
        """Return over how many targets the loss of these rows is a mean."""


def similar_lengths(lengths: IntArray, epoch: int, batch_size: int, seed: int) -> Iterator[IntArray]:
    """Yield the index arrays of one epoch, each row in exactly one batch of rows of similar length; one batch may be smaller.

    Args:
        lengths: of the rows, ``[n]``.
        epoch: counted from 0; the order depends on it and on ``seed`` only.
        batch_size: rows per batch.
        seed: of the shuffle.
    """
    rng = np.random.default_rng([seed, epoch])
    shuffled = rng.permutation(len(lengths))
    pool = np.arange(len(lengths)) // (batch_size * _POOL_BATCHES)
    ordered = shuffled[np.lexsort((lengths[shuffled], pool))]
    for start in rng.permutation(np.arange(0, len(lengths), batch_size)):
        yield ordered[start : start + batch_size]


@dataclass(frozen=True)
class Part:
    """What one process takes at a time of a step's batch.

    Attributes:
        indices: its rows; where there are fewer rows than processes, one that counts for nothing.
        share: what its mean loss counts for. The sum over a process's parts, in the mean of all processes, is the mean over
            the whole batch.
    """

    indices: Indices
    share: float

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


class EpochBatches:
    """Batch sampler, one batch a step: shuffled anew each epoch.

    Args:
        dataset: whose rows are batched.
        batch_size: rows read at a time, by all processes together.
        seed: of the order.
        accumulate: how many times as large the batch of a step is; it is read in so many parts, of neighbours in it.
        rank: of this process, which takes its part of each.
        world: how many processes there are.
    """

    def __init__(self, dataset: Any, batch_size: int, seed: int, *, accumulate: int = 1, rank: int = 0, world: int = 1) -> None:
        self.dataset, self.batch_size, self.seed = dataset, batch_size * accumulate, seed
        self.read_size, self.rank, self.world, self.epoch = batch_size, rank, world, 0
        self.count = len(self._all()) if isinstance(dataset, Batched) else -(-len(dataset) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    @property
    def cuts(self) -> bool:
        """Whether a batch comes as a list of parts."""
        return self.world > 1 or self.batch_size > self.read_size

    def __iter__(self) -> Iterator[Indices | list[Part]]:
        batches = self._all()
        if len(batches) != self.count:
            raise ModelError(
                f"the dataset made {len(batches)} batches in epoch {self.epoch + 1} and {self.count} in the first: it must make as many"
            )
        return map(self._parts, batches) if self.cuts else iter(batches)

    def _parts(self, batch: Indices) -> list[Part]:
        whole = np.asarray(batch, np.int64)
        weigh = self.dataset.targets if isinstance(self.dataset, Weighed) else len
        total = float(weigh(whole))
        # As many in each process: some of what is done with a part is done together.
        parts = np.array_split(whole, -(-len(whole) // self.read_size))
        return [self._part(rows, weigh, total) for rows in parts]

    def _part(self, rows: IntArray, weigh: Callable[[IntArray], int], total: float) -> Part:
        own = rows[self.rank :: self.world]
        return Part(own, self.world * float(weigh(own)) / total) if len(own) else Part(rows[:1], 0.0)

    def _all(self) -> list[Indices]:
        if isinstance(self.dataset, Batched):
            return list(self.dataset.batches(self.epoch, self.batch_size, self.seed))
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.dataset))
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]


class EpochLoader(torch.utils.data.DataLoader[Any]):
    """A loader in this process that passes the epoch on to its sampler.

    Batches are made here and not in workers, as they cost far less than a step; the Trainer moves them to its device. ``pinned``
    puts them in memory that a GPU copies from while the processor goes on.
    """

    def __init__(self, dataset: Any, sampler: EpochBatches, collate: Callable[[Any], Any], *, pinned: bool = False) -> None:
        indices: Any = sampler  # torch asks for lists here and takes any sequence of indices
        if sampler.cuts:
            dataset, collate = _Shared(dataset), _with_share(collate)
        super().__init__(dataset, batch_sampler=indices, collate_fn=collate, num_workers=0, pin_memory=pinned)
        self.epochs = sampler

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next iteration yields."""
        self.epochs.set_epoch(epoch)


class _Shared:
    """Fetches the parts of a step's batch, with their shares."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, parts: list[Part]) -> list[tuple[Any, float]]:
        together = getattr(self.dataset, "__getitems__", None)
        return [(together(part.indices) if together else [self.dataset[index] for index in part.indices], part.share) for part in parts]


def _with_share(collate: Callable[[Any], Any]) -> Callable[[list[tuple[Any, float]]], Any]:
    def collated(fetched: list[tuple[Any, float]]) -> Any:
        return [{**collate(items), SHARE: torch.tensor(share)} for items, share in fetched]

    return collated

"""What a tower learns from: pairs with hard negatives, in batches where no answer is taken for a negative."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.distinct import among, distinct
from bertrec.core.errors import DataError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.models.found import best_of
from bertrec.models.queries.pairs import Asked
from bertrec.models.queries.tower import QueryTower
from bertrec.retrieval.word_scores import WordScores


def mine(asked: Asked, encoded: torch.Tensor, tower: QueryTower, words: WordScores, depth: int) -> Ragged:
    """Return what hard negatives of each query are drawn from: its best items by BM25 and by a tower, but no answer.

    Args:
        asked: the queries, with what answers them.
        encoded: their vectors, of `QueryTower.encoded`.
        tower: as yet untrained.
        words: of the same catalogue.
        depth: how many of each list.

    Returns:
        Inner ids, a row for each query; a row may be empty.
    """
    vectors, rows = tower.adapted(encoded), []
    open_ = tower.catalog.listed
    for number, query in enumerate(asked.queries):
        lexical = np.where(open_, words.of(query), -np.inf)
        found = np.concatenate([best_of(lexical, depth), best_of(tower.scores(vectors[number : number + 1])[0], depth)])
        rows.append(np.setdiff1d(found, asked.targets[number]))
    return Ragged.from_rows(rows)


@dataclass
class PairBatches(torch.utils.data.Dataset[IntArray]):
    """Training pairs, with hard negatives drawn anew in each epoch.

    Attributes:
        asked: the queries of the training part, with what answers them.
        hard: what hard negatives of each query are drawn from; None draws none.
        count: hard negatives of a pair.
        drawn_by: seed and epoch, on which the draw depends with the pairs of a batch alone.
    """

    asked: Asked
    hard: Ragged | None = None
    count: int = 0
    drawn_by: tuple[int, int] = field(default=(0, 0))

    def __post_init__(self) -> None:
        targets = self.asked.targets
        self.pairs: IntArray = np.stack([targets.rows, targets.values], axis=1)
        self._width = int(max(targets.values.max(initial=0), 0 if self.hard is None else self.hard.values.max(initial=0))) + 1
        if len(np.unique(targets.values)) < 2:
            few = f"{len(self.pairs)} training pair{'s' if len(self.pairs) != 1 else ''} of one item"
            raise DataError(
                f"a query tower learns to tell items apart, and there {'is' if len(self.pairs) == 1 else 'are'} {few}: give more"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> IntArray:
        return np.asarray(self.pairs[int(index)])

    def __getitems__(self, indices: IntArray | list[int]) -> IntArray:  # torch's loader asks for a whole batch by this name
        return np.asarray(self.pairs[np.asarray(indices, np.int64)])

    @cached_property
    def answers(self) -> IntArray:
        """A number for each query and item that answers it, by the training part alone, ascending."""
        return distinct(self.pairs[:, 0] * self._width + self.pairs[:, 1])

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over queries, pairs and what hard negatives are drawn from."""
        arrays = [self.pairs] if self.hard is None else [self.pairs, self.hard.values, self.hard.offsets]
        return sha256_text(*self.asked.queries, *(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays), str(self.count))

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[IntArray]:
        """Yield the pairs of each batch, in an order of the epoch."""
        self.drawn_by = (seed, epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        return (order[start : start + batch_size] for start in range(0, len(order), batch_size))

    def collate(self, pairs: IntArray) -> dict[str, torch.Tensor]:
        """Make a batch of ``b`` pairs, as `bertrec.models.queries.network.TowerLoss` takes it."""
        query, item = pairs[:, 0], pairs[:, 1]
        columns = np.concatenate([item, np.setdiff1d(self.drawn(pairs), item)])
        arrays = {"query": query, "item": columns, "masked": self.masked(query, columns)}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    def drawn(self, pairs: IntArray) -> IntArray:
        """Return hard negatives of the pairs of a batch, from each query's own, with repeats; ``[at most b · count]``."""
        if self.hard is None or not self.count:
            return np.zeros(0, np.int64)
        rng = np.random.default_rng([*self.drawn_by, *pairs[:4].ravel().tolist()])
        lengths = self.hard.lengths[pairs[:, 0]]
        place = (rng.random((len(pairs), self.count)) * lengths[:, None]).astype(np.int64)
        return np.asarray(self.hard.values[(self.hard.offsets[:-1][pairs[:, 0]][:, None] + place)[lengths > 0].ravel()])

    def masked(self, query: IntArray, items: IntArray) -> npt.NDArray[np.bool_]:
        """Say which items answer which queries, ``[len(query), len(items)]``: for these they are no negatives."""
        keys = query[:, None] * self._width + items
        return among(keys.ravel(), self.answers).reshape(keys.shape)

"""A retriever whose vectors are whole numbers drawn from a seed, for tests of what is served and measured."""

from __future__ import annotations

import numpy as np

from bertrec.core.lifts import Lifts
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.models.popularity import Popularity


class GivenVectors(Popularity):
    """A user's vector is the sum of the vectors of the history; whole numbers, so that every product is exact and many tie."""

    name = "given"

    def __init__(self, catalog: ItemCatalog, bias: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self._catalog, self.bias = catalog, bias
        self.vectors = np.random.default_rng(seed).integers(-2, 3, (len(catalog) + 1, 3)).astype(np.float32)
        self.vectors[[3, 7]] = np.nan
        self.vectors[0] = 0

    def item_embeddings(self) -> np.ndarray:
        return self.vectors

    def user_vectors(self, histories: Ragged) -> np.ndarray:
        out = np.zeros((len(histories), 3), np.float32)
        np.add.at(out, histories.rows, np.nan_to_num(self.vectors)[histories.values])
        return out

    def read_histories(self, histories: Ragged) -> Ragged:
        return histories.last(2)

    @property
    def repeat_bias(self) -> float:
        return self.bias

    @property
    def model_hash(self) -> str:
        return f"given-{self.bias}"


class GivenLifts(GivenVectors):
    """The same, where each item of the history also lifts a few others, as neighbours in text do; halves, so that sums are exact."""

    name = "given-lifts"

    def __init__(self, catalog: ItemCatalog, seed: int = 0) -> None:
        super().__init__(catalog, seed=seed)
        draw = np.random.default_rng(seed + 1)
        self.lifted = draw.integers(1, len(catalog) + 1, (len(catalog) + 1, 3))
        self.amounts = draw.integers(0, 9, self.lifted.shape).astype(np.float32) / 2

    def lifts(self, read: Ragged) -> Lifts:
        rows = np.repeat(read.rows, self.lifted.shape[1])
        return Lifts.summed(rows, self.lifted[read.values].reshape(-1), self.amounts[read.values].reshape(-1), len(read))

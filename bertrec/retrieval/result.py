"""What a search of an index found."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bertrec.core.described import PREVIEW_ROWS, Described, Preview
from bertrec.retrieval.checks import Id
from bertrec.retrieval.exact import FloatArray, IntArray


@dataclass(frozen=True, repr=False)
class SearchResult(Described):
    """What a search found, best first, equal scores by lower position.

    Attributes:
        positions: ``[b, k]`` int64, rows of the index; -1 where there is no further item.
        scores: ``[b, k]`` float32, inner products of query and item (of unit length for cosine), exact for every kind; ``-inf`` where
            there is no further item.
    """

    positions: IntArray
    scores: FloatArray
    _row_ids: Any = field(repr=False)

    @property
    def ids(self) -> list[list[Id]]:
        """External ids, one list per query, shorter than ``k`` where there are no more."""
        named = self.padded_ids.tolist()
        counts = (self.positions >= 0).sum(axis=1).tolist()
        return [row[:count] for row, count in zip(named, counts, strict=True)]

    @property
    def padded_ids(self) -> Any:
        """External ids, an object array ``[b, k]``; where there is no further item, any id stands."""
        return self._row_ids[np.maximum(self.positions, 0)]

    def __len__(self) -> int:
        return len(self.positions)

    def _facts(self) -> dict[str, object]:
        return {"queries": len(self), "k": self.positions.shape[1]}

    def _preview(self) -> Preview:
        rows = ([row, ids] for row, ids in enumerate(replace(self, positions=self.positions[:PREVIEW_ROWS]).ids))
        return Preview.of(["query", "ids"], rows, len(self))

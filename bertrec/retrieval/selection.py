"""Some items of an index, to be searched alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bertrec.core.errors import DataError
from bertrec.retrieval.exact import BoolArray, FloatArray
from bertrec.retrieval.filtered import Stored
from bertrec.retrieval.subset import Subset

EXACT_SHARE = 0.25
"""Up to such a share of an index's items they are all scored; of more, FAISS finds the best with the recall of the index's kind."""


class Selection:
    """Which positions of an index may be found, and what is added to their scores; made by `ItemIndex.select`.

    Args:
        allowed: ``[positions]``.
        boost: ``[positions]``; None adds nothing.
    """

    def __init__(self, allowed: BoolArray, boost: FloatArray | None) -> None:
        self._allowed = np.array(allowed)
        self._boost = boost
        self._seen: tuple[Stored, Stored, Subset | None] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are held for it."""
        subset = None if self._seen is None else self._seen[2]
        return self._allowed.nbytes + (0 if subset is None else subset.nbytes)

    def at(self, stored: Stored) -> tuple[Stored, Subset | None]:
        """Return the index as it is with none but these items alive, and the rows to score where that is to be exact.

        Raises:
            DataError: items were added to the index since.
        """
        if self._seen is None or self._seen[0] is not stored:
            self._seen = (stored, *self._made(stored))
        return self._seen[1:]

    def _made(self, stored: Stored) -> tuple[Stored, Subset | None]:
        if len(self._allowed) != len(stored.alive):
            raise DataError("the index holds other items than when these were selected: select them again")
        alive = stored.alive & self._allowed
        few = alive.sum() <= EXACT_SHARE * stored.alive.sum()
        if self._boost is not None or stored.ordering == "exact" or few:
            return replace(stored, alive=alive), Subset(stored.vectors, alive, self._boost)
        return replace(stored, alive=alive, searcher=stored.searcher.within(alive), selected=True), None

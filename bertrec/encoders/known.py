"""Vectors of items of which some say what is known already: only the others are read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


def encode_unknown(said: Sequence[Hashable], known: Sequence[Hashable], vectors: Vectors, read: Callable[[list[int]], Vectors]) -> Vectors:
    """Return the vectors of items, ``[len(said), dim]``.

    Args:
        said: what each item says.
        known: what those say whose vectors are there.
        vectors: of these, ``[len(known), dim]``.
        read: gives the vectors of the items of given numbers, no two of which say the same; not called where all are known.
    """
    place = {one: row for row, one in enumerate(known)}
    missing: list[int] = []
    for row, one in enumerate(said):
        if one not in place:
            place[one] = len(known) + len(missing)
            missing.append(row)
    there = vectors if not missing else np.concatenate([vectors, read(missing)])
    return there[[place[one] for one in said]]

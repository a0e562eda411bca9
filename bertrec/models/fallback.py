"""Users of whom a model knows nothing: their lists are those of the most popular items, and are measured as such."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray, Ragged

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

POPULARITY = "popularity"
"""How a list is marked that popularity ordered."""
CATALOGUE = "catalogue order"
"""How a list is marked where the model keeps no popularity."""


def cold_rows(users: FloatArray) -> BoolArray:
    """Return ``[n]``: whether a user vector is all zeros, as that of an empty history is: it says nothing of any item."""
    return np.asarray(~users.any(axis=1), dtype=bool)


def scored_by_popularity(vectors: FloatArray, popularity: FloatArray) -> FloatArray:
    """Return the popularity as vectors of one dimension, ``[n_items + 1, 1]``; NaN for the items that the model does not know.

    Args:
        vectors: the model's, ``[n_items + 1, d]``, a row with NaN for an item that it does not know.
        popularity: ``[n_items + 1]``.
    """
    unknown = np.isnan(vectors).any(axis=1)
    return np.where(unknown, np.float32(np.nan), popularity.astype(np.float32))[:, None]


def beside(vectors: FloatArray, popularity: FloatArray) -> FloatArray:
    """Return item vectors with the popularity as one dimension more, ``[n_items + 1, d + 1]``, for the users of `users_beside`."""
    return np.concatenate([vectors, scored_by_popularity(vectors, popularity)], axis=1)


def users_beside(users: FloatArray) -> FloatArray:
    """Return user vectors with one dimension more: a cold user looks at the popularity alone, any other at all but that.

    >>> users_beside(np.array([[2.0, 3.0], [0.0, 0.0]], np.float32))
    array([[2., 3., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    return np.concatenate([users, cold_rows(users)[:, None].astype(np.float32)], axis=1)


def unknown_ids(given: Ragged, flat: Sequence[str | int]) -> dict[int, list[str | int]]:
    """Return the ids that stand for no item, by row; rows without any are left out.

    Args:
        given: inner ids of every row, 0 for an id that is no item.
        flat: the ids as they came, in the same order.
    """
    lost: dict[int, list[str | int]] = {}
    at: IntArray = np.flatnonzero(given.values == 0)
    for row, place in zip(given.rows[at].tolist(), at.tolist(), strict=True):
        lost.setdefault(row, []).append(flat[place])
    return lost

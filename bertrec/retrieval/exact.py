"""Exact masked top-k over score matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect_whole
from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def check_k(k: int) -> int:
    """Return ``k`` as an int.

    Raises:
        ConfigError: ``k`` is no whole number of at least 1.
    """
    return expect_whole(k, "k", least=1)


def top_k(scores: npt.ArrayLike, k: int, *, seen: Ragged | None = None) -> tuple[IntArray, FloatArray]:
    """Return the ``k`` best unseen items of each row of a score matrix, exactly.

    Args:
        scores: ``[b, n_items + 1]``, one column per inner item id. Column 0 is padding and never returned; ``-inf``
            means that the model gives the item no score, so it is not returned either. Left as it is.
        k: how many to return; above the number of items all of them are returned.
        seen: inner item ids to leave out, one row per row of ``scores``; 0 is ignored.

    Returns:
        ``(items, scores)``, int64 and float32 ``[b, k]``, best first, equal scores by lower inner id; 0 and ``-inf`` where there is none.

    Raises:
        ConfigError: ``k`` below 1.
        DataError: ``scores`` is no matrix, holds NaN or ``+inf``, or ``seen`` does not fit it.
    """
    k = check_k(k)
    masked = _masked_copy(scores, seen)
    width = min(k, masked.shape[1])
    items, best = _largest(masked, width)
    none = np.isneginf(best)
    items[none] = 0
    return _widened(items, k, 0), _widened(best, k, -np.inf)


def _masked_copy(scores: npt.ArrayLike, seen: Ragged | None) -> FloatArray:
    masked = np.array(scores, dtype=np.float32)
    if masked.ndim != 2 or masked.shape[1] < 1:
        raise DataError(f"scores must have the shape [batch, items + 1], not {list(masked.shape)}")
    if np.isnan(masked[:, 1:]).any() or np.isposinf(masked[:, 1:]).any():
        raise DataError("scores hold NaN or +inf: only -inf, for an item without a score, may be not finite")
    masked[:, 0] = -np.inf
    if seen is not None:
        if len(seen) != len(masked):
            raise DataError(f"seen items are given for {len(seen)} rows, scores for {len(masked)}")
        if len(seen.values) and (seen.values.min() < 0 or seen.values.max() >= masked.shape[1]):
            raise DataError(f"seen items must be inner ids from 0 to {masked.shape[1] - 1}")
        masked[seen.rows, seen.values] = -np.inf
    return masked


def _largest(scores: FloatArray, width: int) -> tuple[IntArray, FloatArray]:
    """Return columns and values of the ``width`` largest of each row, equal values by lower column."""
    cut = np.partition(scores, scores.shape[1] - width, axis=1)[:, -width:].min(axis=1, keepdims=True, initial=np.inf)
    keep, ties = scores > cut, scores == cut
    room = width - keep.sum(axis=1)
    crowded = np.flatnonzero(ties.sum(axis=1) > room)  # more ties at the cut than room: the lowest columns win
    ties[crowded] &= np.cumsum(ties[crowded], axis=1) <= room[crowded, None]
    columns = np.nonzero(keep | ties)[1].reshape(len(scores), width).astype(np.int64)
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")  # columns ascend, so a stable sort settles ties by column
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def _widened(array: npt.NDArray[Any], width: int, fill: float) -> npt.NDArray[Any]:
    if array.shape[1] == width:
        return array
    out = np.full((len(array), width), fill, dtype=array.dtype)
    out[:, : array.shape[1]] = array
    return out

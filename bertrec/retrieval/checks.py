"""What vectors and ids must be before they enter an index or a search."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect_list
from bertrec.core.errors import DataError, IndexFileError
from bertrec.retrieval.exact import FloatArray

Id = str | int

_LARGEST = 1e15


def check_vectors(vectors: npt.ArrayLike, metric: str, *, dim: int | None = None, what: str = "vectors") -> FloatArray:
    """Return a contiguous float32 ``[n, d]``, scaled to length 1 for cosine (zero rows stay zero).

    Raises:
        DataError: no matrix of numbers, no dimensions, or a value that is NaN, infinite or beyond 1e15 (its row is named).
        IndexFileError: not ``dim`` dimensions, so the vectors come from another model than the index.
    """
    array = _as_float32(vectors, what)
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"{what} must have the shape [n, dimensions], not {list(array.shape)}")
    if dim is not None and array.shape[1] != dim:
        raise IndexFileError(f"{what} have {array.shape[1]} dimensions, the index has {dim}: it was built with another model")
    _check_range(array, metric, what)
    return unit_length(array) if metric == "cosine" else array


def _as_float32(vectors: npt.ArrayLike, what: str) -> FloatArray:
    try:
        with np.errstate(over="ignore"):  # what overflows float32 becomes infinite and is reported as that
            return np.ascontiguousarray(vectors, dtype=np.float32) if np.ndim(vectors) else np.zeros((), np.float32)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: of a tensor that keeps gradients
        raise DataError(f"{what} are no matrix of numbers: {error}") from error


def _check_range(array: FloatArray, metric: str, what: str) -> None:
    peak = float(max(array.max(initial=0.0), -array.min(initial=0.0)))  # NaN passes through min and max
    if not np.isfinite(peak):
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        raise DataError(f"{what}: row {bad[0]} holds NaN or an infinite value ({len(bad)} such rows)")
    if metric == "inner_product" and peak > _LARGEST:
        row = int(np.argmax(np.abs(array).max(axis=1)))
        raise DataError(f"{what}: row {row} holds {peak:.3g}, too large for an inner product in float32 (at most {_LARGEST:g})")


def unit_length(array: FloatArray) -> FloatArray:
    """Return the rows scaled to length 1; a row of zeros stays as it is."""
    # By the largest value first, so that neither tiny nor huge rows lose their direction.
    peak = np.maximum(array.max(axis=1, keepdims=True), -array.min(axis=1, keepdims=True))
    scaled = array.copy()
    scaled /= np.where(peak > 0, peak, np.float32(1))
    norms = np.linalg.norm(scaled, axis=1, keepdims=True)
    scaled /= np.where(norms > 0, norms, np.float32(1))
    return scaled


def _listed(ids: Iterable[Any]) -> list[Any]:
    try:
        return list(ids)
    except TypeError:
        expect_list(ids, "ids", of="ids")
        raise


def check_ids(ids: Iterable[Any]) -> list[Id]:
    """Return ids as a list of plain str and int; ``1`` and ``"1"`` are two ids.

    Raises:
        DataError: an id that is neither (its place is named), or one string where a list of ids is meant.
    """
    if isinstance(ids, (str, bytes)):
        raise DataError(f"ids must be a list of ids, not the single {type(ids).__name__} {ids!r}")
    values = ids.tolist() if hasattr(ids, "tolist") else _listed(ids)
    if set(map(type, values)) <= {str, int}:
        return values
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    bad = next((place for place, value in enumerate(plain) if type(value) not in (str, int)), None)
    if bad is not None:
        raise DataError(f"id {plain[bad]!r} at place {bad} is a {type(plain[bad]).__name__}; ids are str or int")
    return plain

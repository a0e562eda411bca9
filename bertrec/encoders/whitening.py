"""Fixed whitening of text vectors: decorrelated, with variance one in every direction."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.checks import expect_whole
from bertrec.core.errors import ConfigError, DataError

# Directions with less than this share of the largest variance are noise or absent; dividing by their deviation would only blow noise up.
_FLOOR = 1e-7
_ENOUGH, _FEW = 4, 1
"""Rows for each dimension from which variances are taken as they are, and up to which they are shrunk in full."""


class Whitening(torch.nn.Module):
    """``(x - mean) @ matrix`` with both fitted once and then fixed: two buffers, so it travels in a ``state_dict``.

    Su et al. 2021, "Whitening Sentence Representations for Better Semantics and Faster Retrieval" (PCA form); Kessy et al. 2018, "Optimal
    Whitening and Decorrelation" (ZCA, which stays nearest to the original vectors). With few rows the variances are drawn towards their
    mean (Ledoit and Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices"): n rows span n - 1 directions, and
    with each of these at variance one all rows are equally far apart, whatever they say. Directions without variance become 0. Within
    groups of dimensions, so that correlations between groups stay: relaxed whitening of Zhang et al., ICDE 2024, "Are ID Embeddings
    Necessary?".

    Args:
        in_dim: width of the vectors.
        dim: width after whitening; None keeps ``in_dim``.
    """

    mean: torch.Tensor
    matrix: torch.Tensor

    def __init__(self, in_dim: int, dim: int | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(in_dim))
        self.register_buffer("matrix", torch.eye(in_dim, in_dim if dim is None else dim))

    @classmethod
    def fit(
        cls,
        vectors: npt.NDArray[np.floating],
        rows: npt.ArrayLike | None = None,
        *,
        dim: int | None = None,
        method: Literal["pca", "zca"] = "pca",
        groups: int = 1,
    ) -> Self:
        """Fit on ``vectors[rows]``; give the rows of training items, so that neither padding nor held-out items count.

        Args:
            vectors: ``[n, in_dim]``.
            rows: row numbers or a boolean mask; None takes all rows.
            dim: keep this many directions of the largest variance (``pca`` only).
            method: ``pca`` or ``zca``.
            groups: so many groups of neighbouring dimensions, of one size or one more, are whitened each by itself; all are kept.

        Raises:
            ConfigError: ``dim`` is not from 1 to ``in_dim``, or is given with ``zca`` or groups; the method is unknown; ``groups`` is not
                from 1 to ``in_dim``.
            DataError: fewer than two rows, or values that are not finite.
        """
        chosen = _numbers(vectors, np.float64)
        if rows is not None:
            try:
                chosen = chosen[np.asarray(rows)]
            except IndexError as error:
                raise DataError(f"whitening: rows must be row numbers or a mask of the {len(chosen)} vectors: {error}") from error
        _check(chosen, dim, method, groups)
        mean = chosen.mean(axis=0)
        module = cls(chosen.shape[1], dim)
        module.mean.copy_(torch.from_numpy(mean))
        parts = [_whitening_matrix(part, dim, method) for part in np.array_split(chosen - mean, groups, axis=1)]
        module.matrix.copy_(torch.block_diag(*map(torch.from_numpy, parts)))
        return module

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Whiten ``[…, in_dim]`` to ``[…, dim]``."""
        return (vectors - self.mean) @ self.matrix

    def transform(self, vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Whiten an array ``[n, in_dim]`` to float32 ``[n, dim]``."""
        mean, matrix = self.mean.cpu().numpy(), self.matrix.cpu().numpy()
        given = _numbers(vectors, np.float32)
        if given.ndim != 2 or given.shape[1] != len(mean):
            raise DataError(f"whitening was fitted on vectors of {len(mean)} dimensions: give [n, {len(mean)}], not {list(given.shape)}")
        return np.asarray((given - mean) @ matrix, dtype=np.float32)


def _numbers(vectors: object, kind: npt.DTypeLike) -> npt.NDArray[Any]:
    try:
        return np.asarray(vectors, dtype=kind)
    except (TypeError, ValueError) as error:
        raise DataError(f"whitening: the vectors are no matrix of numbers: {error}") from error


def _check(vectors: npt.NDArray[np.float64], dim: int | None, method: str, groups: int) -> None:
    if method not in {"pca", "zca"}:
        raise ConfigError(f"whitening method '{method}' is unknown (one of: pca, zca)")
    if vectors.ndim != 2 or len(vectors) < 2:
        raise DataError(f"whitening needs at least two rows of vectors, got an array of shape {vectors.shape}")
    if dim is not None and not 1 <= expect_whole(dim, "whitening: dim") <= vectors.shape[1]:
        raise ConfigError(f"whitening to {dim} dimensions is impossible for vectors of {vectors.shape[1]}")
    if dim is not None and method == "zca" and dim != vectors.shape[1]:
        raise ConfigError("zca whitening keeps all dimensions: use method pca to reduce them")
    if not 1 <= expect_whole(groups, "whitening: groups") <= vectors.shape[1]:
        raise ConfigError(f"whitening in {groups} groups is impossible for vectors of {vectors.shape[1]} dimensions")
    if groups > 1 and dim is not None:
        raise ConfigError("whitening in groups keeps all dimensions: leave out dim or groups")
    if not np.isfinite(vectors).all():
        raise DataError("whitening needs finite vectors; some values are NaN or infinite")


def _whitening_matrix(centred: npt.NDArray[np.float64], dim: int | None, method: str) -> npt.NDArray[np.float64]:
    variance, directions = np.linalg.eigh(centred.T @ centred / (len(centred) - 1))
    variance, directions = variance[::-1], directions[:, ::-1]
    # An eigenvector's sign is arbitrary; fixed, the same vectors give the same matrix on every machine.
    top = np.abs(directions).argmax(axis=0)
    directions = directions * np.where(directions[top, np.arange(len(top))] < 0, -1.0, 1.0)
    usable = variance > _FLOOR * max(float(variance[0]), np.finfo(float).tiny)
    scale = np.where(usable, 1 / np.sqrt(np.where(usable, _drawn_in(variance, centred), 1.0)), 0.0)
    whitened = directions * scale
    return whitened @ directions.T if method == "zca" else whitened[:, :dim]


def _drawn_in(variance: npt.NDArray[np.float64], centred: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the variances, drawn towards their mean: not from `_ENOUGH` rows a dimension on, and more with fewer."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    n, dim = centred.shape
    lack = min(1.0, (_ENOUGH - n / dim) / (_ENOUGH - _FEW))
    if lack <= 0 or not centred.any():
        return variance
    share = lack * float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    drawn: npt.NDArray[np.float64] = (1 - share) * variance + share * variance.mean()
    return drawn

"""Ridge regression on a user, an item and a few numbers of each pair, solved as one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, hstack
from scipy.sparse.linalg import LinearOperator, lsqr

from bertrec.core.errors import NotFiniteError
from bertrec.core.ragged import IntArray

Float64Array = npt.NDArray[np.float64]
_STEPS = 2000


def one_hot(places: IntArray, width: int) -> csr_array:
    """Return ``[n, width]`` with a 1 in each row."""
    n = len(places)
    return csr_array((np.ones(n), places, np.arange(n + 1)), shape=(n, width))


def fit_ridge(
    marks: list[tuple[csr_array, float]], numbers: npt.NDArray[np.floating] | None, penalty: float, target: Float64Array
) -> tuple[list[Float64Array], Float64Array]:
    r"""Return the weights that minimise :math:`\sum (y - \sum_k M_k b_k - X w)^2 + \sum_k λ_k |b_k|^2 + λ |w|^2`.

    Solved by LSQR (Paige & Saunders 1982) with columns scaled so that all penalties are 1.

    Args:
        marks: sparse :math:`M_k` ``[n, m_k]`` and :math:`λ_k > 0`.
        numbers: dense :math:`X` ``[n, f]``, or None.
        penalty: :math:`λ > 0`.
        target: ``[n]``.

    Returns:
        The :math:`b_k` ``[m_k]``, and :math:`w` ``[f]``.

    Raises:
        NotFiniteError: a number is none, or the search ended at none.
    """
    dense = np.zeros((len(target), 0), np.float32) if numbers is None else numbers
    scales = [1 / np.sqrt(weight) for _, weight in marks]
    sparse = hstack([matrix * scale for (matrix, _), scale in zip(marks, scales, strict=True)], format="csr")
    columns, own = sparse.shape[1], 1 / np.sqrt(penalty)

    def forward(found: Float64Array) -> Float64Array:
        return sparse @ found[:columns] + own * (dense @ found[columns:].astype(dense.dtype))

    def back(errors: Float64Array) -> Float64Array:
        return np.concatenate([sparse.T @ errors, own * (errors.astype(dense.dtype) @ dense)])

    design = LinearOperator((len(target), columns + dense.shape[1]), matvec=forward, rmatvec=back, dtype=np.float64)
    found = lsqr(design, target, damp=1.0, atol=1e-9, btol=1e-9, iter_lim=_STEPS)[0]
    if not np.isfinite(found).all():
        raise NotFiniteError("the ridge regression of ratings did not converge: raise the penalties")
    edges = np.cumsum([0, *(matrix.shape[1] for matrix, _ in marks)])
    biases = [found[start:stop] * scale for start, stop, scale in zip(edges[:-1], edges[1:], scales, strict=True)]
    return biases, found[columns:] * own

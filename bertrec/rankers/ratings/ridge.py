"""Ridge regression on a user, an item and a few numbers of each pair, solved as one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, hstack
from scipy.sparse.linalg import LinearOperator, lsqr

from bertrec.core.errors import NotFiniteError
from bertrec.core.ragged import IntArray

Float64Array = npt.NDArray[np.float64]
_STEPS = 2000
_STOPPED = 7  # what lsqr says where the steps ran out


def one_hot(places: IntArray, width: int) -> csr_array:
    """Return ``[n, width]`` with a 1 in each row."""
    n = len(places)
    return csr_array((np.ones(n), places, np.arange(n + 1)), shape=(n, width))


@dataclass(frozen=True, eq=False)
class RidgeFit:
    """What `fit_ridge` found.

    Attributes:
        biases: the :math:`b_k` ``[m_k]``.
        weight: :math:`w` ``[f]``.
        notes: a line where the search ended before it was there.
    """

    biases: list[Float64Array]
    weight: Float64Array
    notes: tuple[str, ...] = ()


def fit_ridge(
    marks: list[tuple[csr_array, float]], numbers: npt.NDArray[np.floating] | None, penalty: float, target: Float64Array
) -> RidgeFit:
    r"""Return the weights that minimise :math:`\sum (y - \sum_k M_k b_k - X w)^2 + \sum_k λ_k |b_k|^2 + λ |w|^2`.

    Solved by LSQR (Paige & Saunders 1982) with columns scaled so that all penalties are 1.

    Args:
        marks: sparse :math:`M_k` ``[n, m_k]`` and :math:`λ_k > 0`.
        numbers: dense :math:`X` ``[n, f]``, or None.
        penalty: :math:`λ > 0`.
        target: ``[n]``.

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
    found, reason = lsqr(design, target, damp=1.0, atol=1e-9, btol=1e-9, iter_lim=_STEPS)[:2]
    if not np.isfinite(found).all():
        raise NotFiniteError("the ridge regression of ratings did not converge: raise the penalties")
    edges = np.cumsum([0, *(matrix.shape[1] for matrix, _ in marks)])
    biases = [found[start:stop] * scale for start, stop, scale in zip(edges[:-1], edges[1:], scales, strict=True)]
    late = f"the ridge regression stopped after {_STEPS} steps, before it was exact: higher penalties need fewer"
    return RidgeFit(biases, found[columns:] * own, (late,) if reason == _STOPPED else ())

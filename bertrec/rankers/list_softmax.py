"""A linear head over features of listed items, learned by softmax within each list."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.errors import DataError, NotFiniteError
from bertrec.core.ragged import Ragged

Float64Array = npt.NDArray[np.float64]
_STEPS = 200


def fit_list_softmax(features: npt.NDArray[Any], labels: npt.NDArray[Any], lists: Ragged, *, l2: float) -> Float64Array:
    """Return the weights that minimise the mean cross-entropy of clicked items within their lists plus ``l2`` times their squared length.

    Several clicked items of a list share its target equally. The problem is convex; L-BFGS starts at 0, in double precision.

    Args:
        features: ``[total, f]``, best standardised.
        labels: ``[total]``, 1 for a click.
        lists: which rows belong together; its values are not read.
        l2: the penalty.

    Returns:
        ``[f]``.

    Raises:
        DataError: no list has both a click and an item that was not clicked.
        NotFiniteError: a feature is no number, or the search ended at no number.
    """
    if not np.isfinite(features).all():
        raise NotFiniteError("a feature of the reranker is no finite number")
    clicked = np.bincount(lists.rows, labels == 1, minlength=len(lists))
    usable = np.flatnonzero((clicked > 0) & (clicked < lists.lengths))
    if not len(usable):
        raise DataError(f"none of the {len(lists)} lists has both a click and an item that was not clicked: there is nothing to learn from")
    at = Ragged(np.arange(len(labels)), lists.offsets).take(usable)
    rows = torch.from_numpy(at.rows)
    x = torch.from_numpy(np.asarray(features, np.float64)[at.values])
    target = torch.from_numpy((labels[at.values] == 1) / clicked[usable][at.rows])
    weight = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weight], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        search.zero_grad()
        logits = x @ weight
        top = torch.full((len(usable),), -torch.inf, dtype=torch.float64).scatter_reduce(0, rows, logits.detach(), "amax")
        total = torch.zeros(len(usable), dtype=torch.float64).index_add(0, rows, (logits - top[rows]).exp())
        loss = -(target * (logits - top[rows] - total.log()[rows])).sum() / len(usable) + l2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        return loss

    search.step(closure)
    found = weight.detach().numpy()
    if not np.isfinite(found).all():
        raise NotFiniteError("the reranker's head did not converge: raise l2")
    return np.asarray(found, np.float64)


def places_in_lists(scores: npt.NDArray[Any], lists: Ragged) -> npt.NDArray[np.float32]:
    """Return each value's place in its list by falling score, ``(place - 0.5) / length``, so that sampled lists compare with whole ones.

    >>> places_in_lists(np.array([1.0, 3.0, 2.0, 5.0]), Ragged.from_rows([[7, 8], [7, 9]])).tolist()
    [0.75, 0.25, 0.75, 0.25]
    """
    order = np.lexsort((-np.asarray(scores), lists.rows))
    place = np.empty(len(order), np.float32)
    place[order] = np.arange(len(order)) - lists.offsets[:-1][lists.rows]
    return np.asarray((place + 0.5) / lists.lengths[lists.rows], np.float32)

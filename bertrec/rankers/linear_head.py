"""A linear head over features of listed items, learned by one of three losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from bertrec.core.errors import DataError, NotFiniteError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.rankers.losses import RankLoss

Float64Array = npt.NDArray[np.float64]
Term = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of logits [total] and the intercept
_STEPS = 200


def fit_linear_head(
    features: npt.NDArray[Any], labels: npt.NDArray[Any], lists: Ragged, *, l2: float, loss: RankLoss = "listwise"
) -> Float64Array:
    """Return the weights ``[f]`` of `fit_with_intercept`; the intercept orders nothing."""
    return fit_with_intercept(features, labels, lists, l2=l2, loss=loss)[0]


def fit_with_intercept(
    features: npt.NDArray[Any], labels: npt.NDArray[Any], lists: Ragged, *, l2: float, loss: RankLoss = "listwise"
) -> tuple[Float64Array, float]:
    """Return the weights and the intercept that minimise a loss plus ``l2`` times the squared length of the weights.

    Pairwise and pointwise losses are those of `bertrec.rankers.losses.rank_loss`; pointwise alone has an intercept.
    Listwise is the mean cross-entropy of clicked items within their lists; several of a list share its target equally.
    Each problem is convex; L-BFGS starts at 0, in double precision.

    Args:
        features: ``[total, f]``, best standardised.
        labels: ``[total]``, 1 for a click.
        lists: which rows belong together; its values are not read.
        l2: the penalty.
        loss: which of the three.

    Returns:
        ``[f]``, and the intercept; 0 for losses over lists.

    Raises:
        DataError: no list has both a click and an item that was not clicked; for the pointwise loss, there is none of
            one of the labels.
        NotFiniteError: a feature is no number, or the search ended at no number.
    """
    if not np.isfinite(features).all():
        raise NotFiniteError("a feature of the reranker is no finite number")
    clicked = np.asarray(labels) == 1
    kept, term = _pointwise(clicked, lists) if loss == "pointwise" else _in_lists(clicked, lists, loss)
    x = torch.from_numpy(np.asarray(features, np.float64)[kept])
    weight, intercept = (torch.zeros(width, dtype=torch.float64, requires_grad=True) for width in (x.shape[1], 1))
    search = torch.optim.LBFGS([weight, intercept], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        search.zero_grad()
        value = term(x @ weight, intercept) + l2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        return value

    search.step(closure)
    found = weight.detach().numpy()
    if not np.isfinite(found).all():
        raise NotFiniteError("the reranker's head did not converge: raise l2")
    return np.asarray(found, np.float64), float(intercept.detach())


def _pointwise(clicked: npt.NDArray[np.bool_], lists: Ragged) -> tuple[IntArray, Term]:
    """Return all rows, and the cross-entropy of their labels."""
    if clicked.all() or not clicked.any():
        raise DataError(f"the {len(lists)} lists hold clicks alone, or none: there is nothing to learn from")
    target = torch.from_numpy(clicked.astype(np.float64))
    return np.arange(len(clicked)), lambda logits, intercept: binary_cross_entropy_with_logits(logits + intercept, target)


def _in_lists(clicked: npt.NDArray[np.bool_], lists: Ragged, loss: RankLoss) -> tuple[IntArray, Term]:
    """Return the rows of lists with both labels, and a loss over these."""
    clicks = np.bincount(lists.rows, clicked, minlength=len(lists))
    usable = np.flatnonzero((clicks > 0) & (clicks < lists.lengths))
    if not len(usable):
        raise DataError(f"none of the {len(lists)} lists has both a click and an item that was not clicked: there is nothing to learn from")
    at = Ragged(np.arange(len(clicked)), lists.offsets).take(usable)
    own = clicked[at.values]
    return at.values, _pairwise(own, at) if loss == "pairwise" else _listwise(own / clicks[usable][at.rows], at)


def _pairwise(clicked: npt.NDArray[np.bool_], lists: Ragged) -> Term:
    places = Ragged(np.arange(len(clicked)), lists.offsets)
    clicks, others = places.where(clicked), places.where(~clicked)
    of_click = others.take(clicks.rows)  # for each click the others of its list
    above, below = torch.from_numpy(clicks.values[of_click.rows]), torch.from_numpy(of_click.values)
    return lambda logits, _: softplus(logits[below] - logits[above]).mean()


def _listwise(shares: Float64Array, lists: Ragged) -> Term:
    rows, target, count = torch.from_numpy(lists.rows), torch.from_numpy(shares), len(lists)

    def term(logits: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        top = torch.full((count,), -torch.inf, dtype=torch.float64).scatter_reduce(0, rows, logits.detach(), "amax")
        total = torch.zeros(count, dtype=torch.float64).index_add(0, rows, (logits - top[rows]).exp())
        return -(target * (logits - top[rows] - total.log()[rows])).sum() / count

    return term


def places_in_lists(scores: npt.NDArray[Any], lists: Ragged) -> npt.NDArray[np.float32]:
    """Return each value's place in its list by falling score, ``(place - 0.5) / length``, so that sampled lists compare with whole ones.

    >>> places_in_lists(np.array([1.0, 3.0, 2.0, 5.0]), Ragged.from_rows([[7, 8], [7, 9]])).tolist()
    [0.75, 0.25, 0.75, 0.25]
    """
    order = np.lexsort((-np.asarray(scores), lists.rows))
    place = np.empty(len(order), np.float32)
    place[order] = np.arange(len(order)) - lists.offsets[:-1][lists.rows]
    return np.asarray((place + 0.5) / lists.lengths[lists.rows], np.float32)

"""Area under the ROC curve for labelled pairs (clicks and non-clicks): over all pairs, and the mean over users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError, ModelError
from bertrec.core.ragged import IntArray
from bertrec.evaluation.metrics import Float64Array

Ties = Literal["half", "against"]
_TIE_WORTH = {"half": 0.5, "against": 0.0}


@dataclass(frozen=True)
class UserAuc:
    """AUC per user.

    Attributes:
        per_user: ``[n]``, NaN where the user was skipped.
        users: how many users have a value.
        skipped: how many have positives only, negatives only, or nothing.
    """

    per_user: Float64Array
    users: int
    skipped: int

    @property
    def mean(self) -> float:
        """UAUC: the unweighted mean over users with both classes; NaN where there is none."""
        return float(np.nanmean(self.per_user)) if self.users else float("nan")


def auc(scores: npt.ArrayLike, labels: npt.ArrayLike, *, ties: Ties = "half") -> float:
    r"""Return the probability that a positive scores above a negative (Mann and Whitney 1947).

    .. math:: \frac{|\{(p, q): s_p > s_q\}| + w\,|\{(p, q): s_p = s_q\}|}{|P|\,|Q|}

    Unlike the ranks elsewhere, equal scores count half by default (:math:`w = 1/2`), the usual definition of AUC, so that a constant model
    gets 0.5; ``ties="against"`` counts them as lost (:math:`w = 0`).

    Args:
        scores: ``[n]``.
        labels: ``[n]``, 0 or 1.
        ties: ``half`` or ``against``.

    Raises:
        DataError: lengths differ, labels other than 0 and 1, or only one class.
        ModelError: a score is NaN or +inf.

    >>> auc([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
    0.875
    >>> auc([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1], ties="against")
    0.75
    """
    values, positive = _checked(scores, labels)
    result = _group_auc(values, positive, np.zeros(len(values), dtype=np.int64), 1, ties)[0]
    if np.isnan(result):
        raise DataError("AUC needs both labels, 0 and 1")
    return float(result)


def user_auc(scores: npt.ArrayLike, labels: npt.ArrayLike, rows: IntArray, n_users: int, *, ties: Ties = "half") -> UserAuc:
    """Return the AUC within each user; users with one class only are skipped and counted.

    Args:
        scores: ``[total]``.
        labels: ``[total]``, 0 or 1.
        rows: ``[total]``, the user's row of each pair, 0 to ``n_users - 1``.
        n_users: number of rows.
        ties: as in `auc`.

    >>> user_auc([0.9, 0.1, 0.5], [1, 0, 1], np.array([0, 0, 1]), 2)
    UserAuc(per_user=array([ 1., nan]), users=1, skipped=1)
    """
    values, positive = _checked(scores, labels)
    rows = np.asarray(rows, dtype=np.int64)
    if rows.shape != values.shape or (len(rows) and (rows.min() < 0 or rows.max() >= n_users)):
        raise DataError(f"rows must be {len(values)} numbers from 0 to {n_users - 1}")
    per_user = _group_auc(values, positive, rows, n_users, ties)
    users = int(np.count_nonzero(~np.isnan(per_user)))
    return UserAuc(per_user=per_user, users=users, skipped=n_users - users)


def _checked(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Float64Array, npt.NDArray[np.bool_]]:
    values, given = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if values.ndim != 1 or given.shape != values.shape:
        raise DataError(f"scores and labels must be two lists of one length, not of shapes {list(values.shape)} and {list(given.shape)}")
    if not np.all((given == 0) | (given == 1)):
        at = int(np.argmin((given == 0) | (given == 1)))
        raise DataError(f"row {at}: label {given[at]} is neither 0 nor 1")
    if not np.all(values < np.inf):
        at = int(np.argmin(values < np.inf))
        raise ModelError(f"row {at}: the score is {values[at]}; scores must be finite, or -inf where the model knows no score")
    return values, given.astype(bool)


def _group_auc(scores: Float64Array, positive: npt.NDArray[np.bool_], rows: IntArray, n_rows: int, ties: Ties) -> Float64Array:
    order = np.lexsort((scores, rows))
    scores, positive, rows = scores[order], positive[order], rows[order]
    starts_row = np.diff(rows, prepend=-1) != 0
    starts_tie = starts_row | np.concatenate([[True], scores[1:] != scores[:-1]])[: len(rows)]
    negatives_before = np.concatenate([[0], np.cumsum(~positive)])
    row_start = np.flatnonzero(starts_row)[np.cumsum(starts_row) - 1]
    tie_number = np.cumsum(starts_tie) - 1
    tie_edges = np.concatenate([np.flatnonzero(starts_tie), [len(rows)]])
    below = negatives_before[tie_edges[tie_number]] - negatives_before[row_start]
    equal = negatives_before[tie_edges[tie_number + 1]] - negatives_before[tie_edges[tie_number]]
    won = np.bincount(rows, weights=np.where(positive, below + _TIE_WORTH[ties] * equal, 0.0), minlength=n_rows)
    n_positive = np.bincount(rows, weights=positive, minlength=n_rows)
    pairs = n_positive * (np.bincount(rows, minlength=n_rows) - n_positive)
    return np.asarray(np.divide(won, pairs, out=np.full(n_rows, np.nan), where=pairs > 0))

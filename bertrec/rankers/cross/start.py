"""What a cross-encoder begins from: how like the candidate is to the history, and what the retriever thinks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bertrec.core.products import pair_scores
from bertrec.core.ragged import Ragged
from bertrec.rankers.linear_head import fit_linear_head, places_in_lists
from bertrec.rankers.losses import RankLoss

FloatArray = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
FEATURES = ("cosine", "retrieval_score", "retrieval_place")
_L2 = 1e-3
_HISTORIES_AT_ONCE = 1024


@dataclass(frozen=True)
class Start:
    """A linear score over features of a pair, fitted beforehand.

    Attributes:
        mean: of each feature over the training pairs, ``[f]``; 1 feature (the cosine) or 3 (`FEATURES`).
        spread: its standard deviation there.
        weight: of the standardised feature.
    """

    mean: FloatArray
    spread: FloatArray
    weight: FloatArray

    @classmethod
    def fitted(cls, features: FloatArray, labels: npt.NDArray[np.int8], lists: Ragged, loss: RankLoss) -> Self:
        """Fit the weights by a loss; a single feature needs none.

        Raises:
            DataError: no list has both a click and an item that was not clicked.
        """
        mean, spread = features.mean(axis=0), features.std(axis=0)
        spread[spread < 1e-6] = 1.0
        if features.shape[1] == 1:
            return cls(mean, spread, np.ones(1))
        return cls(mean, spread, fit_linear_head((features - mean) / spread, labels, lists, l2=_L2, loss=loss))

    def score(self, features: FloatArray) -> FloatArray:
        """Return ``[n]`` scores of features ``[n, f]``."""
        found: FloatArray = (features - self.mean) / self.spread @ self.weight
        return found


def pair_features(items: Vectors, histories: Ragged, candidates: Ragged, retrieval_scores: npt.NDArray[Any] | None) -> FloatArray:
    """Return the features of each candidate, ``[total candidates, f]``.

    Args:
        items: ``[n_items + 1, d]`` of length 1, row 0 zeros.
        histories: ``[n]`` rows of inner ids; the cosine after an empty one is 0.
        candidates: ``[n]`` rows of inner ids.
        retrieval_scores: ``[total candidates]`` of the retriever; None leaves its two features out.
    """
    columns = [pair_scores(_directions(items, histories), items, candidates.rows, candidates.values).astype(np.float64)]
    if retrieval_scores is not None:
        columns += [np.asarray(retrieval_scores, np.float64), places_in_lists(retrieval_scores, candidates).astype(np.float64)]
    return np.stack(columns, axis=1)


def _directions(items: Vectors, histories: Ragged) -> Vectors:
    """Return the mean vector of each history, at length 1, ``[n, d]``; zeros of an empty one."""
    out = np.zeros((len(histories), items.shape[1]), np.float32)
    for start in range(0, len(histories), _HISTORIES_AT_ONCE):
        stop = min(start + _HISTORIES_AT_ONCE, len(histories))
        out[start:stop] = items[histories.slice(start, stop).padded()].sum(axis=1)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)

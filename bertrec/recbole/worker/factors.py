"""A model's scores as inner products of a vector of the history and a vector of the item, where they are that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.errors import ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.splits import EvaluationSet
from bertrec.recbole.trained import Trained
from bertrec.recbole.worker.scoring import Scorer

FloatArray = npt.NDArray[np.float32]
_USERS, _ITEMS = 64, 32
_INSTEAD = "it cannot retrieve; SASRec and GRU4Rec can"
_TOLERANCE = 1e-3  # of the largest difference between two histories' scores


@dataclass(frozen=True)
class Factors:
    """``score = scale · user · item + constant of the item``.

    Attributes:
        scale: such as one over CORE's temperature.
        items: ``[n_items + 1, d + 1]``, the constant in the last column; row 0 is zero.
    """

    scale: float
    items: FloatArray


def user_vectors(scorer: Scorer, histories: Ragged, *, scale: float) -> FloatArray:
    """Return ``[n, d + 1]`` for ``n`` histories, at least one: times ``Factors.scale``, ones in the last column."""
    vectors = np.concatenate([left for left in scorer.user_factors(_asking(histories)) if left is not None]) * np.float32(scale)
    return np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)


def factorise(scorer: Scorer, histories: Ragged) -> Factors:
    """Find the factors of a model's scores from what it says of some histories, and of single items, so that not all are alike.

    Raises:
        ModelError: its scores are no such products, or the same whatever is asked.
    """
    name = type(scorer.trainer.model).__name__
    trained = np.flatnonzero(scorer.trained)
    single = trained[:: max(1, len(trained) // _ITEMS)][:_ITEMS]
    asked = _asking(Ragged.from_rows([*histories.slice(0, min(len(histories), _USERS)), *single[:, None]]))
    found = [part for part in scorer.products(asked) if part is not None]
    if not found:
        raise ModelError(f"RecBole's {name} does not score items by one product of vectors: {_INSTEAD}")
    scores = np.concatenate([part[0] for part in found])[:, 1:].astype(np.float64)
    items = found[0][2]
    products = np.concatenate([part[1] for part in found]).astype(np.float64) @ items[1:].T.astype(np.float64)
    differences, of_products = scores - scores[0], products - products[0]
    weight = float((of_products**2).sum())
    if not weight:
        raise ModelError(f"RecBole's {name} says the same of every history: {_INSTEAD}")
    scale = float((differences * of_products).sum()) / weight
    constant = (scores - scale * products).mean(axis=0)
    error = np.abs(scores - scale * products - constant).max()
    if error > _TOLERANCE * np.abs(differences).max() + 1e-6 * np.abs(scores).max():
        raise ModelError(f"RecBole's {name} does more to its scores than one product of vectors: {_INSTEAD}")
    whole = np.concatenate([items, np.concatenate([[0.0], constant])[:, None]], axis=1).astype(np.float32)
    whole[0] = 0
    return Factors(scale, whole)


def trained_model(scorer: Scorer, factors: Factors) -> Trained:
    """Return what is kept of a trained model."""
    vectors = factors.items.copy()
    vectors[1:][~scorer.trained[1:]] = np.nan
    weights = scorer.trainer.model.state_dict()
    return Trained(weights, torch.from_numpy(scorer.items), torch.from_numpy(vectors), torch.tensor([factors.scale]))


def _asking(histories: Ragged) -> EvaluationSet:
    targets = np.ones(len(histories), np.int64)  # of no consequence: nothing is measured
    return EvaluationSet([1] * len(histories), histories, Ragged.from_lengths(targets, targets))

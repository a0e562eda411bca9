"""Vectors of users and items from a trained model, for prompts that hold them (CoLLM) or start from its scores."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.ragged import Ragged
from bertrec.models.base import Recommender

_PAIRS = 1 << 16  # scored at once, about: histories stay whole


@dataclass(frozen=True)
class UserVectors:
    """What a trained model knows of users and items.

    Attributes:
        model: makes a user vector of a history.
        items: ``[n_items + 1, d]`` float32, row 0 is zero; an item without a vector has zeros.
    """

    model: Recommender
    items: Tensor

    @classmethod
    def from_model(cls, model: Recommender) -> UserVectors:
        """Take the item vectors of a trained model.

        Raises:
            ModelError: the model is not trained, or has no vectors.
        """
        vectors = np.nan_to_num(model.item_embeddings(), copy=True)  # NaN stands for an item that the model does not know
        vectors[0] = 0
        return cls(model, torch.from_numpy(vectors.astype(np.float32)))

    def of(self, histories: Ragged) -> Tensor:
        """Return a vector per history, ``[n, d]``; zeros for an empty one."""
        out = np.zeros((len(histories), self.items.shape[1]), np.float32)
        filled = np.flatnonzero(histories.lengths > 0)
        if len(filled):
            out[filled] = self.model.user_embeddings(histories.take(filled))
        return torch.from_numpy(out)

    def scores(self, histories: Ragged, candidates: Ragged) -> npt.NDArray[np.float64]:
        """Return the model's score of each history's candidates, ``[total candidates]``; NaN for an item that it does not know."""
        parts: list[npt.NDArray[np.floating]] = [np.zeros(0)]
        starts = np.searchsorted(candidates.offsets, np.arange(0, len(candidates.values), _PAIRS), side="right") - 1
        for first, last in pairwise([*np.unique(starts).tolist(), len(candidates)]):
            parts += self.model.score(histories.slice(first, last), candidates.slice(first, last))
        return np.concatenate(parts).astype(np.float64)

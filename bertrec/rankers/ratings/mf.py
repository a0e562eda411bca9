"""Biased matrix factorisation (Koren, Bell & Volinsky 2009) by alternating least squares."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from bertrec.core.config import Config
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.impressions import Impressions
from bertrec.rankers.ratings.base import Float64Array, RatingRanker
from bertrec.rankers.ratings.given import GivenRatings


class MFConfig(Config):
    """Settings."""

    factors: int = Field(16, ge=1, le=1024, description="Width of the vectors of users and items.")
    penalty: float = Field(
        0.2, gt=0, description="On the squared vectors and biases of a user or item, for each of its ratings (ALS-WR, Zhou et al. 2008)."
    )
    rounds: int = Field(15, ge=1, le=1000, description="How often users and items are solved in turn.")
    seed: int = Field(0, ge=0, description="Of the items' first vectors.")


class MF(RatingRanker):
    """Predicts ratings by biases and the inner product of learned vectors of user and item."""

    name: ClassVar[str] = "mf"
    config_class: ClassVar[type[Config]] = MFConfig
    config: MFConfig

    def _learned(self, given: GivenRatings, residual: Float64Array, impressions: Impressions) -> dict[str, npt.NDArray[Any]]:
        config, width = self.config, self.config.factors + 1  # the last number is the bias
        items = np.random.default_rng(config.seed).normal(0, 0.1, (len(impressions.catalog) + 1, width))
        items[:, -1] = 0.0
        users = np.zeros((len(given.users) + 1, width))
        of_users, of_items = _grouped(given.user, len(users)), _grouped(given.item, len(items))
        for _ in range(config.rounds):
            users = _solved(of_users, items[given.item], residual, config.penalty)
            items = _solved(of_items, users[given.user], residual, config.penalty)
        found = {"user": users[:, -1], "item": items[:, -1], "users": users[:, :-1], "items": items[:, :-1]}
        return {name if name in ("user", "item") else f"vectors.{name}": value for name, value in found.items()}

    def _beside_biases(self, users: IntArray, histories: Ragged, rows: IntArray, items: IntArray) -> Float64Array:
        return np.vecdot(self.part("vectors.users")[users][rows], self.part("vectors.items")[items])


def _grouped(places: IntArray, count: int) -> Ragged:
    """Return which pairs belong to each of ``count`` users or items."""
    return Ragged.from_lengths(np.argsort(places, kind="stable"), np.bincount(places, minlength=count).astype(np.int64))


def _solved(pairs: Ragged, others: Float64Array, residual: Float64Array, penalty: float) -> Float64Array:
    """Return vector and bias of each user (or item), ``[count, f + 1]``, given the other side's; 0 without a pair."""
    found = np.zeros((len(pairs), others.shape[1]))
    seen = np.concatenate([others[:, :-1], np.ones((len(others), 1))], axis=1)
    target = residual - others[:, -1]
    for row in np.flatnonzero(pairs.lengths).tolist():
        own = seen[pairs[row]]
        gram = own.T @ own + penalty * len(own) * np.eye(own.shape[1])
        found[row] = np.linalg.solve(gram, own.T @ target[pairs[row]])
    return found

"""A rating as mean plus what user and item lie above it (Koren, Bell & Volinsky 2009)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from bertrec.core.config import Config
from bertrec.data.impressions import Impressions
from bertrec.rankers.ratings.base import Float64Array, RatingRanker
from bertrec.rankers.ratings.given import GivenRatings
from bertrec.rankers.ratings.ridge import fit_ridge, one_hot


class BiasConfig(Config):
    """Settings."""

    user_penalty: float = Field(
        20.0, gt=0, description="Weight of the mean against a user's own ratings, in ratings: the more, the less a few of them say."
    )
    item_penalty: float = Field(2.0, gt=0, description="The same for each item.")


class Bias(RatingRanker):
    """Predicts ratings from mean, user and item alone: the baseline of rating prediction."""

    name: ClassVar[str] = "bias"
    config_class: ClassVar[type[Config]] = BiasConfig
    config: BiasConfig

    def _learned(self, given: GivenRatings, residual: Float64Array, impressions: Impressions) -> dict[str, npt.NDArray[Any]]:
        users, items = one_hot(given.user - 1, len(given.users)), one_hot(given.item - 1, len(impressions.catalog))
        marks = [(users, self.config.user_penalty), (items, self.config.item_penalty)]
        found = fit_ridge(marks, None, 1.0, residual)
        user, item = found.biases
        self.notes += found.notes
        return {"user": np.append(0.0, user), "item": np.append(0.0, item)}

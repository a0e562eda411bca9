"""What rankers that predict ratings share: whom they know, their mean, and the shape of a fit."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.rankers.base import Ranker
from bertrec.rankers.context import Context
from bertrec.rankers.ratings.given import GivenRatings

Float64Array = npt.NDArray[np.float64]
_TRAIN = "train it with  bertrec rankers train DATA --ranker {} --pairs ratings"
_USERS = "users"  # ids as JSON in UTF-8, for a tensor holds no text


class RatingRanker(Ranker):
    """Scores a candidate by the rating that the user would give it; a stranger is taken for a user of mean habits."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._users = IdMap([])
        self._parts: dict[str, Tensor] = {}

    @property
    def predicts_ratings(self) -> bool:
        """Scores are ratings."""
        return True

    @property
    def learns_pairs(self) -> bool:
        """Each rating is a row of the regression."""
        return True

    @property
    def reads_context(self) -> bool:
        """Who asks is read when scoring, ratings in a fit."""
        return True

    @classmethod
    def check_search(cls, config: Config) -> None:
        """Refuse: a study keeps no ratings.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{cls.name} learns from ratings, and a study keeps none: {_TRAIN.format(cls.name)}")

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Refuse: nobody rated the lists that a retriever proposed.

        Raises:
            ConfigError: always.
        """
        hint = f"choose another reranker; {_TRAIN.format(cls.name)}"
        raise ConfigError(f"{cls.name} learns from ratings, and the lists that a run proposes have none: {hint}")

    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Self:
        """Learn from the ratings of the pairs of ``impressions``.

        Args:
            impressions: whose candidates were rated; their labels are not read.
            validation: has no use here.
            **options: ``known`` has the ratings; others have no use here.

        Raises:
            DataError: none of the pairs has a rating.
        """
        self.check_data(impressions, validation)
        self.check_fit_options(options)
        given = GivenRatings.of(impressions, options.get("known"), what=self.name)
        with self.fitting():
            self.reset()
            self.catalog, self._users, self.notes = impressions.catalog, given.users, given.notes
            mean = float(given.rating.mean())
            found = {"mean": np.array([mean]), **self._learned(given, given.rating - mean, impressions)}
            self._parts = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in found.items()}
        return self

    @abstractmethod
    def _learned(self, given: GivenRatings, residual: Float64Array, impressions: Impressions) -> dict[str, npt.NDArray[Any]]:
        """Return what is learned of ratings less their mean; ``user`` and ``item`` are biases, 0 at place 0."""

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self._users, self._parts = IdMap([]), {}

    def score(
        self,
        histories: Ragged,
        candidates: Ragged,
        *,
        retrieval_scores: npt.NDArray[Any] | None = None,
        context: Context | None = None,
        progress: bool = False,
    ) -> Float64Array:
        """Return the predicted ratings, ``[total candidates]``; they may lie outside the range of those given.

        Args:
            histories: liked items before.
            candidates: inner ids.
            retrieval_scores: has no use here.
            context: who asks; without it everyone is a stranger.
            progress: has no use here.
        """
        self.catalog  # noqa: B018  # says that it is not fitted, where that is so
        self.check_pairs(histories, candidates)
        users = np.zeros(len(histories), np.int64) if context is None else self._users.encode(list(context.users))
        rows, items = candidates.rows, candidates.values
        found = self.part("mean")[0] + self.part("user")[users][rows] + self.part("item")[items]
        return found + self._beside_biases(users, histories, rows, items)

    def _beside_biases(self, users: IntArray, histories: Ragged, rows: IntArray, items: IntArray) -> Float64Array:
        """Return what is added to the biases, ``[n]``: of ``users [histories]`` at ``rows [n]``, and ``items [n]``."""
        return np.zeros(len(items))

    def part(self, name: str) -> npt.NDArray[Any]:
        """Return one of the learned arrays."""
        return self._parts[name].numpy()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the learned arrays, and the ids of the users."""
        ids = np.frombuffer(json.dumps(self._users.ids).encode(), np.uint8)
        return {**self._parts, _USERS: torch.from_numpy(ids.copy())}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state_dict` gave."""
        self._parts = {name: value for name, value in state.items() if name != _USERS}
        self._users = IdMap(json.loads(state[_USERS].numpy().tobytes()))

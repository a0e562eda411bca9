"""What all news rankers share: a loss over clicks and their negatives, and inner products as scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.config import Config
from bertrec.core.ragged import Ragged
from bertrec.data.impressions import Impressions
from bertrec.data.negatives import sample_negatives
from bertrec.encoders.text import TextEncoder
from bertrec.rankers.base import labels_of
from bertrec.rankers.context import Context
from bertrec.rankers.news.clicks import Lists
from bertrec.rankers.news.config import NewsConfig
from bertrec.rankers.news.network import NewsNetwork
from bertrec.rankers.news.pair_ranker import FloatArray, PairRanker
from bertrec.rankers.news.towers import ItemTower, UserTower


class TwoTower(PairRanker):
    """Two towers on impressions, trained on each click with negatives of its list."""

    config_class: ClassVar[type[Config]] = NewsConfig

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Return the negatives for lists that a retriever proposed."""
        return {"negatives": negatives}

    def make_network(self, encoder: TextEncoder, items: ItemTower, users: UserTower) -> NewsNetwork:
        """Join the towers."""
        config = self.config
        return NewsNetwork(encoder, items, users, dropout=config.dropout, scale=config.scale, loss=config.loss)

    def lists(self, impressions: Impressions, options: Mapping[str, Any]) -> Lists:
        """Return a row for each click with its negatives."""
        clicks = sample_negatives(impressions, self.config.negatives, self.config.train.seed)
        self.notes = clicks.notes[len(impressions.notes) :]
        users = self.user_numbers(clicks.users, len(clicks))
        return Lists(clicks, labels_of(clicks), self.config.max_history, users=users)

    def score(
        self,
        histories: Ragged,
        candidates: Ragged,
        *,
        retrieval_scores: npt.NDArray[Any] | None = None,
        context: Context | None = None,
        progress: bool = False,
    ) -> FloatArray:
        """Return inner products, ``[total candidates]``, of ``[n]`` histories and ``[n]`` rows of inner ids.

        After a pointwise loss they are logits.

        Raises:
            ModelError: it was not trained.
            DataError: rows that do not match, or ids outside the catalogue.
        """
        scores = self.matched(histories, candidates, context=context)
        pointwise = self.trained.bias is not None
        scores = self.trained.logits(scores).detach() if pointwise else scores
        return np.asarray(scores.cpu().numpy(), np.float32)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of the towers; a bias that is missing is 0."""
        bias = self.trained.bias
        super().load_state_dict(({} if bias is None else {"bias": torch.zeros_like(bias)}) | dict(state))

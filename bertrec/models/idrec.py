"""IDRec: the heads and losses of the text models over a table of item IDs, the baseline that a text model must beat."""

from __future__ import annotations

from typing import ClassVar

from bertrec.core.errors import ConfigError
from bertrec.heads.config import ItemInput
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.defaults import tuned_defaults
from bertrec.models.sequential.neural import NeuralRecommender


class IDRec(NeuralRecommender):
    """A self-attentive recommender that knows items by id alone (SASRec with a full softmax by default)."""

    name: ClassVar[str] = "idrec"

    @classmethod
    def default_config(cls, *, item_input: ItemInput | None = None, tune: str = "frozen") -> ModelConfig:
        """Return the settings that the text models have with IDs alone.

        Raises:
            ConfigError: another item input or a tuning depth is asked for.
        """
        if item_input not in (None, "id") or tune != "frozen":
            raise ConfigError("idrec reads item ids alone: leave out --tune and use --item-input id, or take --model unisrec")
        return tuned_defaults(ModelConfig(), item_input="id", tune="frozen")

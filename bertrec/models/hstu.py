"""HSTU (Zhai et al., ICML 2024, https://arxiv.org/abs/2402.17152): gated pointwise attention that reads times."""

from __future__ import annotations

from typing import ClassVar

from bertrec.heads.config import ItemInput
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.defaults import tuned_defaults
from bertrec.models.sequential.neural import NeuralRecommender


class HSTU(NeuralRecommender):
    """HSTU's layers over text, ids or both."""

    name: ClassVar[str] = "hstu"

    @classmethod
    def default_config(cls, *, item_input: ItemInput | None = None, tune: str = "frozen") -> ModelConfig:
        """Return the settings of `bertrec.models.UniSRec` with the head ``hstu``."""
        config = tuned_defaults(ModelConfig(), item_input=item_input or "text+id", tune=tune)
        return config.updated({"head.kind": "hstu"})

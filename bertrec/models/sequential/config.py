"""The settings of a trainable model: one section per part, with flat dotted names such as ``head.layers``."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from bertrec.core.config import Config
from bertrec.encoders.config import EncoderConfig
from bertrec.heads.config import HeadConfig, ItemConfig, LossConfig
from bertrec.training.config import TrainConfig

_MOST_PARAMETERS = 4_000_000_000


class ModelConfig(Config):
    """All settings of a model."""

    encoder: EncoderConfig = Field(EncoderConfig(), description="The text encoder; unused where items are ids alone.")
    item: ItemConfig = Field(ItemConfig(), description="From text and id to an item's vector.")
    head: HeadConfig = Field(HeadConfig(), description="From a history to a user's vector.")
    loss: LossConfig = Field(LossConfig(), description="What training minimises.")
    train: TrainConfig = Field(
        TrainConfig(learning_rate=2e-3, schedule="cosine", epochs=16, patience=4),
        description="The training loop.",
    )

    @model_validator(mode="after")
    def _fits_a_machine(self) -> Self:
        """Refuse what would fill any memory before the first step says so."""
        width, inner = self.item.width, self.head.inner or self.item.width
        head = self.head.layers * (4 * width**2 + 2 * width * inner) + self.head.max_history * width
        adaptors = width * {"mlp": self.item.hidden, "moe": 1024 * self.item.experts}.get(self.item.adaptor, 0)
        if head + adaptors > _MOST_PARAMETERS:
            raise ValueError(f"item.width, head.layers and head.inner ask for {head + adaptors:.1e} parameters: make them smaller")
        return self

"""The settings of a trainable model: one section per part, with flat dotted names such as ``head.layers``."""

from __future__ import annotations

from pydantic import Field

from bertrec.core.config import Config
from bertrec.encoders.config import EncoderConfig
from bertrec.heads.config import HeadConfig, ItemConfig, LossConfig
from bertrec.training.config import TrainConfig


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

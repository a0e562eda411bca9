"""The settings of a trainable model: one section a part, with flat dotted names such as ``head.layers``."""

from __future__ import annotations

from bertrec.core.config import Config
from bertrec.encoders.config import EncoderConfig
from bertrec.heads.config import HeadConfig, ItemConfig, LossConfig
from bertrec.training.config import TrainConfig


class ModelConfig(Config):
    """All settings of a model."""

    encoder: EncoderConfig = EncoderConfig()
    item: ItemConfig = ItemConfig()
    head: HeadConfig = HeadConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig(learning_rate=2e-3, schedule="cosine", epochs=16, patience=4)

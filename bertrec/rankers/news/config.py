"""Settings that rankers of two towers share."""

from __future__ import annotations

from pydantic import Field

from bertrec.core.config import Config
from bertrec.encoders.config import EncoderConfig
from bertrec.rankers.losses import LOSSES_IN_WORDS, RankLoss
from bertrec.training.config import TrainConfig


def _train() -> TrainConfig:
    return TrainConfig(
        learning_rate=1e-3,
        encoder_learning_rate=5e-5,
        batch_size=32,
        epochs=5,
        metric="AUC",
        patience=2,
    )


class TowerConfig(Config):
    """Settings of two towers over one encoder."""

    encoder: EncoderConfig = Field(
        default_factory=lambda: EncoderConfig(max_length=32),
        description="The encoder that reads the items; a frozen one overfits less on few impressions.",
    )
    train: TrainConfig = Field(
        default_factory=_train,
        description="The training; batch_size counts clicks, each with its negatives.",
    )
    max_history: int = Field(50, ge=1, le=100_000, description="Newest items of a history that are read.")
    item_text: str = Field(
        "title",
        pattern="^(title|text)$",
        description="What stands for an item: its title or all of its text.",
    )


class NewsConfig(TowerConfig):
    """Settings of two towers that are trained on clicks and their negatives."""

    loss: RankLoss = Field("listwise", description=f"What is minimised: {LOSSES_IN_WORDS}.")
    dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of components dropped on item vectors and behind the self-attention.",
    )
    negatives: int = Field(
        4,
        ge=1,
        le=10_000,
        description="Items shown but not clicked that go with each click, from the same impression.",
    )
    scale: float = Field(
        10.0,
        gt=0,
        description="Factor of the inner products in the loss, at the start; it is learned on.",
    )

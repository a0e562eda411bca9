"""Settings of the review-aware ranker."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertrec.core.config import Config
from bertrec.encoders.config import EncoderConfig
from bertrec.rankers.losses import LOSSES_IN_WORDS, RankLoss
from bertrec.training.config import TrainConfig


def _train() -> TrainConfig:
    return TrainConfig(learning_rate=1e-3, batch_size=32, epochs=10, metric="AUC", patience=3)


class UBERTConfig(Config):
    """How much of whose reviews is read, and how wide the network over their vectors is."""

    encoder: EncoderConfig = Field(
        default_factory=EncoderConfig,
        description="The encoder that reads items, profiles and reviews, each text once; it stays frozen.",
    )
    train: TrainConfig = Field(
        default_factory=_train,
        description="The training; batch_size counts clicks with their negatives.",
    )
    width: int = Field(128, ge=1, le=65_536, description="Width of the vectors that are matched.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Share of components dropped on the vectors of all texts, in training.")
    negatives: int = Field(
        4,
        ge=0,
        le=10_000,
        description="Items shown but not clicked that go with each click, from the same impression; 0 trains on all "
        "candidates as they stand, as pairs with a label of their own, such as ratings, are learned.",
    )
    loss: RankLoss = Field("pointwise", description=f"Of the scores: {LOSSES_IN_WORDS}.")
    max_history: int = Field(50, ge=1, le=100_000, description="Newest items of a history that are averaged.")
    user_reviews: int = Field(10, ge=0, le=10_000, description="Reviews that the user wrote before, at most, the newest.")
    item_reviews: int = Field(10, ge=0, le=10_000, description="Reviews that others wrote of a candidate before, at most, the newest.")
    review_words: int = Field(100, ge=1, le=100_000, description="Words that each review is cut to, and each profile.")
    item_text: Literal["title", "text"] = Field("text", description="What stands for an item: its title or all of its text.")
    scale: float = Field(10.0, gt=0, description="Factor of the cosine of history and item in the score, at the start; it is learned on.")

"""Settings of the adaptation of an encoder; read without loading what trains it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertrec.core.config import Config
from bertrec.encoders.config import EncoderConfig
from bertrec.training.config import TrainConfig

PairKind = Literal["auto", "items", "reviews", "both"]


class AdaptConfig(Config):
    """How an encoder is adapted on pairs of texts that belong together."""

    encoder: EncoderConfig = Field(
        EncoderConfig(tune="full"), description="The encoder to start from, and how deep it learns; what is written is frozen."
    )
    pairs: PairKind = Field(
        "auto",
        description="What makes a pair: two items of one user (items), a review and its item, each of more than 30 characters (reviews), "
        "both, or both where the data have reviews (auto).",
    )
    window: int = Field(1, ge=1, le=1000, description="Places between two items of a pair in a user's sequence, at most.")
    pairs_an_epoch: int = Field(
        16_384, ge=0, description="Pairs between two validations; further epochs take the next ones, round and round; 0 takes all."
    )
    temperature: float = Field(0.05, gt=0, le=10, description="The loss divides cosines by it.")
    masked_weight: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Weight of the masked-language-model loss over the texts of a batch, beside the contrastive one; above 0 the encoder "
        "must have a head for it (bertrec encoder adapt-mlm), which is not written.",
    )
    train: TrainConfig = Field(
        TrainConfig(batch_size=128, epochs=10, patience=3, warmup_share=0.02, metric="Recall@10"),
        description="The training; encoder_learning_rate is the rate of all that learns (learning_rate: of a head).",
    )

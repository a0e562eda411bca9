"""Settings of the cross-encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertrec.core.config import Config
from bertrec.encoders.config import EncoderConfig
from bertrec.rankers.keywords import PROFILE_FIELD_IN_WORDS, PROFILE_IN_WORDS, SWAP_IN_WORDS, Profile
from bertrec.rankers.losses import LOSSES_IN_WORDS, RankLoss
from bertrec.rankers.prompts.config import Attention
from bertrec.training.config import TrainConfig


def _train() -> TrainConfig:
    return TrainConfig(learning_rate=1e-3, encoder_learning_rate=5e-5, batch_size=16, epochs=2, metric="AUC")


class CrossEncoderConfig(Config):
    """What is read of a pair, and how much of the encoder learns from it."""

    encoder: EncoderConfig = Field(
        default_factory=lambda: EncoderConfig(max_length=128, tune="last:2", prompt="none"),
        description="The encoder that reads history and candidate together; max_length is of both.",
    )
    train: TrainConfig = Field(default_factory=_train, description="The training; batch_size counts clicks with their negatives.")
    negatives: int = Field(
        4,
        ge=0,
        le=10_000,
        description="Items shown but not clicked that go with each click, from the same impression; 0 trains on all candidates as "
        "they stand.",
    )
    attention: Attention = Field(
        "auto",
        description="joint lets history and candidate see one another in every layer; once reads a history once for all candidates, "
        "which see it, not it them, and pools the candidate's tokens; auto is once where the encoder allows it.",
    )
    loss: RankLoss = Field("listwise", description=f"Of the scores: {LOSSES_IN_WORDS}.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of components dropped in the head, in training.")
    titles: int = Field(10, ge=1, le=100_000, description="Newest items of a history that are read, at most.")
    title_words: int = Field(10, ge=1, le=100_000, description="Words that each of them is cut to.")
    candidate_words: int = Field(20, ge=1, le=100_000, description="Words that the candidate is cut to.")
    item_text: Literal["title", "text"] = Field("title", description="What stands for an item: its title or all of its text.")
    profile: Profile = Field("labels", description=PROFILE_IN_WORDS)
    profile_field: str | None = Field(None, description=PROFILE_FIELD_IN_WORDS)
    swap: float = Field(0.0, ge=0, le=1, description=SWAP_IN_WORDS)
    retrieval: bool = Field(
        False,
        description="Also start from the retriever's score and place; the lists must then be of users whom the retriever was not "
        "trained on, for it finds its own training items far too well.",
    )

"""Settings of the ranker of several tasks."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from bertrec.core.config import Config
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.training.config import TrainConfig


def _train() -> TrainConfig:
    return TrainConfig(learning_rate=1e-3, encoder_learning_rate=1e-4, weight_decay=0.0, batch_size=32, epochs=4, metric="AUC")


class P5Config(Config):
    """What is asked and how it is trained."""

    tasks: tuple[str, ...] = Field(
        ("rating", "sequential", "direct", "review", "summary", "explanation"),
        description="Tasks that share the encoder: names of the registry, or YAML files; one for which the data have nothing is left out.",
    )
    weights: tuple[float, ...] = Field(
        (),
        description="What the loss of each task counts, in their order, scaled to a mean of 1; empty: all alike.",
    )
    task: str = Field("sequential", description="The task by which candidates are ordered: one that asks of user and item.")
    encoder: MaskedConfig = Field(
        default_factory=lambda: MaskedConfig(tune="frozen"),
        description="The masked language model; tune=frozen is option tuning, where each task has tokens and low-rank "
        "matrices of its own, and any other depth is shared by all tasks.",
    )
    share: float = Field(
        0.01,
        gt=0,
        le=1,
        description="Option tuning: parameters of each task's own, as a share of the encoder's; the rank of its matrices "
        "follows, and is 1 at least.",
    )
    soft_tokens: int = Field(
        8,
        ge=0,
        le=1000,
        description="Option tuning: soft tokens of each task behind the one that names it.",
    )
    negatives: int = Field(
        4,
        ge=0,
        description="Items shown but not clicked that go with each click (sequential); 0 asks about all candidates as they "
        "stand, such as ratings.",
    )
    drawn: int = Field(
        4,
        ge=1,
        le=10_000,
        description="Items, or texts of other reviews, drawn beside each right one (direct, summary, explanation).",
    )
    train: TrainConfig = Field(
        default_factory=_train,
        description="The training; batch_size counts questions, all of one task, learning_rate is of what tasks have of their own.",
    )

    @field_validator("tasks", "weights", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Take words with commas between, as ``--set`` gives them, for a list."""
        return [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value

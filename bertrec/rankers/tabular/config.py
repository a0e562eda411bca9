"""Settings of the click-through-rate models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from bertrec.core.config import Config
from bertrec.encoders.config import EncoderConfig
from bertrec.rankers.losses import LOSSES_IN_WORDS, RankLoss
from bertrec.training.config import TrainConfig

Width = Annotated[int, Field(ge=1, le=65_536)]
Tower = Literal["din", "dcn"]


def _train() -> TrainConfig:
    return TrainConfig(learning_rate=1e-3, batch_size=128, epochs=10, metric="AUC", patience=2)


def _align() -> TrainConfig:
    return TrainConfig(learning_rate=1e-3, batch_size=64, epochs=3)


class TabularConfig(Config):
    """What all of them have: features, embeddings, the multilayer perceptron and the training."""

    train: TrainConfig = Field(
        default_factory=_train,
        description="The training; batch_size counts impressions, or clicks with their negatives.",
    )
    loss: RankLoss = Field("pointwise", description=f"Of the candidates of an impression: {LOSSES_IN_WORDS}.")
    negatives: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Items shown but not clicked that go with each click, from the same impression; 0 trains on all candidates as they "
        "stand, such as ratings.",
    )
    max_history: int = Field(50, ge=1, le=100_000, description="Newest items of a history that are read.")
    width: Width = Field(16, description="Width of the embedding of each feature.")
    hidden: tuple[Width, ...] = Field((128, 64), min_length=1, description="Widths of the layers of the multilayer perceptron.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of components dropped behind each of these layers.")
    id_dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the ids of users and items that are hidden in a training step, so that the other features learn to stand "
        "for those that are new.",
    )
    user_ids: bool = Field(True, description="Whether a user's id is a feature; the ids are kept as hashes.")
    label_fields: tuple[str, ...] | None = Field(
        None,
        description="Text fields of items with genres or categories; null takes all of the usual names, an empty list reads none.",
    )
    numbers: tuple[str, ...] | None = Field(
        None,
        description="Item columns of numbers, such as price, cut at their quantiles; null takes all such columns, an empty list none.",
    )
    buckets: int = Field(8, ge=2, le=1000, description="Parts that each column of numbers is cut into.")


class DINConfig(TabularConfig):
    """Settings of DIN."""

    attention_hidden: tuple[Width, ...] = Field(
        (36,),
        min_length=1,
        description="Widths of the layers that weigh each item of the history for a candidate.",
    )


class DCNConfig(TabularConfig):
    """Settings of DCN."""

    cross_layers: int = Field(3, ge=1, le=100, description="Layers that cross the features.")


class CTRLConfig(DINConfig, DCNConfig):
    """Settings of CTRL: those of its tower, and of the alignment with texts."""

    tower: Tower = Field("din", description="The tabular tower that is aligned and then serves.")
    encoder: EncoderConfig = Field(
        default_factory=lambda: EncoderConfig(max_length=64),
        description="The frozen encoder that reads the texts for the alignment; it is not needed afterwards.",
    )
    align: TrainConfig = Field(
        default_factory=_align,
        description="The alignment, before the training; all candidates of a batch are one another's negatives. Its seed is train.seed.",
    )
    temperature: float = Field(0.1, gt=0, description="Of the alignment: cosines are divided by it.")
    align_width: Width = Field(64, description="Width of the space in which both towers are compared.")
    text: Literal["composed", "written"] = Field(
        "composed",
        description="The text of a pair: composed takes the mean vector of the history's texts beside the candidate's, each item read "
        "once; written encodes every pair's features and titles in words, which is far slower.",
    )

    @field_validator("encoder")
    @classmethod
    def _frozen(cls, encoder: EncoderConfig) -> EncoderConfig:
        if encoder.tune != "frozen":
            raise ValueError("the encoder of ctrl is frozen: leave out encoder.tune, or adapt it beforehand with bertrec encoder adapt")
        return encoder

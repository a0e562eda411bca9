"""The settings of a trainable model: one section per part, with flat dotted names such as ``head.layers``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bertrec.core.config import Config
from bertrec.encoders.config import EncoderConfig
from bertrec.heads.config import HeadConfig, ItemConfig, LossConfig
from bertrec.training.config import TrainConfig

_MOST_PARAMETERS = 4_000_000_000


class MatchConfig(Config):
    """Settings of the match with a history's items, see `bertrec.models.sequential.match`."""

    text: int = Field(50, ge=0, le=10_000, description="Nearest texts that each item keeps and lifts; 0 leaves the term out.")
    behaviour: int = Field(
        50, ge=0, le=10_000, description="Items most taken by the same users that each item keeps and lifts; 0 leaves the term out."
    )
    solved: int = Field(
        50,
        ge=0,
        le=10_000,
        description="Items that a linear model of behaviour and texts (EASE) lends most to, that each item keeps and lifts; 0 leaves the "
        "term out, and so does a training of more than 15,000 items.",
    )
    max_history: int = Field(20, ge=1, le=10_000, description="Newest items of a history whose neighbours are lifted.")
    text_decay: float = Field(0.75, gt=0, le=1, description="What the nearest texts of an item count for each step that it is older.")
    decay: float = Field(0.9, gt=0, le=1, description="What the neighbours by behaviour of an item count for each step that it is older.")
    new_items: Literal["off", "balanced", "promote"] = Field(
        "balanced",
        description="How high new items go, by a training of half the length without a tenth of the items: as high as costs the users of "
        "other items 4 % of their NDCG@10 (balanced) or 10 % (promote); off trains once, and new items get the weight of others.",
    )


class ModelConfig(Config):
    """All settings of a model."""

    encoder: EncoderConfig = Field(EncoderConfig(), description="The text encoder; unused where items are ids alone.")
    item: ItemConfig = Field(ItemConfig(), description="From text and id to an item's vector.")
    head: HeadConfig = Field(HeadConfig(), description="From a history to a user's vector.")
    loss: LossConfig = Field(LossConfig(), description="What training minimises.")
    match: MatchConfig = Field(
        MatchConfig(),
        description="Near texts, common behaviour and a linear model: lists that lift items, weighed on validation users.",
    )
    train: TrainConfig = Field(
        TrainConfig(learning_rate=2e-3, schedule="cosine", epochs=16, patience=0),
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

    @model_validator(mode="after")
    def _fields_apart_are_frozen(self) -> Self:
        if self.item.fields == "apart" and self.encoder.tune != "frozen" and "text" in self.item.input:
            raise ValueError(f"item.fields=apart needs a frozen encoder, not encoder.tune={self.encoder.tune}: set one of the two back")
        return self

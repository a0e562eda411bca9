"""Settings of the parts between the encoder and the score."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from bertrec.core.config import Config
from bertrec.core.errors import unknown_name
from bertrec.core.plugins import Registry

ItemInput = Literal["id", "text", "text+id"]

HEADS = Registry(
    what="user head",
    base="bertrec.heads.users:UserHead",
    group="bertrec.heads",
    own={
        "self-attention": "bertrec.heads.users:SelfAttentionHead",
        "gru": "bertrec.heads.users:GRUHead",
        "mean": "bertrec.heads.users:MeanHead",
        "dssm": "bertrec.heads.users:DSSMHead",
    },
)
"""The values of ``head.kind``."""

LOSSES = Registry(
    what="loss",
    base="bertrec.heads.objectives:SequenceLoss",
    group="bertrec.losses",
    own={
        "full": "bertrec.heads.objectives:FullSoftmax",
        "in-batch": "bertrec.heads.objectives:InBatchSoftmax",
        "sampled": "bertrec.heads.objectives:SampledSoftmax",
        "gbce": "bertrec.heads.objectives:GeneralisedBCE",
        "bpr": "bertrec.heads.objectives:BPR",
    },
)
"""The values of ``loss.kind``."""


def _known(registry: Registry, name: str) -> str:
    if not registry.knows(name):
        raise ValueError(f"{unknown_name(registry.what, name, registry.names())}, or package.module:Class")
    return name


class ItemConfig(Config):
    """How an item becomes a vector."""

    input: ItemInput = "text+id"
    width: int = Field(256, ge=1, description="width of item and user vectors")
    whitening: Literal["none", "pca", "zca"] = Field("pca", description="fixed whitening of frozen text vectors, fitted on training items")
    adaptor: Literal["linear", "gelu", "mlp", "moe"] = "linear"
    hidden: int = Field(512, ge=1, description="hidden width of the mlp adaptor")
    experts: int = Field(8, ge=1, description="experts of the moe adaptor (UniSRec)")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the text vector, before the adaptor")
    id_dropout: float = Field(
        0.2, ge=0, lt=1, description="share of items whose ID vector is dropped in a step, so that text alone must serve too"
    )


class HeadConfig(Config):
    """How a history becomes a user vector."""

    pluggable: ClassVar[frozenset[str]] = frozenset({"kind"})

    kind: str = "self-attention"
    layers: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    inner: int = Field(0, ge=0, description="width of the feed-forward layer; 0 is the item width, as in SASRec")
    dropout: float = Field(0.3, ge=0, lt=1)
    max_history: int = Field(50, ge=1, description="newest items of a history that are read")
    repeat_bias: bool = Field(True, description="learn one number that is added to the score of items of the history (with loss.kind=full)")

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        return _known(HEADS, value)


class LossConfig(Config):
    """What is minimised."""

    pluggable: ClassVar[frozenset[str]] = frozenset({"kind"})

    kind: str = "full"
    similarity: Literal["cosine", "dot"] = "cosine"
    temperature: float = Field(0.07, gt=0, description="the cosine is divided by it; unused with dot")
    negatives: int = Field(256, ge=1, description="sampled items a step (sampled) or a position (gbce, bpr)")
    calibration: float = Field(0.75, ge=0, le=1, description="t of gBCE: 0 is BCE, 1 full calibration")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="over the candidates (kind=full)")

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        return _known(LOSSES, value)

"""Settings of the parts between the encoder and the score."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator

from bertrec.core.config import Config
from bertrec.core.errors import unknown_name
from bertrec.core.plugins import Registry

ItemInput = Literal["id", "text", "text+id"]
ITEM_INPUTS: tuple[str, ...] = get_args(ItemInput)

HEADS = Registry(
    what="user head",
    base="bertrec.heads.users:UserHead",
    group="bertrec.heads",
    own={
        "self-attention": "bertrec.heads.users:SelfAttentionHead",
        "ligr": "bertrec.heads.ligr:LiGRHead",
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

    input: ItemInput = Field(
        "text+id",
        description="What an item's vector is made of: its id, its text, or the sum of both (text+id).",
    )
    width: int = Field(
        256,
        ge=1,
        le=16_384,
        description="Width of item and user vectors; a multiple of head.heads with self-attention and ligr.",
    )
    whitening: Literal["none", "pca", "zca", "relaxed", "pca+relaxed", "zca+relaxed"] = Field(
        "pca",
        description="Fixed whitening of text vectors, fitted on training items: over all dimensions (pca, zca), within groups of them "
        "(relaxed), or a copy of each through the same adaptor, summed, as WhitenRec+ does; none leaves them as they are.",
    )
    whitening_groups: int = Field(
        8, ge=1, le=65_536, description="Groups of dimensions of the relaxed whitening; 1 is zca, other whitenings do not read it."
    )
    fields: Literal["together", "apart"] = Field(
        "together",
        description="Whether an item's text fields are one text, or each is encoded and whitened by itself and their vectors stand side "
        "by side (apart; with a frozen encoder).",
    )
    adaptor: Literal["linear", "gelu", "mlp", "moe"] = Field(
        "linear",
        description="From text vector to item vector: one layer (linear), MoRec's layer with a GELU behind it "
        "(gelu), two layers (mlp), or UniSRec's mixture of whitenings (moe).",
    )
    hidden: int = Field(512, ge=1, le=65_536, description="Hidden width of the mlp adaptor; other adaptors do not read it.")
    experts: int = Field(8, ge=1, le=1024, description="Number of experts of the moe adaptor; other adaptors do not read it.")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of each text vector's components dropped before the adaptor.",
    )
    id_dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of items whose ID vector is dropped in a step, so that text alone must serve too.",
    )

    @property
    def text_copies(self) -> int:
        """How many whitened copies of an item's text vector stand side by side."""
        return self.whitening.count("+") + 1

    def identity(self) -> dict[str, Any]:
        """Return the settings as hashes of a model take them: the same as before the newer ones came, where these change nothing."""
        values = self.to_dict()
        unread = {"whitening_groups": "relaxed" not in self.whitening, "fields": self.fields == "together"}
        return {name: value for name, value in values.items() if not unread.get(name, False)}


class HeadConfig(Config):
    """How a history becomes a user vector."""

    pluggable: ClassVar[frozenset[str]] = frozenset({"kind"})

    kind: str = Field(
        "self-attention",
        description="How the history is read: SASRec's self-attention, eSASRec's gated blocks (ligr), GRU4Rec's gru, the mean of its "
        "items, or a small network over that mean (dssm); or a head of another package, package.module:Class.",
        json_schema_extra={"examples": list(HEADS.own)},
    )
    layers: int = Field(2, ge=1, le=256, description="Number of layers; mean has none.")
    heads: int = Field(2, ge=1, le=1024, description="Attention heads of self-attention and ligr; they must divide item.width.")
    inner: int = Field(0, ge=0, le=262_144, description="Width of the feed-forward layer; 0 is the item width, as in SASRec.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Share of components dropped inside the head, in training.")
    max_history: int = Field(50, ge=1, le=100_000, description="Newest items of a history that are read.")
    repeat_bias: bool = Field(
        True,
        description="Learn one number that is added to the score of items of the history (with loss.kind=full alone).",
    )
    freeze: bool = Field(
        False,
        description="Keep the head as the model given as init has it, all but its norm of the inputs: items alone learn.",
    )

    def identity(self) -> dict[str, Any]:
        """Return the settings as hashes of a model take them: the same as before ``freeze`` came, by which no score changes."""
        return {name: value for name, value in self.to_dict().items() if name != "freeze"}

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        return _known(HEADS, value)


class LossConfig(Config):
    """What is minimised."""

    pluggable: ClassVar[frozenset[str]] = frozenset({"kind"})

    kind: str = Field(
        "full",
        description="Softmax over the catalogue (full), the batch's items (in-batch) or sampled ones (sampled), or "
        "gBCE or BPR over sampled negatives; or a loss of another package, package.module:Class.",
        json_schema_extra={"examples": list(LOSSES.own)},
    )
    similarity: Literal["cosine", "dot"] = Field(
        "cosine",
        description="Score of a user and an item: the cosine over the temperature, or the inner product (dot).",
    )
    temperature: float = Field(0.07, gt=0, description="The cosine is divided by it; unused with dot.")
    negatives: int = Field(256, ge=1, le=10_000_000, description="Sampled items per step (sampled) or per position (gbce, bpr).")
    calibration: float = Field(
        0.75,
        ge=0,
        le=1,
        description="t of gBCE: 0 is binary cross-entropy, 1 full calibration.",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the target's weight that is spread over the candidates (kind=full)."
    )

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        return _known(LOSSES, value)

"""Settings of the parts between the encoder and the score."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator

from bertrec.core.config import Config
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
        "hstu": "bertrec.heads.hstu:HSTUHead",
        "bert": "bertrec.heads.bert:BERTHead",
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
        "masked": "bertrec.heads.masked:MaskedSoftmax",
        "in-batch": "bertrec.heads.objectives:InBatchSoftmax",
        "sampled": "bertrec.heads.objectives:SampledSoftmax",
        "gbce": "bertrec.heads.objectives:GeneralisedBCE",
        "bpr": "bertrec.heads.objectives:BPR",
    },
)
"""The values of ``loss.kind``."""


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
        description="Width of item and user vectors; a multiple of head.heads where attention reads the history.",
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


class CodeConfig(Config):
    """How an item is written as codes, each of which has a vector."""

    slots: int = Field(
        32,
        ge=1,
        le=1024,
        description="Codes of an item's text: its vector is turned and cut into so many parts, at most its dimensions.",
    )
    centroids: int = Field(
        256,
        ge=2,
        le=256,
        description="Codes that each slot of a text chooses from: the largest power of two up to this that leaves four "
        "items of training for each.",
    )
    vectors: Literal["raw", "whitened"] = Field(
        "raw",
        description="Text vectors that codes are of: the encoder's own, as in VQ-Rec (raw), or those of item.whitening, "
        "which near texts of the match are found by.",
    )
    components: int = Field(
        16,
        ge=1,
        le=1024,
        description="Codes of an item's behaviour: its components in an SVD of the users and items of training.",
    )
    bins: int = Field(56, ge=2, le=254, description="Bins that each component of behaviour is cut into.")
    binning: Literal["quantiles", "range"] = Field(
        "quantiles",
        description="Bins that hold as many items each (quantiles), or that are of one width, as GPTRec's (range).",
    )
    start: Literal["points", "random"] = Field(
        "points",
        description="Vectors of codes at the start: a random projection of the centroids and bins that they stand for "
        "(points), or random ones, as VQ-Rec's (random).",
    )
    transfer: Literal["keep", "permute"] = Field(
        "keep",
        description="With --init: codes by the rotation and centroids of the other run (keep), or by new ones whose "
        "order is learned first, with all else as it was (permute).",
    )
    permute_epochs: int = Field(
        5, ge=1, le=1_000, description="Epochs in which the order of new codes is learned, with codes.transfer=permute."
    )


class HeadConfig(Config):
    """How a history becomes a user vector."""

    pluggable: ClassVar[frozenset[str]] = frozenset({"kind"})

    kind: str = Field(
        "self-attention",
        description="How the history is read: SASRec's self-attention, eSASRec's gated blocks (ligr), HSTU with times (hstu), BERT4Rec's "
        "attention both ways (bert, with loss.kind=masked), GRU4Rec's gru, the mean of its items, or a small network over that mean "
        "(dssm); or a head of another package, package.module:Class.",
        json_schema_extra={"examples": list(HEADS.own)},
    )
    layers: int = Field(2, ge=1, le=256, description="Number of layers; mean has none.")
    heads: int = Field(2, ge=1, le=1024, description="Attention heads of self-attention, ligr, hstu and bert; they must divide item.width.")
    inner: int = Field(0, ge=0, le=262_144, description="Width of the feed-forward layer; 0 is the item width, as in SASRec.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Share of components dropped inside the head, in training.")
    max_history: int = Field(50, ge=1, le=100_000, description="Newest items of a history that are read.")
    repeat_bias: bool = Field(
        True,
        description="Learn one number that is added to the score of items of the history (with loss.kind=full and masked).",
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
        return HEADS.checked(value)


class LossConfig(Config):
    """What is minimised."""

    pluggable: ClassVar[frozenset[str]] = frozenset({"kind"})

    kind: str = Field(
        "full",
        description="Softmax over the catalogue (full), the batch's items (in-batch) or sampled ones (sampled), gBCE or BPR over sampled "
        "negatives, or a softmax over the catalogue at masked items (masked, with head.kind=bert); or a loss of another package, "
        "package.module:Class.",
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
        0.0, ge=0, lt=1, description="Share of the target's weight that is spread over the candidates (kind=full and masked)."
    )
    mask_share: float = Field(0.2, gt=0, lt=1, description="Share of a sequence's items that are masked in a step (kind=masked).")
    contrast: Literal["none", "cl4srec", "duorec"] = Field(
        "none",
        description="What else is made small: InfoNCE of two random views of a history (cl4srec: cropped, masked or reordered), or of a "
        "history and another one that led to the same item (duorec).",
    )
    contrast_weight: float = Field(0.1, ge=0, description="What the contrast counts beside the loss.")
    contrast_temperature: float = Field(1.0, gt=0, description="The cosine of two views is divided by it.")

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        return LOSSES.checked(value)

    def identity(self) -> dict[str, Any]:
        """Return the settings as hashes of a model take them: the same as before the newer ones came, where these have their defaults."""
        newer = ("mask_share", "contrast", "contrast_weight", "contrast_temperature")
        usual = type(self)()
        return {name: value for name, value in self.to_dict().items() if name not in newer or value != getattr(usual, name)}

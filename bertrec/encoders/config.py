"""Settings of a text encoder."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from bertrec.core.config import Config

Precision = Literal["auto", "fp32", "bf16", "int8", "fast"]
Backend = Literal["auto", "torch", "onnx"]
_DEPTHS = r"^(frozen|last:[1-9][0-9]*|lora|full)$"
_POOLINGS = r"^(auto|cls|mean|max|last-token|weighted-mean|mean-last:[1-9][0-9]*)$"
Depth = Annotated[
    str,
    Field(
        description="How much of the encoder is trained: nothing (frozen), its top K transformer layers (last:K), "
        "LoRA matrices, or all (full); a head of its own is tuned with it, but for frozen.",
        json_schema_extra={"pattern": _DEPTHS},
    ),
]
OwnDropout = Annotated[bool, Field(description="Use the encoder's own dropout while it is tuned.")]


class TunedEncoderConfig(Config):
    """What every encoder's settings have: which one, in which number format, and how much of it is trained."""

    name: str = Field(
        "minilm",
        min_length=1,
        description="minilm, mpnet, a folder, or a model of the Hugging Face hub (BERT family, safetensors weights); for texts also "
        "a static encoder (StaticEmbedding, Model2Vec), an installed entry point of group bertrec.encoders, or package.module:Class; "
        "for items a .parquet or .npy of vectors made elsewhere.",
    )
    tune: Depth = "frozen"
    precision: Precision = Field(
        "auto",
        description="Number format: bf16 and fp32 hold for training and inference, auto trains in bf16 where the "
        "device has units for it and infers in fp32; int8 (a frozen encoder alone) and fast (the quickest, measured "
        "at first use) are for inference on a CPU.",
    )
    batch_tokens: int | None = Field(
        None,
        ge=1,
        description="Padded word pieces in one forward pass; null takes 4,096 on a CPU (1,024 per thread where no "
        "gradient is kept) and 32,768 elsewhere.",
    )
    dropout: OwnDropout = False
    lora_rank: int = Field(8, ge=1, description="Rank of the LoRA matrices (tune=lora).")
    lora_alpha: int = Field(16, ge=1, description="LoRA's scale is lora_alpha / lora_rank (tune=lora).")
    lora_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of components dropped before the LoRA matrices (tune=lora), whatever dropout says.",
    )

    @pydantic.field_validator("tune")
    @classmethod
    def _known_depth(cls, value: str) -> str:
        if re.fullmatch(_DEPTHS, value):
            return value
        raise ValueError("must be frozen, last:K with K from 1 (as in last:2), lora or full")

    @property
    def tuned_layers(self) -> int:
        """K of ``last:K``; 0 for every other depth."""
        return int(self.tune.removeprefix("last:")) if self.tune.startswith("last:") else 0


class EncoderConfig(TunedEncoderConfig):
    """Which encoder reads the text, how tokens become one vector, and how much of it is trained.

    Its own dropout is off by default: whitening and a short fine-tuning magnify its noise, and the head has dropout of its own.

    ``precision=fast`` takes what a short measurement at first use finds quickest among float32, bfloat16 and, for a
    frozen encoder, int8. Its choice is kept beside the embedding cache, so that it holds for later runs.
    """

    pluggable: ClassVar[frozenset[str]] = frozenset({"name"})

    max_length: int = Field(
        64,
        ge=3,
        le=131_072,
        description="Word pieces per text, special tokens included; the rest of the text is cut.",
    )
    pooling: str = Field(
        "auto",
        description="How token vectors become one: as a sentence-transformers folder says with its Dense layers and its "
        "greatest length (auto; the mean in any other folder); or by the transformer alone, the first (cls), their mean or "
        "max, the last (last-token), a mean weighted by position (weighted-mean), or the mean over the last K layers and all "
        "tokens (mean-last:K).",
        json_schema_extra={"pattern": _POOLINGS},
    )
    prompt: str = Field(
        "auto",
        description="What stands before each text: the folder's default prompt where pooling is auto too (auto), nothing "
        "(none), a prompt that the folder names, such as query or document, or the words themselves, such as 'query: '.",
    )
    truncate_dim: int | None = Field(
        None,
        ge=1,
        description="Leading components of each vector that are kept, for encoders trained so that these suffice; null keeps all.",
    )
    backend: Backend = Field(
        "auto",
        description="What computes int8: torch (BERT, RoBERTa), onnx (extra onnx), or auto: the quicker one there is.",
    )

    @pydantic.field_validator("precision")
    @classmethod
    def _int8_is_frozen(cls, value: Precision, info: pydantic.ValidationInfo) -> Precision:
        if value == "int8" and info.data.get("tune", "frozen") != "frozen":
            raise ValueError("int8 has no gradients: set tune to frozen, or precision to bf16, fp32 or auto")
        return value

    @pydantic.field_validator("pooling")
    @classmethod
    def _known_pooling(cls, value: str) -> str:
        if re.fullmatch(_POOLINGS, value):
            return value
        raise ValueError("must be auto, cls, mean, max, last-token, weighted-mean or mean-last:K with K from 1, as in mean-last:4")

    @property
    def pooled_layers(self) -> int:
        """K of ``mean-last:K``; 1 for every other pooling."""
        return int(self.pooling.removeprefix("mean-last:")) if self.pooling.startswith("mean-last:") else 1

    @property
    def known_pooling(self) -> str:
        """The pooling, with what ``auto`` stands for where that is known without the folder: the mean for ``minilm``."""
        return "mean" if self.pooling == "auto" and self.name == "minilm" else self.pooling

    def identity(self) -> dict[str, Any]:
        """Return the settings as hashes of a model take them: the same as before ``auto`` and the newer settings came.

        A model saved then has ``pooling=mean`` in its settings, and must keep its hash.
        """
        values = {**self.to_dict(), "pooling": self.known_pooling}
        newer = {"prompt": "auto", "truncate_dim": None}
        return {name: value for name, value in values.items() if name not in newer or value != newer[name]}

"""Settings of a text encoder."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

import pydantic

from bertrec.core.config import Config

Precision = Literal["auto", "fp32", "bf16", "int8", "fast"]
Backend = Literal["auto", "torch", "onnx"]


class TunedEncoderConfig(Config):
    """What every encoder's settings have: which one, in which number format, and how much of it is trained.

    Attributes:
        name: ``minilm``, a folder, or a model of the Hugging Face hub (BERT family, safetensors weights). An encoder of
            texts may also be ``package.module:Class`` or an installed entry point of group ``bertrec.encoders``.
        tune: ``frozen``, ``last:K`` (the top K transformer layers), ``lora`` or ``full``; a head that belongs to the encoder is tuned
            with it, but for ``frozen``.
        precision: ``auto`` computes in bfloat16 while training where the device has units for it, and in float32 for inference;
            ``bf16`` and ``fp32`` hold for both. An encoder of texts also has ``int8`` and ``fast``, see there.
        batch_tokens: padded word pieces in one forward pass; None takes 4,096 on a CPU (1,024 a thread where no gradient is kept, so that
            what passes between layers stays in the cache of a core) and 32,768 elsewhere.
        dropout: use the encoder's own dropout while it is tuned; ``lora_dropout`` holds either way.
        lora_rank: rank of the LoRA matrices.
        lora_alpha: LoRA's scale is ``lora_alpha / lora_rank``.
        lora_dropout: dropout before the LoRA matrices.
    """

    name: str = pydantic.Field("minilm", min_length=1)
    tune: str = "frozen"
    precision: Precision = "auto"
    batch_tokens: int | None = pydantic.Field(None, ge=1)
    dropout: bool = False
    lora_rank: int = pydantic.Field(8, ge=1)
    lora_alpha: int = pydantic.Field(16, ge=1)
    lora_dropout: float = pydantic.Field(0.0, ge=0, lt=1)

    @pydantic.field_validator("tune")
    @classmethod
    def _known_depth(cls, value: str) -> str:
        if value in {"frozen", "lora", "full"} or re.fullmatch(r"last:[1-9]\d*", value):
            return value
        raise ValueError("must be frozen, last:K with K from 1 (as in last:2), lora or full")

    @property
    def tuned_layers(self) -> int:
        """K of ``last:K``; 0 for every other depth."""
        return int(self.tune.removeprefix("last:")) if self.tune.startswith("last:") else 0


class EncoderConfig(TunedEncoderConfig):
    """Which encoder reads the text, how tokens become one vector, and how much of it is trained.

    Its own dropout is off by default: whitening and a short fine-tuning magnify its noise, and the head has dropout of its own.

    Two more values of ``precision`` hold for ``encode`` alone, on a CPU: ``int8`` (a frozen encoder only) and ``fast``, which takes what a
    short measurement at first use finds quickest among float32, bfloat16 and, for a frozen encoder, int8. Its choice is kept beside the
    embedding cache, so that it holds for later runs.

    Attributes:
        backend: what computes int8: ``torch`` (BERT's and RoBERTa's build), ``onnx`` (ONNX Runtime, extra ``onnx``), or ``auto``: the
            quicker one of those that are there.
        max_length: word pieces a text, special tokens included; the rest of the text is cut.
        pooling: ``cls``, ``mean``, ``max``, or ``mean-last:K``: the mean of the last K layers, then the mean over tokens.
    """

    pluggable: ClassVar[frozenset[str]] = frozenset({"name"})

    max_length: int = pydantic.Field(64, ge=3)
    pooling: str = "mean"
    backend: Backend = "auto"

    @pydantic.field_validator("precision")
    @classmethod
    def _int8_is_frozen(cls, value: Precision, info: pydantic.ValidationInfo) -> Precision:
        if value == "int8" and info.data.get("tune", "frozen") != "frozen":
            raise ValueError("int8 has no gradients: set tune to frozen, or precision to bf16, fp32 or auto")
        return value

    @pydantic.field_validator("pooling")
    @classmethod
    def _known_pooling(cls, value: str) -> str:
        if value in {"cls", "mean", "max"} or re.fullmatch(r"mean-last:[1-9]\d*", value):
            return value
        raise ValueError("must be cls, mean, max or mean-last:K with K from 1, as in mean-last:4")

    @property
    def pooled_layers(self) -> int:
        """K of ``mean-last:K``; 1 for every other pooling."""
        return int(self.pooling.removeprefix("mean-last:")) if self.pooling.startswith("mean-last:") else 1

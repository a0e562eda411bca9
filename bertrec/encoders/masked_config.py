"""Settings of an encoder that is asked through its masked-language-model head."""

from __future__ import annotations

import pydantic

from bertrec.core.config import Config
from bertrec.encoders.config import Precision, known_depth, top_layers


class MaskedConfig(Config):
    """Which encoder answers the prompts, and how much of it is trained.

    Attributes:
        name: ``minilm``, a folder (such as one of ``bertrec encoder adapt-mlm``), or a model of the Hugging Face hub.
        max_length: tokens a prompt, special tokens included; an encoder with fewer positions lowers it to its own.
        tune: ``frozen``, ``last:K`` (the top K transformer layers and the head), ``lora`` (its matrices and the head) or ``full``.
        precision: ``auto`` computes in bfloat16 while training where the device has units for it, and in float32 for inference;
            ``bf16`` and ``fp32`` hold for both.
        batch_tokens: padded tokens in one forward pass; None takes 4,096 on a CPU and 32,768 elsewhere.
        dropout: use the encoder's own dropout while it is tuned. ``lora_dropout`` holds either way.
        lora_rank: rank of the LoRA matrices.
        lora_alpha: LoRA's scale is ``lora_alpha / lora_rank``.
        lora_dropout: dropout before the LoRA matrices.
    """

    name: str = pydantic.Field("minilm", min_length=1)
    max_length: int = pydantic.Field(500, ge=3)
    tune: str = "full"
    precision: Precision = "auto"
    batch_tokens: int | None = pydantic.Field(None, ge=1)
    dropout: bool = True
    lora_rank: int = pydantic.Field(8, ge=1)
    lora_alpha: int = pydantic.Field(16, ge=1)
    lora_dropout: float = pydantic.Field(0.0, ge=0, lt=1)

    @pydantic.field_validator("tune")
    @classmethod
    def _known_depth(cls, value: str) -> str:
        return known_depth(value)

    @property
    def tuned_layers(self) -> int:
        """K of ``last:K``; 0 for every other depth."""
        return top_layers(self.tune)

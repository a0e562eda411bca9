"""Settings of an encoder that is asked through its masked-language-model head."""

from __future__ import annotations

import pydantic

from bertrec.encoders.config import Precision, TunedEncoderConfig


class MaskedConfig(TunedEncoderConfig):
    """Which encoder answers the prompts, and how much of it is trained; its own dropout is on while it is tuned.

    Attributes:
        max_length: tokens a prompt, special tokens included; an encoder with fewer positions lowers it to its own. Prompt4NR takes 500;
            half as many are the default, for the newest titles of a history say most, and time goes with them.
    """

    tune: str = "full"
    dropout: bool = True
    max_length: int = pydantic.Field(256, ge=3)

    @pydantic.field_validator("precision")
    @classmethod
    def _no_int8(cls, value: Precision) -> Precision:
        if value in {"int8", "fast"}:
            raise ValueError(f"must be auto, fp32 or bf16: {value} is for encoders that turn texts into vectors")
        return value

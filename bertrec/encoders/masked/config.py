"""Settings of an encoder that is asked through its masked-language-model head."""

from __future__ import annotations

import pydantic

from bertrec.encoders.config import Depth, OwnDropout, Precision, TunedEncoderConfig

_PRECISIONS = ("auto", "fp32", "bf16")


class MaskedConfig(TunedEncoderConfig):
    """Which encoder answers the prompts, and how much of it is trained; its own dropout is on while it is tuned.

    Prompt4NR's prompts have 500 tokens; half as many are the default, for the newest titles of a history say most, and
    time goes with them.
    """

    tune: Depth = "full"
    precision: Precision = pydantic.Field(
        "auto",
        description="Number format: bf16 and fp32 hold for training and use, auto trains in bf16 where the device "
        "has units for it and answers in fp32.",
        json_schema_extra={"enum": [*_PRECISIONS]},
    )
    dropout: OwnDropout = True
    max_length: int = pydantic.Field(
        256,
        ge=3,
        le=131_072,
        description="Tokens per prompt, special tokens included; an encoder with fewer positions lowers it to its own.",
    )

    @pydantic.field_validator("precision")
    @classmethod
    def _no_int8(cls, value: Precision) -> Precision:
        if value not in _PRECISIONS:
            raise ValueError(f"must be auto, fp32 or bf16: {value} is for encoders that turn texts into vectors")
        return value

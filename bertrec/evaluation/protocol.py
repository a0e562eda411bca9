"""How a figure is measured: the settings that every report carries, and what an evaluation set must look like."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from typing import Protocol as Interface

import numpy as np
import pydantic

from bertrec.core.config import Config
from bertrec.core.ragged import Ragged

TIE_RULE = "against the model: a target is placed after every other candidate of the same score"


class Protocol(Config):
    """The settings of one measurement."""

    mask_seen: bool = pydantic.Field(
        True,
        description="Leave items of the user's history out of the ranking, as recommend does; false ranks and counts them, as recommend "
        "--keep-seen serves them.",
    )
    seen_targets: Literal["drop", "rank"] = pydantic.Field(
        "drop",
        description="Targets in the history where that is masked: drop and count them, since no list that is served holds them; "
        "rank leaves them in, alone of the history, as published protocols do (SASRec's among them).",
    )
    ks: Annotated[tuple[pydantic.PositiveInt, ...], pydantic.Field(min_length=1)] = pydantic.Field(
        (1, 5, 10, 20, 50), description="Cut-offs K of the metrics, kept ascending and distinct."
    )
    candidates: Literal["all", "held_out"] = pydantic.Field(
        "all",
        description="Items that are ranked: all of the catalogue, or held_out: those alone that training never saw.",
    )
    seed: pydantic.NonNegativeInt = pydantic.Field(0, description="Seed of the bootstrap.")
    bootstrap: pydantic.NonNegativeInt = pydantic.Field(
        1000, le=1_000_000, description="Resamples of the users behind each interval; 0 gives no intervals."
    )

    @pydantic.field_validator("ks")
    @classmethod
    def _ascending(cls, ks: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(ks)))


class EvaluationData(Interface):
    """What the evaluator needs to know of a split: one row per evaluated user, inner item ids from 1."""

    @property
    def users(self) -> Sequence[str | int]:
        """External user ids, ``[n]``."""

    @property
    def histories(self) -> Ragged:
        """Items seen before, oldest first, ``n`` rows."""

    @property
    def targets(self) -> Ragged:
        """Items to be found, ``n`` rows."""


def versions() -> dict[str, str]:
    """Return the versions of bertrec and numpy, ``unknown`` for a source tree that names none."""
    own = getattr(sys.modules.get("bertrec"), "__version__", None)
    if own is None:
        try:
            own = importlib.metadata.version("bertrec")
        except importlib.metadata.PackageNotFoundError:
            own = "unknown"
    return {"bertrec": str(own), "numpy": np.__version__}


def manifest(protocol: Protocol, *, users: int, items: int, **more: Any) -> dict[str, Any]:
    """Return what stands beside every figure: the settings, the tie rule, the sizes and the versions."""
    sizes = {"users": users, "items": items}
    return {**protocol.to_dict(), "ties": TIE_RULE, "interval": "percentile bootstrap over users", **sizes, "versions": versions(), **more}

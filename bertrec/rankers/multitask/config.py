"""Settings of multi-task ranking."""

from __future__ import annotations

from pydantic import Field

from bertrec.data.chain import STEPS
from bertrec.rankers.news.config import TowerConfig


class MultiTaskConfig(TowerConfig):
    """Settings of multi-task ranking."""

    tasks: tuple[str, ...] = Field(
        (),
        description="Names of the steps of the chain, the first one first; () takes watched, rated, liked where they "
        "come from ratings, else click, cart, purchase, as many as the data have.",
    )
    steps: tuple[float, ...] = Field(
        STEPS,
        description="Where the chain comes from ratings, the lowest rating of each step after the first.",
    )
    weights: tuple[float, ...] = Field((), description="Weight of each task in the loss; () gives each 1.")
    task: str = Field("", description="The step that is the score; an empty text takes the last that was learned.")
    experts: int = Field(4, ge=1, le=1024, description="Experts, which all tasks share.")
    hidden: int = Field(64, ge=1, le=65_536, description="Dimensions of what an expert gives.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of components dropped behind the experts.")
    negatives: int = Field(
        4,
        ge=1,
        le=10_000,
        description="Items that a user did not meet beside each that they met, where the data have no impressions; "
        "they set how likely the first step is.",
    )

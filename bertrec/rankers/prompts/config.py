"""Settings of a cloze-prompt ranker: Prompt4NR's template, negatives, batch, epochs and decay; the learning rates and warm-up are ours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertrec.core.config import Config
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.rankers.keywords import PROFILE_FIELD_IN_WORDS, PROFILE_IN_WORDS, SWAP_IN_WORDS, Profile
from bertrec.rankers.losses import LOSSES_IN_WORDS, RankLoss
from bertrec.rankers.prompts.template import Prompt
from bertrec.training.config import TrainConfig

Attention = Literal["auto", "joint", "once"]
DEFAULT_PROMPT = "action-hybrid"
TEMPLATE = "template"
"""The setting that names the prompt, as ``--template`` of ``bertrec prompt train`` does."""


def _train() -> TrainConfig:
    return TrainConfig(
        learning_rate=1e-3, encoder_learning_rate=1e-4, weight_decay=0.0, encoder_weight_decay=1e-3, batch_size=16, epochs=4, metric="AUC"
    )


class PretrainConfig(Config):
    """Lists that are learned before the training, each once (`bertrec.rankers.prompts.pretraining`)."""

    kind: Literal["none", "histories"] = Field(
        "none",
        description="histories: the next item of a training history among drawn negatives; no label and nothing shown is read.",
    )
    lists: int = Field(
        0,
        ge=0,
        le=100_000_000,
        description="How many lists; 0 takes each place of each history once, more than there are come again with other negatives.",
    )
    negatives: int = Field(4, ge=1, le=10_000, description="Negatives of each list, items of the histories that the user's own lacks.")
    alpha: float = Field(
        1.0,
        ge=0,
        le=10,
        description="Negatives are drawn by the number of histories that hold them to this power: at 1 an item's own popularity says "
        "nothing of the click.",
    )


class PromptConfig(Config):
    """How a prompt is asked and trained."""

    prompt: Prompt = Field(
        default_factory=lambda: Prompt.load(DEFAULT_PROMPT),
        description="The template and its answers.",
    )
    encoder: MaskedConfig = Field(
        default_factory=MaskedConfig,
        description="The masked language model; tune=frozen trains the soft tokens alone (prompt tuning).",
    )
    train: TrainConfig = Field(
        default_factory=_train,
        description="The training; batch_size counts clicks with their negatives, learning_rate is of the soft tokens.",
    )
    negatives: int = Field(
        4,
        ge=0,
        description="Items shown but not clicked that go with each click, from the same impression; 0 trains on all "
        "candidates as they stand, as pairs with a label of their own, such as ratings, are learned.",
    )
    attention: Attention = Field(
        "auto",
        description="joint lets history and candidate see one another in every layer, as BERT does; once reads a "
        "history that stands first once for all candidates, which see it, not it them; auto is once where prompt and "
        "encoder allow it.",
    )
    loss: RankLoss = Field(
        "pointwise",
        description=f"Of the margin, the positive answer's logit less the negative's: {LOSSES_IN_WORDS}.",
    )
    distill: float = Field(
        1.0,
        ge=0,
        le=1e6,
        description="Weight of the distillation beside the loss, where the training has a teacher (--teacher): the divergence of the "
        "softmax of the margins of a list from that of the teacher's scores.",
    )
    distill_temperature: float = Field(
        0.05,
        gt=0,
        le=1e6,
        description="What the teacher's scores are divided by before their softmax; cosines need a small one.",
    )
    pretrain: PretrainConfig = Field(
        default_factory=PretrainConfig,
        description="What is learned before the training.",
    )
    item_text: Literal["title", "text"] = Field(
        "title",
        description="What stands for an item: its title or all of its text.",
    )
    profile: Profile = Field("labels", description=PROFILE_IN_WORDS)
    profile_field: str | None = Field(None, description=PROFILE_FIELD_IN_WORDS)
    swap: float = Field(0.0, ge=0, le=1, description=SWAP_IN_WORDS)

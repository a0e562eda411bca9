"""Settings of a cloze-prompt ranker: Prompt4NR's template, negatives, batch, epochs and decay; the learning rates and warm-up are ours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertrec.core.config import Config
from bertrec.encoders.masked.config import MaskedConfig
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


class PromptConfig(Config):
    """How a prompt is asked and trained.

    Attributes:
        prompt: the template and its answers.
        encoder: the masked language model; ``tune=frozen`` trains the soft tokens alone (prompt tuning).
        train: ``batch_size`` counts clicks, each with its negatives; ``learning_rate`` is that of the soft tokens.
        negatives: of each click, from the same impression; Prompt4NR takes 4. 0 trains on all candidates as they stand, which is how pairs
            with a label of their own, such as ratings, are learned.
        attention: ``joint`` lets history and candidate see one another in every layer, as BERT does and Prompt4NR with it. ``once`` lets
            the history see itself alone, so that it is read once for all candidates; the candidate and the mask see both. It needs a
            prompt whose history stands first. ``auto`` is ``once`` where prompt and encoder allow it.
        loss: ``pointwise`` is Prompt4NR's cross-entropy over the two answers of each pair; ``listwise`` the softmax of the click's margin
            (the positive answer's logit less the negative's) among those of its negatives.
        item_text: what stands for an item: its ``title`` or all of its ``text``.
        profile_field: a text field with labels, such as genres: the history's three most frequent ones stand before its titles, in words.
    """

    prompt: Prompt = Field(default_factory=lambda: Prompt.load(DEFAULT_PROMPT))
    encoder: MaskedConfig = Field(default_factory=MaskedConfig)
    train: TrainConfig = Field(default_factory=_train)
    negatives: int = Field(4, ge=0)
    attention: Attention = "auto"
    loss: Literal["pointwise", "listwise"] = "pointwise"
    item_text: Literal["title", "text"] = "title"
    profile_field: str | None = None

"""Several prompts asked one after the other; their probabilities are added, as Prompt4NR does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.rankers.prompts.ranker import FloatArray, PromptRanker


class PromptEnsemble:
    """The mean of its members' probabilities, which ranks as their sum does.

    Args:
        members: rankers over one catalogue, such as one a template, or checkpoints of one.

    Raises:
        ConfigError: there is none, or their catalogues differ.
    """

    def __init__(self, members: Sequence[PromptRanker]) -> None:
        if not members:
            raise ConfigError("an ensemble needs at least one member")
        if len({member.catalog.content_hash for member in members}) > 1:
            raise ConfigError("the members of an ensemble must rank the same items")
        self.members = tuple(members)

    def prepare(self, catalog: ItemCatalog) -> None:
        """Take another catalogue, such as that of other data; nothing is done where it is the same.

        Raises:
            ModelError: a member holds vectors of an ID model, which knows its own items alone.
        """
        for member in self.members:
            if member.catalog.content_hash != catalog.content_hash:
                if member.vectors is not None:
                    raise ModelError(f"prompt '{member.config.prompt.name}' holds vectors of an ID model: it cannot move to other items")
                member.prepare(catalog)

    def score(self, histories: Ragged, candidates: Ragged, *, progress: bool = False) -> FloatArray:
        """Return the mean probability of the positive answers, ``[total candidates]``; as `PromptRanker.score`."""
        return together(self.member_scores(histories, candidates, progress=progress))

    def member_scores(self, histories: Ragged, candidates: Ragged, *, progress: bool = False) -> list[FloatArray]:
        """Return what each member gives, as `PromptRanker.score`."""
        return [member.score(histories, candidates, progress=progress) for member in self.members]

    @property
    def model_hash(self) -> str:
        """SHA-256 over what the scores depend on."""
        return sha256_text(*(member.model_hash for member in self.members))

    def about(self) -> Mapping[str, Any]:
        """Return what a report says of the members."""
        return {"members": [dict(member.about()) for member in self.members]}


def together(scores: Sequence[FloatArray]) -> FloatArray:
    """Return the mean of the members' probabilities, ``[total candidates]`` each."""
    return np.asarray(np.stack(scores).mean(axis=0), np.float64)

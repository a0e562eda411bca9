"""Several rankers over one catalogue, whose scores are averaged; of cloze prompts the probabilities are, as Prompt4NR does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.models.folder import SavedParts
from bertrec.rankers.base import Ranker, Scores
from bertrec.rankers.context import Context

MEMBERS = "members"
_COUNT = "members"  # among the values of config.json


class Ensemble(Ranker):
    """The mean of its members' scores, which ranks as their sum does.

    Args:
        members: rankers over one catalogue, such as one per template, or seeds of one.

    Raises:
        ConfigError: there is none, or their catalogues differ.
    """

    name: ClassVar[str] = "ensemble"

    def __init__(self, members: Sequence[Ranker]) -> None:
        super().__init__()
        if isinstance(members, Ranker) or not members:
            raise ConfigError("an ensemble needs at least one member: Ensemble([ranker, …])")
        self.members = tuple(members)
        known = {member.catalog.content_hash: member.catalog for member in members if member._catalog is not None}
        if len(known) > 1:
            raise ConfigError("the members of an ensemble must rank the same items")
        self._catalog = next(iter(known.values()), None)

    @classmethod
    def config_from(cls, **_: Any) -> Config:
        """Refuse: an ensemble is made of its members.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("an ensemble is made of rankers: name their runs together, or take Ensemble([…]) in Python")

    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Self:
        """Fit each member; checkpoints of each go to a folder of its own in ``run_dir``."""
        self.check_data(impressions, validation)
        self.check_fit_options(options)
        for number, member in enumerate(self.members):
            place = None if options.get("run_dir") is None else Path(options["run_dir"]) / str(number)
            member.fit(impressions, validation=validation, **{**options, "run_dir": place})
        self.catalog = impressions.catalog
        self.notes = tuple(dict.fromkeys(note for member in self.members for note in member.notes))
        return self

    def prepare(self, catalog: ItemCatalog) -> Self:
        """Move every member to other items."""
        for member in self.members:
            member.prepare(catalog)
        self.catalog = catalog
        return self

    def score(
        self,
        histories: Ragged,
        candidates: Ragged,
        *,
        retrieval_scores: npt.NDArray[Any] | None = None,
        context: Context | None = None,
        progress: bool = False,
    ) -> Scores:
        """Return the mean of what the members give, ``[total candidates]``; the arguments are those of `Ranker.score`."""
        return together(self.member_scores(histories, candidates, retrieval_scores=retrieval_scores, context=context, progress=progress))

    def member_scores(self, histories: Ragged, candidates: Ragged, *, context: Context | None = None, **options: Any) -> list[Scores]:
        """Return what each member gives; the arguments are those of `Ranker.score`."""
        given = [{**options, **({"context": context} if member.reads_context else {})} for member in self.members]
        return [member.score(histories, candidates, **one) for member, one in zip(self.members, given, strict=True)]

    @property
    def reads_context(self) -> bool:
        """Whether a member does."""
        return any(member.reads_context for member in self.members)

    @property
    def predicts_ratings(self) -> bool:
        """Whether all members do."""
        return all(member.predicts_ratings for member in self.members)

    @property
    def gives_probabilities(self) -> bool:
        """Whether all members do."""
        return all(member.gives_probabilities for member in self.members)

    @property
    def needs_retrieval_scores(self) -> bool:
        """Whether a member does."""
        return any(member.needs_retrieval_scores for member in self.members)

    @property
    def head_note(self) -> str | None:
        """What must be said of the members."""
        return "; ".join(dict.fromkeys(member.head_note for member in self.members if member.head_note)) or None

    @property
    def model_hash(self) -> str:
        """SHA-256 over what the scores depend on."""
        return sha256_text(*(member.model_hash for member in self.members))

    def about(self) -> Mapping[str, Any]:
        """Return what a report says of the members."""
        return {"members": [dict(member.about()) for member in self.members]}

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: the members have folders of their own."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take nothing."""

    def saved_values(self) -> dict[str, Any]:
        """Return how many members there are."""
        return {_COUNT: len(self.members)}

    def save_folders(self, folder: Path) -> None:
        """Write each member."""
        for number, member in enumerate(self.members):
            member.save_pretrained(folder / MEMBERS / str(number))

    @classmethod
    def from_parts(cls, parts: SavedParts) -> Self:
        """Read each member.

        Raises:
            ModelError: one is missing or damaged, or needs a class that nobody vouches for.
        """
        folder, count = parts.folder / MEMBERS, parts.about[_COUNT]
        places = sorted(folder.iterdir(), key=lambda place: (len(place.name), place.name)) if folder.is_dir() else []
        if not places or [place.name for place in places] != [str(number) for number in range(len(places))] or len(places) != count:
            raise ModelError(f"{folder} does not hold the {count!r} members of the ensemble: the folder is not whole")
        return cls([Ranker.from_pretrained(place, classes=parts.classes) for place in places])


def together(scores: Sequence[Scores]) -> npt.NDArray[np.float64]:
    """Return the mean of the members' scores, ``[total candidates]`` each."""
    return np.asarray(np.stack(scores).mean(axis=0), np.float64)

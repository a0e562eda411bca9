"""Who is asked and when: what a ranker may read of a row beside its history and candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray
from bertrec.data.catalog import UserCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.load import Dataset


@dataclass(frozen=True)
class Known:
    """What is known beside items and histories.

    It may reach beyond the moment of a row that is scored: whoever reads it takes what is strictly before that moment, and never
    anything of the pair that is scored.

    Attributes:
        users: profile texts, or ``None``.
        past: interactions with their times, ratings and review texts, as far as the data have them, or ``None``. In a fit these
            are what training may read: no held-out interaction is among them.
        whole: in a fit, all interactions, for rows that are measured (`measuring`); None where ``past`` are all.
    """

    users: UserCatalog | None = None
    past: Interactions | None = None
    whole: Interactions | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Known:
        """Return all that a data set knows."""
        return cls(dataset.users, dataset.interactions)

    @classmethod
    def for_training(cls, dataset: Dataset, past: Interactions) -> Known:
        """Return what a data set knows, of its interactions only ``past`` where rows are learned."""
        return cls(dataset.users, past, None if past is dataset.interactions else dataset.interactions)

    @property
    def measuring(self) -> Known:
        """What is known where rows are measured: their users went on after the training, as they will when the ranker serves."""
        return self if self.whole is None else Known(self.users, self.whole)


@dataclass(frozen=True)
class Context:
    """Of each row that is scored.

    Attributes:
        users: external ids, ``[n]``.
        times: ``[n]`` seconds since 1970, when the candidates were met; ``None`` where there is no clock.
        known: see `Known`.
    """

    users: Sequence[str | int]
    times: npt.NDArray[np.float64] | None = None
    known: Known = field(default_factory=Known)

    def __post_init__(self) -> None:
        if self.times is not None and len(self.times) != len(self.users):
            raise DataError(f"{len(self.times)} times for {len(self.users)} users")

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of(cls, impressions: Impressions, known: Known | None = None) -> Context:
        """Return that of impressions, a row for each."""
        return cls(impressions.users, impressions.timestamp, known or Known())

    def take(self, rows: IntArray | Sequence[int]) -> Context:
        """Return that of the rows numbered ``rows``, in that order."""
        picked = np.asarray(rows, np.int64)
        return Context([self.users[row] for row in picked], None if self.times is None else self.times[picked], self.known)


def has_clock(past: Interactions | None) -> bool:
    """Say whether interactions have times that compare between users."""
    return past is not None and past.timestamp is not None and not past.timestamp_is_position

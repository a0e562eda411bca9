"""Impressions: what a user was shown after a history, and what they clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bertrec.core.described import Described
from bertrec.core.errors import DataError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.readers.raw import RawImpressions


@dataclass(frozen=True, eq=False, repr=False)
class Impressions(Described):
    """One row per impression, as arrays with offsets.

    Attributes:
        catalog: the items.
        ids, users: external ids, ``[n]``; a user may occur in several rows.
        histories: inner item ids, oldest first; may be empty.
        candidates: inner item ids in the order shown.
        labels: ``[total candidates]`` int8, 1 for a click; ``None`` where they are withheld.
        timestamp: ``[n]`` float64 seconds since 1970, or ``None``.
        notes: what was dropped.
        levels: ``[total candidates]`` int8, how far the user went along a chain such as click, cart, purchase: 0 is not even a click, and
            each step implies those before it; ``None`` where clicks are all that is known. See `bertrec.data.chain`.
    """

    catalog: ItemCatalog
    ids: list[str]
    users: list[str | int]
    histories: Ragged
    candidates: Ragged
    labels: npt.NDArray[np.int8] | None = None
    timestamp: npt.NDArray[np.float64] | None = None
    notes: tuple[str, ...] = field(default=(), repr=False)
    levels: npt.NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.users), len(self.histories), len(self.candidates)}
        if self.timestamp is not None:
            lengths.add(len(self.timestamp))
        if len(lengths) > 1:
            raise DataError(f"impressions whose columns differ in length: {sorted(lengths)}")
        if self.labels is not None and len(self.labels) != len(self.candidates.values):
            raise DataError(f"{len(self.labels)} labels for {len(self.candidates.values)} candidates")
        self._check_levels()

    def _check_levels(self) -> None:
        if self.levels is None:
            return
        if len(self.levels) != len(self.candidates.values):
            raise DataError(f"{len(self.levels)} levels for {len(self.candidates.values)} candidates")
        if self.labels is not None and not np.array_equal(self.labels == 1, self.levels >= 1):
            raise DataError("levels and labels contradict each other: a candidate of level 1 or more is clicked, one of level 0 is not")

    def __len__(self) -> int:
        return len(self.ids)

    def _facts(self) -> dict[str, object]:
        clicks = None if self.labels is None else int(self.labels.sum())
        return {"impressions": len(self), "users": len(set(self.users)), "candidates": len(self.candidates.values), "clicks": clicks}

    @property
    def clicks(self) -> Ragged:
        """The clicked candidates of each row.

        Raises:
            DataError: the labels are withheld.
        """
        if self.labels is None:
            raise DataError("these impressions have no labels")
        return self.candidates.where(self.labels == 1)

    def take(self, rows: IntArray | Sequence[int]) -> Impressions:
        """Return the impressions numbered ``rows``, in that order; the notes stay."""
        picked = np.asarray(rows, dtype=np.int64)
        shown = Ragged(np.arange(len(self.candidates.values)), self.candidates.offsets).take(picked)
        return replace(
            self,
            ids=[self.ids[row] for row in picked],
            users=[self.users[row] for row in picked],
            histories=self.histories.take(picked),
            candidates=Ragged(self.candidates.values[shown.values], shown.offsets),
            labels=None if self.labels is None else self.labels[shown.values],
            levels=None if self.levels is None else self.levels[shown.values],
            timestamp=None if self.timestamp is None else self.timestamp[picked],
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over catalogue, users, histories, candidates, labels and, where there are any, levels."""
        rows = [self.histories.values, self.histories.offsets, self.candidates.values, self.candidates.offsets, self.labels]
        rows += [] if self.levels is None else [self.levels]
        arrays = ("-" if array is None else array.tobytes().hex() for array in rows)
        return sha256_text(self.catalog.content_hash, *map(str, self.users), *arrays)

    @classmethod
    def from_raw(cls, raw: RawImpressions, catalog: ItemCatalog) -> Impressions:
        """Number the items, drop those that the catalogue lacks, and impressions that are left without a candidate.

        Raises:
            DataError: more than half of the candidates are unknown.
        """
        histories, candidates = raw.histories.encode(catalog.ids), raw.candidates.encode(catalog.ids)
        past, shown = histories.values > 0, candidates.values > 0
        gone, lost = int((~shown).sum()), int((~past).sum())
        if gone * 2 > len(shown):
            raise DataError(f"{raw.source}: {gone} of {len(shown)} candidates are absent from the items, more than half: check the ids")
        histories, kept = histories.where(past), candidates.where(shown)
        labels = None if raw.labels is None else raw.labels[shown]
        rows = np.flatnonzero(kept.lengths > 0)
        counts = {"candidates absent from the items": gone, "history items absent from the items": lost}
        counts["impressions without a candidate"] = len(kept) - len(rows)
        notes = tuple(f"{raw.source}: {count} {what} (dropped)" for what, count in counts.items() if count)
        return cls(
            catalog,
            [raw.ids[row] for row in rows],
            [raw.users[row] for row in rows],
            histories.take(rows),
            kept.take(rows),
            labels,  # rows without candidates have no labels either
            None if raw.timestamp is None else raw.timestamp[rows],
            notes,
        )


def split_share(impressions: Impressions, share: float, seed: int) -> tuple[Impressions, Impressions]:
    """Set a random share of whole impressions apart, the same one for the same seed and number of impressions.

    Both parts keep the order. A user with several impressions may be in both.

    Args:
        impressions: what to split.
        share: of the impressions in the second part, between 0 and 1; rounded, and each part gets at least one.
        seed: of the choice.

    Returns:
        The rest and the part.

    Raises:
        DataError: the share is not between 0 and 1, or there are fewer than two impressions.
    """
    if not 0 < share < 1:
        raise DataError(f"the share of impressions to set apart must be above 0 and below 1, got {share}")
    if (n := len(impressions)) < 2:
        raise DataError(f"{n} impressions cannot be split in two")
    chosen = np.zeros(n, dtype=bool)
    chosen[np.random.default_rng(seed).permutation(n)[: min(max(1, round(share * n)), n - 1)]] = True
    return impressions.take(np.flatnonzero(~chosen)), impressions.take(np.flatnonzero(chosen))

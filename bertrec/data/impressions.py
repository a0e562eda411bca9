"""Impressions: what a user was shown after a history, and what they clicked."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.readers.raw import RawImpressions


@dataclass(frozen=True, eq=False)
class Impressions:
    """One row an impression, as arrays with offsets.

    Attributes:
        catalog: the items.
        ids, users: external ids, ``[n]``; a user may occur in several rows.
        histories: inner item ids, oldest first; may be empty.
        candidates: inner item ids in the order shown.
        labels: ``[total candidates]`` int8, 1 for a click; ``None`` where they are withheld.
        timestamp: ``[n]`` float64 seconds since 1970, or ``None``.
        notes: what was dropped.
    """

    catalog: ItemCatalog
    ids: list[str]
    users: list[str | int]
    histories: Ragged
    candidates: Ragged
    labels: npt.NDArray[np.int8] | None = None
    timestamp: npt.NDArray[np.float64] | None = None
    notes: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.users), len(self.histories), len(self.candidates)}
        if self.timestamp is not None:
            lengths.add(len(self.timestamp))
        if len(lengths) > 1:
            raise DataError(f"impressions whose columns differ in length: {sorted(lengths)}")
        if self.labels is not None and len(self.labels) != len(self.candidates.values):
            raise DataError(f"{len(self.labels)} labels for {len(self.candidates.values)} candidates")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def clicks(self) -> Ragged:
        """The clicked candidates of each row.

        Raises:
            DataError: the labels are withheld.
        """
        if self.labels is None:
            raise DataError("these impressions have no labels")
        return self.candidates.where(self.labels == 1)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over catalogue, users, histories, candidates and labels."""
        rows = (self.histories.values, self.histories.offsets, self.candidates.values, self.candidates.offsets, self.labels)
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

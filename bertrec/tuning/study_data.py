"""What the trials of a study are run on: a split, clicks for prompts, or the vectors of an index; each a folder beside the plan."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.files import sha256_text
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.splits import Split
from bertrec.recbole.exchange import load_split, ragged_columns, read_arrays, read_ragged, save_split, write_arrays
from bertrec.retrieval.checks import check_vectors

SPLIT, CLICKS, VECTORS = "split", "clicks", "vectors.npz"
_PARTS = ("learned", "validation", "test")


@dataclass(frozen=True)
class ImpressionSplit:
    """Impressions for cloze prompts, all of one catalogue.

    Attributes:
        learned: what a trial trains on.
        validation: chooses epochs and trials.
        test: for the winner alone; None where the data have no further labels.
    """

    learned: Impressions
    validation: Impressions
    test: Impressions | None = None

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over all parts."""
        return sha256_text(*("-" if part is None else part.content_hash for part in (self.learned, self.validation, self.test)))

    def save(self, folder: Path) -> None:
        """Write item texts and inner ids; users become numbers, the same ones in all parts.

        Raises:
            DataError: a part has no labels.
        """
        arrays: dict[str, npt.NDArray[Any]] = {}
        parts = {name: part for name in _PARTS if (part := getattr(self, name)) is not None}
        users = IdMap(sorted({str(user) for part in parts.values() for user in part.users}))
        for name, part in parts.items():
            if part.labels is None:
                raise DataError(f"the {name} impressions have no labels: there is nothing to tune by")
            arrays[f"{name}_users"] = users.encode([str(user) for user in part.users])
            arrays[f"{name}_labels"] = part.labels
            arrays |= ragged_columns(f"{name}_histories", part.histories) | ragged_columns(f"{name}_candidates", part.candidates)
        self.learned.catalog.save(folder)
        write_arrays(folder / "clicks.npz", arrays)

    @classmethod
    def load(cls, folder: Path) -> ImpressionSplit:
        """Read what `save` wrote.

        Raises:
            ModelError: a file is missing or damaged.
        """
        values, catalog = read_arrays(folder / "clicks.npz"), ItemCatalog.load(folder)
        return cls(**{name: _impressions(values, name, catalog) for name in _PARTS if f"{name}_users" in values})


def _impressions(values: dict[str, npt.NDArray[Any]], name: str, catalog: ItemCatalog) -> Impressions:
    histories, candidates = (read_ragged(values, f"{name}_{part}") for part in ("histories", "candidates"))
    # Nobody's id: a winner that knows users must not take a customer numbered 7 for the study's seventh.
    users: list[str | int] = [f"user {number} of the study" for number in values[f"{name}_users"].tolist()]
    return Impressions(catalog, [str(row) for row in range(len(users))], users, histories, candidates, values[f"{name}_labels"])


@dataclass(frozen=True, eq=False)
class Vectors:
    """What an index is tuned on.

    Attributes:
        items: ``[n, d]`` float32.
        queries: ``[q, d]`` float32, best the vectors of users.
    """

    items: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32]

    @classmethod
    def of(cls, items: npt.ArrayLike, queries: npt.ArrayLike) -> Vectors:
        """Check and take vectors.

        Raises:
            DataError: no items or queries, values that are not finite, or two different widths.
        """
        checked = check_vectors(items, "inner_product")
        asked = check_vectors(queries, "inner_product", what="queries")
        if not len(checked) or not len(asked):
            raise DataError(f"an index is tuned on items and queries: there are {len(checked)} items and {len(asked)} queries")
        if checked.shape[1] != asked.shape[1]:
            raise DataError(f"the items have {checked.shape[1]} dimensions, the queries {asked.shape[1]}: take both from one model")
        return cls(checked, asked)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over items and queries."""
        digest = hashlib.sha256(str((self.items.shape, self.queries.shape)).encode())
        for array in (self.items, self.queries):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write both as one file."""
        write_arrays(path, {"items": self.items, "queries": self.queries})

    @classmethod
    def load(cls, path: Path) -> Vectors:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing or damaged.
        """
        values = read_arrays(path)
        return cls(values["items"], values["queries"])


StudyData = Split | ImpressionSplit | Vectors


def save_study_data(data: StudyData, folder: Path) -> None:
    """Write what a study's workers need into its folder."""
    if isinstance(data, Split):
        save_split(data, folder / SPLIT)
    else:
        data.save(folder / (CLICKS if isinstance(data, ImpressionSplit) else VECTORS))


def load_study_data(source: str, folder: Path) -> StudyData:
    """Read what `save_study_data` wrote for a study of this source.

    Raises:
        ModelError: a file is missing or damaged.
    """
    if source in ("ranker", "prompt"):
        return ImpressionSplit.load(folder / CLICKS)
    return Vectors.load(folder / VECTORS) if source == "index" else load_split(folder / SPLIT)

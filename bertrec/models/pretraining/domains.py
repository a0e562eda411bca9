"""Several data sets as one table of items: an id means different items in different data sets, so none is ever merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.load import Dataset, make_split
from bertrec.data.splits import EvaluationSet, Split
from bertrec.encoders.adaptation import is_of_split, other_split_note

TEXT = "text"
"""The one field of the joined catalogue."""


@dataclass(frozen=True, eq=False)
class Domain:
    """A data set among others.

    Attributes:
        name: of the data set, told apart from equal ones by a number.
        split: of which training reads the training part alone.
        offset: added to an inner id of the data set, it gives that of the joined table.
    """

    name: str
    split: Split
    offset: int

    @property
    def rows(self) -> IntArray:
        """The inner ids of its items in the joined table, ``[n_items]``."""
        return np.arange(1, len(self.split.catalog) + 1, dtype=np.int64) + self.offset

    def moved(self, rows: Ragged) -> Ragged:
        """Return rows of its inner ids in those of the joined table."""
        return Ragged(rows.values + self.offset, rows.offsets)

    def names(self, ids: Iterable[str | int]) -> list[str | int]:
        """Return ids with the name of the data set before them."""
        return [f"{self.name}:{one}" for one in ids]

    @property
    def learned(self) -> LearnedDomain:
        """What ``run.json`` says of it."""
        manifest, train = self.split.manifest, self.split.train
        counts = {"users": train.n_users, "items": train.n_items, "train_interactions": len(train)}
        return LearnedDomain(
            name=self.name,
            data=str(manifest.get("data", self.name)),
            data_hash=str(manifest.get("data_hash", "")),
            split={name: manifest[name] for name in ("method", "options", "seed") if name in manifest},
            train_hash=train.content_hash,
            counts=counts,
        )


@dataclass(frozen=True)
class LearnedDomain:
    """What a run was pre-trained on, of one data set.

    Attributes:
        name: in the run, before the ids of its items.
        data, data_hash: name of the data, and SHA-256 of what was read of them.
        split: ``method``, ``options`` and ``seed``, as in a split's manifest.
        train_hash: SHA-256 of the training interactions, all that the weights learned from.
        counts: users, items and training interactions.
    """

    name: str
    data: str
    data_hash: str
    split: dict[str, Any]
    train_hash: str
    counts: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any, where: str) -> Self:
        """Build from ``to_dict``.

        Raises:
            ModelError: the values, read in ``where``, are of another form.
        """
        kinds = {"name": str, "data": str, "data_hash": str, "split": dict, "train_hash": str, "counts": dict}
        right = isinstance(values, dict) and values.keys() == kinds.keys()
        if not right or not all(isinstance(values[name], kind) for name, kind in kinds.items()):
            raise ModelError(f"{where} is damaged: it does not say what the run was pre-trained on")
        return cls(**values)

    def note(self, run: str, dataset: Dataset, split: Split) -> str | None:
        """Return one line where the data are among what ``run`` was pre-trained on, None elsewhere.

        Args:
            run: names it.
            dataset: what the run, or one that started from it, is trained or measured on.
            split: of these data.
        """
        if is_of_split(self, split):
            told = f"{dataset.name} is among the data that {run} was pre-trained on"
            return f"note: {told}, by its training part alone: nothing that is held out here, but this is no new domain"
        return other_split_note(f"{run} was pre-trained", self, dataset, split, mend="pre-train on this split, or without these data")


@dataclass(frozen=True, eq=False)
class Domains:
    """Data sets side by side; items of the first come first."""

    parts: tuple[Domain, ...]

    @classmethod
    def of(cls, data: Sequence[Dataset | Split]) -> Self:
        """Put data sets side by side, each split as `bertrec.make_split` does where it is not a split yet.

        Raises:
            ConfigError: none is given.
            DataError: one is given twice, has no text, or no sequence of two items; the text names it.
        """
        if not data:
            raise ConfigError("pretrain: give at least one data set")
        splits = [make_split(one) if isinstance(one, Dataset) else one for one in data]
        names = _names(splits)
        _check_different(names, splits)
        for name, split in zip(names, splits, strict=True):
            _check_usable(name, split)
        offsets = np.cumsum([0, *(len(split.catalog) for split in splits)])
        return cls(tuple(Domain(name, split, int(offset)) for name, split, offset in zip(names, splits, offsets, strict=False)))

    def __len__(self) -> int:
        return len(self.parts)

    @cached_property
    def catalog(self) -> ItemCatalog:
        """All items, each under ``NAME:ID``, with its text as one field."""
        ids = [one for part in self.parts for one in part.names(part.split.catalog.ids.ids)]
        return ItemCatalog(IdMap(ids), {TEXT: [text for part in self.parts for text in part.split.catalog.texts]})

    @cached_property
    def train(self) -> Interactions:
        """The training parts of all, each user under ``NAME:USER``."""
        users = [one for part in self.parts for one in part.names(part.split.train.users.ids)]
        return Interactions(self.catalog, IdMap(users), _stacked(part.moved(part.split.train.sequences) for part in self.parts))

    @cached_property
    def of_item(self) -> IntArray:
        """The number of the data set of each inner id, ``[n_items + 1]``; -1 of padding."""
        return np.repeat(np.arange(-1, len(self)), [1, *(len(part.split.catalog) for part in self.parts)])

    def validation(self, most: int, seed: int) -> list[EvaluationSet]:
        """Return validation users of each data set in its own inner ids, at most so many, drawn by the seed; maybe none."""
        return [_sampled(part.split.validation, most, [seed, number]) for number, part in enumerate(self.parts)]

    def joined(self, users: Sequence[EvaluationSet]) -> EvaluationSet:
        """Return users of each data set as one set over the joined table."""
        pairs = list(zip(self.parts, users, strict=True))
        histories = _stacked(part.moved(one.histories) for part, one in pairs)
        targets = _stacked(part.moved(one.targets) for part, one in pairs)
        return EvaluationSet([name for part, one in pairs for name in part.names(one.users)], histories, targets)


def _names(splits: Sequence[Split]) -> list[str]:
    names: list[str] = []
    for number, split in enumerate(splits, start=1):
        name = str(split.manifest.get("data") or f"data-{number}")
        names.append(name if name not in names else f"{name}-{number}")
    return names


def _check_different(names: Sequence[str], splits: Sequence[Split]) -> None:
    seen: dict[str, str] = {}
    for name, split in zip(names, splits, strict=True):
        content = split.train.content_hash
        if content in seen:
            same = f"{seen[content]} and {name} hold the same training interactions"
            raise DataError(f"pretrain: one data set is given twice: {same}; leave one out")
        seen[content] = name


def _check_usable(name: str, split: Split) -> None:
    if not any(split.catalog.texts):
        raise DataError(f"{name}: no item has a text, and pre-training knows items by what they say alone: leave it out, or give texts")
    if not (split.train.sequences.lengths >= 2).any():
        raise DataError(f"{name}: no training sequence has two items: there is nothing to learn; loosen the filters, or leave it out")


def _sampled(users: EvaluationSet | None, most: int, seed: list[int]) -> EvaluationSet:
    empty = Ragged(np.zeros(0, np.int64), np.zeros(1, np.int64))
    if users is None or not most:
        return EvaluationSet([], empty, empty)
    if len(users) <= most:
        return users
    return users.take(np.sort(np.random.default_rng(seed).choice(len(users), most, replace=False)))


def _stacked(parts: Iterable[Ragged]) -> Ragged:
    rows = list(parts)
    lengths = np.concatenate([part.lengths for part in rows])
    return Ragged.from_lengths(np.concatenate([part.values for part in rows]), lengths)

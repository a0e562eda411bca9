"""What an encoder was adapted on, kept in its folder, and what of another split that may have let it see."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from bertrec.core.config import Config
from bertrec.core.distinct import among
from bertrec.core.errors import DataError, ModelError
from bertrec.core.files import read_json
from bertrec.core.ragged import IntArray
from bertrec.core.seal import check_seal
from bertrec.data.interactions import Interactions
from bertrec.data.load import Dataset, make_split
from bertrec.data.splits import EvaluationSet, Split

MANIFEST = "encoder.json"


class Learned(Protocol):
    """What something learned from: the training part of a split of some data.

    Attributes:
        data, data_hash: name of the data, and SHA-256 of what was read of them.
        split: ``method``, ``options`` and ``seed``, as in a split's manifest.
        train_hash: SHA-256 of the training interactions, all that the weights learned from.
    """

    @property
    def data(self) -> str:
        """Name of the data."""

    @property
    def data_hash(self) -> str:
        """SHA-256 of what was read of them."""

    @property
    def split(self) -> dict[str, Any]:
        """How they were split."""

    @property
    def train_hash(self) -> str:
        """SHA-256 of the training interactions."""


@dataclass(frozen=True)
class Adaptation:
    """How an encoder was adapted on interactions.

    Attributes:
        encoder: what it was before, by name.
        data, data_hash: name of the data, and SHA-256 of what was read of them.
        split: ``method``, ``options`` and ``seed``, as in a split's manifest.
        train_hash: SHA-256 of the training interactions, all that the weights learned from.
        pairs: how many of each kind there were.
        before, after: validation figures of the encoder as it was and as it is; empty without validation users.
        settings: of the adaptation, flat plain values.
    """

    encoder: str
    data: str
    data_hash: str
    split: dict[str, Any]
    train_hash: str
    pairs: dict[str, int]
    before: dict[str, float]
    after: dict[str, float]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any, path: Path) -> Self:
        """Build from ``to_dict``.

        Raises:
            ModelError: the values, read in ``path``, are of another form.
        """
        kinds = {"encoder": str, "data": str, "data_hash": str, "split": dict, "train_hash": str}
        kinds |= dict.fromkeys(("pairs", "before", "after", "settings"), dict)
        right = isinstance(values, dict) and values.keys() == kinds.keys()
        if not right or not all(isinstance(values[name], kind) for name, kind in kinds.items()):
            raise ModelError(f"{path} is damaged: it does not say what the encoder was adapted on")
        return cls(**values)

    @property
    def note(self) -> str:
        """One line for reports."""
        counts = " and ".join(f"{count} pairs of {kind}" for kind, count in self.pairs.items())
        return f"adapted by bertrec on {self.data} ({self.split.get('method')}): {counts}"


def read_adaptation(name: str) -> Adaptation | None:
    """Return what the encoder of a folder was adapted on; None for any other name, and for one that was not adapted.

    Raises:
        ModelError: the folder's record is damaged.
    """
    path = Path(name).expanduser() / MANIFEST
    if not path.is_file():
        return None
    record = read_json(path)
    if not isinstance(record, dict) or record.get("adaptation") is None:
        return None
    check_seal(record, path)
    return Adaptation.from_dict(record["adaptation"], path)


def adaptation_of(config: Config) -> Adaptation | None:
    """Return what the encoder that a model's settings name was adapted on, as `read_adaptation` does.

    Raises:
        ModelError: the folder's record is damaged.
    """
    name = config.to_flat().get("encoder.name")
    return read_adaptation(name) if isinstance(name, str) else None


@dataclass(frozen=True)
class Overlap:
    """What an adaptation read of that which a split holds out.

    Attributes:
        items: held-out items of the split that are in the adaptation's training interactions.
        held_out_items: of the split.
        interactions: held-out pairs of user and item that are there.
        held_out_interactions: of the split, those that are in its own training part left out.
    """

    items: int
    held_out_items: int
    interactions: int
    held_out_interactions: int

    @property
    def leaks(self) -> bool:
        """Whether anything that is held out was read."""
        return bool(self.items or self.interactions)

    def __str__(self) -> str:
        items = f"{self.items} of {self.held_out_items} held-out items and " if self.held_out_items else ""
        return f"{items}{self.interactions} of {self.held_out_interactions} held-out interactions"


def is_of_split(adaptation: Learned, split: Split) -> bool:
    """Say whether the adaptation learned from just the interactions that a model of ``split`` learns from."""
    return adaptation.train_hash == split.train.content_hash


def overlap(adaptation: Learned, dataset: Dataset, split: Split) -> Overlap | None:
    """Make the adaptation's split again and count what it trained on of that which ``split`` holds out.

    Args:
        adaptation: of an encoder, or whatever else learned from a split.
        dataset: the data.
        split: of these data.

    Returns:
        The counts; None where the adaptation was on other data, or on these read otherwise, so that nothing can be counted.
    """
    if adaptation.data_hash != dataset.content_hash:
        return None
    try:
        theirs = _split_again(adaptation, dataset).train
    except (DataError, KeyError, TypeError):  # a record of another version
        return None
    seen, own = _keys(theirs, theirs), _keys(split.train, theirs)
    parts = [part for part in (split.validation, split.test) if part is not None]
    held = np.unique(np.concatenate([_held_keys(part, theirs) for part in parts])) if parts else np.zeros(0, np.int64)
    held = held[~among(held, own)]
    known = theirs.item_counts[split.held_out] > 0
    return Overlap(int(known.sum()), len(known), int(among(held, seen).sum()), len(held))


def adaptation_note(name: str, adaptation: Learned, dataset: Dataset, split: Split) -> str | None:
    """Return one line where the encoder ``name`` was adapted on another split of the same data, None elsewhere."""
    return other_split_note(f"encoder {name} was adapted", adaptation, dataset, split, mend="adapt it on this split")


def other_split_note(said: str, learned: Learned, dataset: Dataset, split: Split, *, mend: str) -> str | None:
    """Return one line where something learned from another split of the same data, None elsewhere.

    Args:
        said: what was done to it, such as "encoder X was adapted".
        learned: what it learned from.
        dataset: the data.
        split: of these data.
        mend: what to do where it has read what is held out.
    """
    if is_of_split(learned, split):
        return None
    method, seed = learned.split.get("method"), learned.split.get("seed")
    about = f"{said} on another split of these data ({method}{'' if seed is None else f', seed {seed}'})"
    found = overlap(learned, dataset, split)
    if found is not None and found.leaks:
        return f"warning: {about}: it has read {found}; {mend}"
    if found is not None:
        return f"note: {about}: it has read nothing of what is held out here"
    if learned.data != dataset.name:
        return None
    return f"warning: {said} on {dataset.name}, read or filtered otherwise: it may have read what is held out here"


def _split_again(adaptation: Learned, dataset: Dataset) -> Split:
    seed = adaptation.split.get("seed")
    return make_split(dataset, adaptation.split["method"], **adaptation.split["options"], **({} if seed is None else {"seed": seed}))


def _keys(interactions: Interactions, numbered: Interactions) -> IntArray:
    """Return a number for each pair of user and item, users numbered as ``numbered`` does."""
    users = numbered.users.encode(interactions.users.ids)
    return np.asarray(users[interactions.sequences.rows] * (numbered.n_items + 1) + interactions.sequences.values)


def _held_keys(part: EvaluationSet, numbered: Interactions) -> IntArray:
    return np.asarray(numbered.users.encode(part.users)[part.targets.rows] * (numbered.n_items + 1) + part.targets.values)

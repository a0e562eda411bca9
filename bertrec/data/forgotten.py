"""People who are to be forgotten: known again by salted hashes of their ids, so that no id is kept, and left out of what is read."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from bertrec.core.errors import ModelError
from bertrec.data.load import Dataset
from bertrec.data.splits import EvaluationSet, Split, given_manifest

Id = str | int


@dataclass(frozen=True)
class Forgotten:
    """Marks of ids: an HMAC-SHA256 of each, with a salt of the run.

    Who has both the marks and a list of ids can find out which of them are meant; nobody reads an id from a mark alone.

    Attributes:
        salt: hexadecimal, drawn for the first id.
        marks: of all ids, hexadecimal.
    """

    salt: str = ""
    marks: frozenset[str] = frozenset()

    @classmethod
    def from_dict(cls, values: object, where: str) -> Self:
        """Read what `to_dict` gave; None holds nobody.

        Raises:
            ModelError: it is something else; the text names ``where``.
        """
        if values is None:
            return cls()
        salt, marks = (values.get("salt"), values.get("marks")) if isinstance(values, Mapping) else (None, None)
        if not isinstance(salt, str) or not isinstance(marks, list) or not all(isinstance(mark, str) for mark in marks):
            raise ModelError(f"{where} is damaged: it does not say who is forgotten")
        return cls(salt, frozenset(marks))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"salt": self.salt, "marks": sorted(self.marks)}

    def adding(self, ids: Iterable[Id]) -> Self:
        """Return the same with more ids."""
        salted = self if self.salt else replace(self, salt=secrets.token_hex(16))
        return replace(salted, marks=salted.marks | {salted._mark(one) for one in ids})

    def among(self, ids: Iterable[Id]) -> set[Id]:
        """Return those of some ids that are meant; ``7`` and ``"7"`` are alike here."""
        return {one for one in ids if self._mark(one) in self.marks} if self.marks else set()

    def _mark(self, one: Id) -> str:
        return hmac.new(self.salt.encode(), str(one).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def leave_out(self, dataset: Dataset) -> Dataset:
        """Return a data set without these people; itself where it holds none of them."""
        known: list[Id] = [*dataset.interactions.users.ids, *(user for part in dataset.impressions.values() for user in part.users)]
        known += [] if dataset.users is None else dataset.users.ids.ids
        known += [] if dataset.given is None else [user for part in _sets(dataset.given) for user in part.users]
        gone = self.among(dict.fromkeys(known))
        return without_users(dataset, gone) if gone else dataset


def without_users(dataset: Dataset, gone: Collection[Id]) -> Dataset:
    """Return a data set as it would be without some people: their interactions, evaluated rows, impressions and profiles."""
    users = dataset.users
    return replace(
        dataset,
        interactions=dataset.interactions.without_users(gone),
        given=None if dataset.given is None else _split_without(dataset.given, dataset, gone),
        impressions={name: part.take(_others(part.users, gone)) for name, part in dataset.impressions.items()},
        users=None if users is None else users.take(_others(users.ids.ids, gone)),
    )


def _others(users: Iterable[Id], gone: Collection[Id]) -> Any:
    return np.flatnonzero([user not in gone for user in users])


def _sets(split: Split) -> list[EvaluationSet]:
    return [part for part in (split.validation, split.test) if part is not None]


def _split_without(split: Split, dataset: Dataset, gone: Collection[Id]) -> Split:
    train, validation, test = split.train.without_users(gone), _set_without(split.validation, gone), _set_without(split.test, gone)
    manifest = given_manifest(dataset.interactions.without_users(gone), train, validation, test)
    return replace(split, train=train, validation=validation, test=test, manifest={**split.manifest, **manifest})


def _set_without(part: EvaluationSet | None, gone: Collection[Id]) -> EvaluationSet | None:
    kept = None if part is None else part.take(_others(part.users, gone))
    return kept if kept is not None and len(kept) else None

"""Splits that come with the data: sequential benchmark files and impressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bertrec.core.distinct import distinct
from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.readers.raw import RawSequences
from bertrec.data.splits import EvaluationSet, Split, given_manifest

IntArray = npt.NDArray[np.int64]


class _Rows:
    """One file of a benchmark with inner ids, and the notes on what it lacks."""

    def __init__(self, raw: RawSequences, catalog: ItemCatalog, users: IdMap) -> None:
        self.owner = users.encode(raw.users) - 1
        coded = raw.histories.encode(catalog.ids)
        self.full_lengths = coded.lengths
        self.histories = coded.where(coded.values > 0)
        self.targets = catalog.ids.encode(raw.targets)
        unknown = int((coded.values == 0).sum() + (self.targets == 0).sum())
        total = len(coded.values) + len(self.targets)
        if unknown * 2 > total:
            raise DataError(f"{raw.source}: {unknown} of {total} item ids are absent from the items, more than half: check the ids")
        self.notes = (f"{raw.source}: {unknown} of {total} item ids are absent from the items (dropped)",) if unknown else ()

    def sequences(self, rows: IntArray) -> Ragged:
        """Return history and target of the rows numbered ``rows`` as one sequence each."""
        return appended(self.histories.take(rows), self.targets[rows])


def benchmark_split(raw: Mapping[str, RawSequences], catalog: ItemCatalog) -> tuple[Split, Interactions]:
    """Rebuild training sequences and evaluation sets from the rows of a sequential benchmark.

    A training sequence is the history and target of the user's longest training row; of several (histories may be cut) the one that ends
    where the validation history ends. A user without a training row is evaluated but not trained on, and is counted.

    Returns:
        The split, and all interactions: the training sequence (else the validation or test history) followed by the targets.
    """
    users, _ = IdMap.from_column(pa.concat_arrays([part.users.cast(pa.large_string()) for part in raw.values()]))
    parts = {name: _Rows(part, catalog, users) for name, part in raw.items()}
    sequences, whole = _training(parts, len(users))
    notes = tuple(note for part in parts.values() for note in part.notes)
    train = Interactions(catalog, users, sequences, notes=notes)
    sets = {name: _evaluation(parts[name], users) if name in parts else None for name in ("valid", "test")}
    for name in ("valid", "test"):
        if name in parts:
            whole = appended(whole, _one_target(parts[name], len(users), raw[name].source))
    interactions = replace(train, sequences=whole)
    counts = {f"{name}_rows_without_history_or_target": len(parts[name].owner) - len(part) for name, part in sets.items() if part}
    manifest = given_manifest(interactions, train, sets["valid"], sets["test"])
    manifest["counts"] |= counts | {"users_without_training_row": int((sequences.lengths == 0).sum())}
    return Split(catalog, train, sets["valid"], sets["test"], manifest=manifest), interactions


def impression_split(impressions: Mapping[str, Impressions], catalog: ItemCatalog) -> tuple[Split, Interactions]:
    """Turn impressions into sequences: a user's longest history, then their clicks in time; without labels a part is not evaluated.

    An evaluated row is an impression with a history and a click. Where no training part has labels, such as in a day's impressions
    that are to be scored, the longest histories of all parts are what was taken, and a note says so.

    Raises:
        DataError: there is no labelled training part, and no history.
    """
    train = impressions.get("train")
    if train is None or train.labels is None:
        interactions = _histories_alone(impressions, catalog)
    else:
        users, owner = IdMap.from_column(pa.array(train.users))
        longest = _last_of_each(owner - 1, len(users), train.histories.lengths)
        past, clicks = train.histories.take(longest), train.clicks
        when = np.zeros(len(train)) if train.timestamp is None else train.timestamp
        rows = np.concatenate([past.rows, (owner - 1)[clicks.rows]])
        # Histories come before every click; within them, and at equal times, the order stands as it is in the file.
        moments = np.concatenate([np.full(len(past.values), -np.inf), when[clicks.rows]])
        order = np.lexsort((moments, rows))
        values = np.concatenate([past.values, clicks.values])[order]
        lengths = np.bincount(rows, minlength=len(users)).astype(np.int64)
        interactions = Interactions(catalog, users, Ragged.from_lengths(values, lengths), notes=train.notes).without_empty_users()
    sets = {name: _clicked(impressions.get(name)) for name in ("valid", "test")}
    manifest = given_manifest(interactions, interactions, sets["valid"], sets["test"])
    return Split(catalog, interactions, sets["valid"], sets["test"], manifest=manifest), interactions


def _histories_alone(impressions: Mapping[str, Impressions], catalog: ItemCatalog) -> Interactions:
    """Return each user's longest history among the impressions of all parts."""
    parts = list(impressions.values())
    users, owner = IdMap.from_column(pa.array([user for part in parts for user in part.users]))
    histories = Ragged.from_lengths(
        np.concatenate([part.histories.values for part in parts]), np.concatenate([part.histories.lengths for part in parts])
    )
    if not len(histories.values):
        raise DataError("impressions without a labelled training part or a history: a folder 'train' with behaviors.tsv is needed")
    said = "no part to train on has labels: the histories of the impressions are the interactions"
    notes = tuple(dict.fromkeys([*(line for part in parts for line in part.notes), said]))
    longest = _last_of_each(owner - 1, len(users), histories.lengths)
    return Interactions(catalog, users, histories.take(longest), notes=notes).without_empty_users()


def appended(rows: Ragged, last: IntArray) -> Ragged:
    """Return each row with one more value at its end; 0 adds nothing."""
    lengths = rows.lengths + (last > 0)
    out = Ragged.from_lengths(np.zeros(int(lengths.sum()), np.int64), lengths)
    at_end = np.zeros(len(out.values), dtype=bool)
    at_end[out.offsets[1:][last > 0] - 1] = True
    out.values[at_end] = last[last > 0]
    out.values[~at_end] = rows.values
    return out


def _training(parts: dict[str, _Rows], n_users: int) -> tuple[Ragged, Ragged]:
    """Return each user's training sequence, and the same with the first known history in place of an empty one."""
    train, valid = parts["train"], parts.get("valid")
    ends = np.full(n_users, -1, np.int64)
    if valid is not None:
        some = valid.histories.lengths > 0
        ends[valid.owner[some]] = valid.histories.values[valid.histories.offsets[1:][some] - 1]
    fits = train.targets == ends[train.owner]
    best = _last_of_each(train.owner, n_users, train.full_lengths, fits)
    sequences = _placed(train.sequences(best[best >= 0]), best >= 0)
    begun = sequences
    for name in ("valid", "test"):
        if name in parts:
            row_of = _last_of_each(parts[name].owner, n_users, parts[name].full_lengths)
            wanted = (begun.lengths == 0) & (row_of >= 0)
            extra = _placed(parts[name].histories.take(row_of[wanted]), wanted)
            begun = _either(begun, extra)
    return sequences, begun


def _placed(rows: Ragged, where: npt.NDArray[np.bool_]) -> Ragged:
    """Return ``rows`` at the places where ``where`` (``[n]``) holds, and empty rows elsewhere."""
    lengths = np.zeros(len(where), np.int64)
    lengths[where] = rows.lengths
    return Ragged.from_lengths(rows.values, lengths)


def _either(first: Ragged, second: Ragged) -> Ragged:
    """Return the rows of two raggeds of which at most one has a row that is not empty."""
    order = np.argsort(np.concatenate([first.rows, second.rows]), kind="stable")
    return Ragged.from_lengths(np.concatenate([first.values, second.values])[order], first.lengths + second.lengths)


def _last_of_each(owner: IntArray, n_users: int, *keys: npt.NDArray[Any]) -> IntArray:
    """Return the number of each user's row with the largest keys (the first key counts most), -1 for a user without one, ``[n_users]``."""
    order = np.lexsort((*reversed(keys), owner))
    rows = np.full(n_users, -1, np.int64)
    rows[owner[order]] = order  # of several rows the last one assigned stays
    return rows


def _one_target(part: _Rows, n_users: int, source: str) -> IntArray:
    if len(distinct(part.owner)) != len(part.owner):
        raise DataError(f"{source}: a user has several rows: a sequential benchmark has one per user in its validation and test files")
    targets = np.zeros(n_users, np.int64)
    targets[part.owner] = part.targets
    return targets


def _evaluation(part: _Rows, users: IdMap) -> EvaluationSet | None:
    rows = np.flatnonzero((part.histories.lengths > 0) & (part.targets > 0))
    if not len(rows):
        return None
    targets = Ragged.from_lengths(part.targets[rows], np.ones(len(rows), np.int64))
    return EvaluationSet(users.decode(part.owner[rows] + 1), part.histories.take(rows), targets)


def _clicked(impressions: Impressions | None) -> EvaluationSet | None:
    if impressions is None or impressions.labels is None:
        return None
    clicks = impressions.clicks
    rows = np.flatnonzero((impressions.histories.lengths > 0) & (clicks.lengths > 0))
    if not len(rows):
        return None
    return EvaluationSet([impressions.users[row] for row in rows], impressions.histories.take(rows), clicks.take(rows))

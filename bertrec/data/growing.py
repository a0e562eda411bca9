"""Interactions that came later: kept as rows of their own, and put behind or between those that were there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bertrec.core.errors import DataError, ModelError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.changes import ids_like
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions

Id = str | int


@dataclass(frozen=True)
class Rows:
    """Interactions by external ids, in the order in which they came.

    Attributes:
        users: ``[n]``.
        items: ``[n]``.
        timestamp: ``[n]`` float64; None where nobody knows.
    """

    users: list[Id]
    items: list[Id]
    timestamp: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of(cls, interactions: Interactions) -> Self:
        """Return interactions as rows; times that are mere positions are none."""
        time = None if interactions.timestamp_is_position else interactions.timestamp
        users = interactions.users.decode(interactions.sequences.rows + 1)
        rows = cls(users, interactions.catalog.ids.decode(interactions.sequences.values), time)
        return rows if time is None else rows.take(np.argsort(time, kind="stable"))

    def take(self, rows: IntArray) -> Self:
        """Return the rows numbered ``rows``, in that order."""
        picked = rows.tolist()
        time = None if self.timestamp is None else self.timestamp[rows]
        return type(self)([self.users[row] for row in picked], [self.items[row] for row in picked], time)

    def then(self, later: Rows) -> Self:
        """Return these rows and later ones; times are kept where both have them."""
        time = None if self.timestamp is None or later.timestamp is None else np.concatenate([self.timestamp, later.timestamp])
        return type(self)([*self.users, *later.users], [*self.items, *later.items], time)

    def save(self, path: Path) -> None:
        """Write a Parquet file in place (the caller makes it atomic)."""
        columns = {**_columns("user_id", self.users), **_columns("item_id", self.items)}
        pq.write_table(pa.table(columns | ({} if self.timestamp is None else {"timestamp": pa.array(self.timestamp)})), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is damaged.
        """
        try:
            table = pq.read_table(path)
            time = table["timestamp"].to_numpy().astype(np.float64) if "timestamp" in table.column_names else None
            return cls(_ids(table, "user_id"), _ids(table, "item_id"), time)
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path} is damaged: {error}") from error


def _columns(name: str, ids: Sequence[Id]) -> dict[str, pa.Array]:
    whole = pa.array([isinstance(one, int) for one in ids], pa.bool_())
    return {name: pa.array([str(one) for one in ids], pa.string()), f"{name}_is_integer": whole}


def _ids(table: pa.Table, name: str) -> list[Id]:
    pairs = zip(table[name].to_pylist(), table[f"{name}_is_integer"].to_pylist(), strict=True)
    return [int(one) if whole else one for one, whole in pairs]


def new_rows(interactions: Interactions, rows: Rows) -> Rows:
    """Return the rows that are not there yet: of equal user, item and time only one can be told; without times all are new.

    Raises:
        DataError: there are times in the data, and the rows have none.
    """
    rows = Rows(_like(rows.users, interactions.users), rows.items, rows.timestamp)
    timed = interactions.timestamp is not None and not interactions.timestamp_is_position
    if timed and rows.timestamp is None:
        raise DataError("the new interactions have no times and those of the run have: give them a column of times")
    if not timed or rows.timestamp is None:
        return rows
    owner = interactions.users.encode(rows.users)
    near = np.flatnonzero(np.isin(interactions.sequences.rows + 1, owner))
    assert interactions.timestamp is not None
    there = set(
        zip(
            (interactions.sequences.rows[near] + 1).tolist(),
            interactions.sequences.values[near].tolist(),
            interactions.timestamp[near].tolist(),
            strict=True,
        )
    )
    keys = zip(owner.tolist(), interactions.catalog.ids.encode(rows.items).tolist(), rows.timestamp.tolist(), strict=True)
    return rows.take(np.array([row for row, key in enumerate(keys) if key not in there], np.int64))


def _like(users: list[Id], known: IdMap) -> list[Id]:
    distinct = list(dict.fromkeys(users))
    renamed = dict(zip(distinct, ids_like(IdMap(distinct), known).ids, strict=True)) if not any(known.encode(distinct)) else {}
    return [renamed.get(one, one) for one in users]


def grown(interactions: Interactions, rows: Rows) -> Interactions:
    """Return interactions with more rows: by time where all have one, else behind what each user had.

    Ratings, labels, weights and review texts, which the rows lack, are left out. Rows of items that the catalogue lacks are dropped and
    counted.
    """
    items = interactions.catalog.ids.encode(rows.items)
    known = np.flatnonzero(items > 0)
    users = IdMap(dict.fromkeys([*interactions.users.ids, *(rows.users[row] for row in known.tolist())]))
    owner = np.concatenate([interactions.sequences.rows + 1, users.encode([rows.users[row] for row in known.tolist()])])
    values = np.concatenate([interactions.sequences.values, items[known]])
    timed = interactions.timestamp is not None and not interactions.timestamp_is_position and rows.timestamp is not None
    time = np.zeros(len(values))
    if timed and interactions.timestamp is not None and rows.timestamp is not None:
        time = np.concatenate([interactions.timestamp, rows.timestamp[known]])
    order = np.lexsort((np.arange(len(values)), time, owner))
    lengths = np.bincount(owner - 1, minlength=len(users)).astype(np.int64)
    said = f"{len(rows) - len(known)} of {len(rows)} later interactions are of items absent from the catalogue (dropped)"
    return Interactions(
        interactions.catalog,
        users,
        Ragged.from_lengths(values[order], lengths),
        timestamp=time[order] if timed else None,
        filters=interactions.filters,
        notes=(*interactions.notes, *([said] if len(known) < len(rows) else [])),
    )

"""Who met which item when, as arrays with offsets."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bertrec.core.checks import expect
from bertrec.core.described import Described, Preview
from bertrec.core.distinct import distinct
from bertrec.core.errors import DataError, unknown_name
from bertrec.core.ordering import stable_order
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.codes import CodeArray
from bertrec.data.columns import account, find_time
from bertrec.data.frames import id_codes, number_column, numbers_or_nan, require_columns, text_column, times_or_nan, to_arrow
from bertrec.data.ids import IdMap, flat_array
from bertrec.data.outgoing import Backend, frame_of

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
# Names of a `split` column's values, as the codes that `Interactions.part` holds.
PARTS = {"train": 0, "training": 0, "valid": 1, "validation": 1, "dev": 1, "val": 1, "test": 2}
_NUMBERS = ("timestamp", "rating", "label", "weight")
_ALIGNED = (*_NUMBERS, "part")
OnMissing = Literal["error", "drop"]
NO_TIME = "none"
_NO_TIMES = "a time format says how the column of times is written"


@dataclass(frozen=True, eq=False, repr=False)
class Interactions(Described):
    """The interactions of all users, oldest first within a user; ties in time keep the order of the file.

    Attributes:
        catalog: the items; their inner ids stand in ``sequences``.
        users: row ``r`` of ``sequences`` is user inner id ``r + 1``; a row may be empty (as in a part of a split).
        sequences: inner item ids.
        timestamp: ``[total]`` float64, seconds since 1970 or positions; ``None`` where only the order is known. Read-only, as are the
            following arrays.
        rating, label, weight: ``[total]`` float32 or ``None``.
        text: ``[total]`` texts of reviews or ``None``.
        part: ``[total]`` int8, 0 train, 1 validation, 2 test, from a ``split`` column; used only when asked for.
        negatives: ``user_id`` and ``item_id`` (external ids) of the rows with label 0 or below, which are in no sequence; ``None`` where
            there are none. Filters and splits leave them as they are; they are no part of the hash.
        timestamp_is_position: the timestamps of every user are 0, 1, 2, …: no common clock.
        part_fault: why a ``split`` column was ignored, ``""`` where none was.
        filters: what was applied, in order; part of every split's manifest.
        notes: what was dropped and how much of it, one line each.
    """

    catalog: ItemCatalog
    users: IdMap
    sequences: Ragged
    timestamp: npt.NDArray[np.float64] | None = None
    rating: FloatArray | None = None
    label: FloatArray | None = None
    weight: FloatArray | None = None
    text: list[str] | None = None
    part: npt.NDArray[np.int8] | None = None
    negatives: pa.Table | None = field(default=None, repr=False)
    timestamp_is_position: bool = False
    part_fault: str = field(default="", repr=False)
    filters: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if len(self.users) != len(self.sequences):
            raise DataError(f"{len(self.sequences)} sequences for {len(self.users)} users")
        for name in (*_ALIGNED, "text"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self):
                raise DataError(f"'{name}' has {len(column)} values for {len(self)} interactions")
            if isinstance(column, np.ndarray):
                object.__setattr__(self, name, _read_only(column))
        values = self.sequences.values
        if len(values) and not (values.min() >= 1 and values.max() <= len(self.catalog)):
            raise DataError(f"sequences hold inner item ids from 1 to {len(self.catalog)}, got {values.min()} to {values.max()}")

    def __len__(self) -> int:
        """Return the number of interactions (not of users)."""
        return len(self.sequences.values)

    def _facts(self) -> dict[str, object]:
        columns = [name for name in (*_ALIGNED, "text") if getattr(self, name) is not None]
        filters = list(self.filters) or None
        return {"users": self.n_users, "items": self.n_items, "interactions": len(self), "columns": columns, "filters": filters}

    def _preview(self) -> Preview:
        rows = ([user, len(row), self.catalog.ids.decode(row[-5:])] for user, row in zip(self.users.ids, self.sequences, strict=True))
        return Preview.of(["user_id", "interactions", "latest items"], rows, self.n_users)

    @property
    def n_users(self) -> int:
        """How many users there are, those with an empty row included."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """How many items the catalogue holds, met or not."""
        return len(self.catalog)

    def to_frame(self, backend: Backend | None = None) -> Any:
        """Return a new data frame with one row per interaction, user by user and oldest first.

        Its columns are ``user_id`` and ``item_id`` (external ids), and those of ``timestamp``, ``rating``, ``label``, ``weight``, ``text``
        and ``split`` that there are.

        Args:
            backend: ``pandas``, ``polars`` or ``pyarrow``; None takes pandas where it is installed, else PyArrow.
        """
        users, items = np.array(self.users.ids, dtype=object), np.array(self.catalog.ids.ids, dtype=object)
        columns: dict[str, Any] = {"user_id": users[self.sequences.rows], "item_id": items[self.sequences.values - 1]}
        columns |= {name: np.array(column) for name in (*_NUMBERS, "text") if (column := getattr(self, name)) is not None}
        if self.part is not None:
            columns["split"] = np.array(["train", "valid", "test"])[self.part]
        return frame_of(columns, backend)

    @property
    def timed(self) -> Ragged:
        """The sequences with their times, in whole seconds; without any where there are none, or only positions."""
        if self.timestamp is None or self.timestamp_is_position:
            return self.sequences
        return replace(self.sequences, times=np.floor(self.timestamp).astype(np.int64))

    @cached_property
    def item_counts(self) -> IntArray:
        """How often each inner item id occurs, ``[n_items + 1]``; ``[0]`` is 0."""
        return np.bincount(self.sequences.values, minlength=len(self.catalog) + 1).astype(np.int64)

    @cached_property
    def repeats(self) -> int:
        """How many interactions are of an item that the user had before."""
        keys = self.sequences.rows
        keys *= len(self.catalog) + 1
        keys += self.sequences.values
        return len(self) - len(distinct(keys))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over catalogue, users, sequences, times and values."""
        digest = hashlib.sha256()
        digest.update(self.catalog.content_hash.encode())
        digest.update(self.users.content_hash.encode())
        for array in (self.sequences.values, self.sequences.offsets, *(getattr(self, name) for name in _ALIGNED)):
            for part in (b"-",) if array is None else (np.ascontiguousarray(array).data, b"|"):
                digest.update(part)
        return digest.hexdigest()

    def where(self, keep: BoolArray) -> Interactions:
        """Return the interactions where ``keep`` (``[total]``) holds; all users stay, some with an empty row."""
        columns: dict[str, Any] = {name: None if (column := getattr(self, name)) is None else column[keep] for name in _ALIGNED}
        text = None if self.text is None else [self.text[row] for row in np.flatnonzero(keep)]
        return replace(self, sequences=self.sequences.where(keep), text=text, **columns)

    def without_empty_users(self) -> Interactions:
        """Return the same interactions without the users who have none; the others are numbered anew."""
        rows = np.flatnonzero(self.sequences.lengths)
        if len(rows) == len(self.users):
            return self
        return replace(self, users=self.users.take(rows), sequences=self.sequences.without_empty())

    def without_users(self, gone: Collection[str | int]) -> Interactions:
        """Return the interactions of all other users, who are numbered anew in the same order; negatives are left out with them."""
        keep = np.array([user not in gone for user in self.users.ids], dtype=bool)
        kept = self.where(keep[self.sequences.rows])
        rows = np.flatnonzero(keep)
        negatives = self.negatives
        if negatives is not None:
            negatives = negatives.filter(pa.array([user not in gone for user in negatives["user_id"].to_pylist()], pa.bool_()))
        return replace(kept, users=self.users.take(rows), sequences=kept.sequences.take(rows), negatives=negatives)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        catalog: ItemCatalog,
        *,
        user_id: str = "user_id",
        item_id: str = "item_id",
        timestamp: str = "timestamp",
        rating: str = "rating",
        label: str = "label",
        weight: str = "weight",
        text: str = "text",
        split: str = "split",
        users: IdMap | None = None,
        time_format: str | None = None,
        on_missing: OnMissing = "error",
        source: str = "the interaction table",
    ) -> Interactions:
        """Build from a pandas, polars or PyArrow table with one row per interaction, in any order.

        Where no column is called ``timestamp``, the one that looks like a time is taken; without any the order of the rows counts.
        Interactions of items that the catalogue lacks are dropped, and rows with label 0 or below are kept apart as ``negatives``.
        ``notes`` say what was counted so and what became of every column.

        Args:
            frame: the table; ``user_id`` and ``item_id`` are needed, the other columns are used where they are there.
            catalog: the items.
            user_id: name of the column of user ids.
            item_id: name of the column of item ids.
            timestamp: name of the column of times: numbers, dates or ISO text; ``none`` takes the order of the rows.
            rating: name of the column of ratings.
            label: name of the column of labels (clicked or not).
            weight: name of the column of weights.
            text: name of the column of reviews.
            split: name of the column that says train, valid or test.
            users: number the users as this map does, instead of in order of appearance; it must know them all.
            time_format: how times are written where the forms above do not fit, such as ``%d/%m/%Y %H:%M``; without a zone they are UTC.
            on_missing: what to do with rows that lack a time, rating, label or weight: ``error``, or ``drop`` and count them.
            source: what error messages call the table.

        Raises:
            DataError: a missing column, id or time, a named column of mixed types, or more than half of the interactions of unknown items.
        """
        expect(catalog, ItemCatalog, "Interactions.from_frame: catalog")
        expect(users, IdMap, "Interactions.from_frame: users", optional=True, mend="IdMap(ids)")
        if on_missing not in ("error", "drop"):
            raise DataError(unknown_name("policy for missing values", on_missing, ["error", "drop"]))
        optional = {"timestamp": timestamp, "rating": rating, "label": label, "weight": weight, "text": text, "split": split}
        optional = {role: column for role, column in optional.items() if (role, column) != ("timestamp", NO_TIME)}
        renamed = [column for role, column in optional.items() if column != role]
        table, dropped = to_arrow(frame, source, needed=[user_id, item_id, *optional.values()])
        del frame  # columns that are done with leave the memory, unless the caller holds them
        require_columns(table, [user_id, item_id, *renamed], source)
        names = {role: column for role, column in optional.items() if column in table.column_names}
        names = {"user_id": user_id, "item_id": item_id} | names
        if time_format is not None and timestamp == NO_TIME:
            raise DataError(f"{source}: {_NO_TIMES}, but the order of the rows is to count: leave out one of the two")
        notes = _named_time(table, names, source, dropped) if timestamp == "timestamp" else []
        if time_format is not None and "timestamp" not in names:
            raise DataError(f"{source}: {_NO_TIMES}, and no column looks like one: name it with  --time-column NAME, or leave this out")
        said = account(source, names, table.column_names, dropped=dropped)
        table, lost = _without_missing(table, names, source, time_format, on_missing)
        table, negatives, unclicked = _positives(table, names, source)
        held = [table]
        del table
        built = _from_table(held, catalog, names, users, source)
        return replace(built, negatives=negatives, notes=(*built.notes, *notes, *lost, *unclicked, *([said] if said else [])))


def _read_only(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view that cannot be written through; the caller's own array stays as it is."""
    view = column.view()
    view.flags.writeable = False
    return view


def _named_time(table: pa.Table, names: dict[str, str], source: str, dropped: list[str]) -> list[str]:
    """Add the column that is the time to ``names`` where none is called so; return the note on it."""
    if "timestamp" in names:
        return []
    found = find_time(table, list(names.values()), source, dropped=dropped)
    if found is None:
        return []
    names["timestamp"] = found
    return [f"{source}: column '{found}' is taken as the time (timestamp)"]


def _positives(table: pa.Table, names: dict[str, str], source: str) -> tuple[pa.Table, pa.Table | None, list[str]]:
    """Part the rows with label 0 or below (shown and not clicked) from the others."""
    if "label" not in names:
        return table, None, []
    clicked = number_column(table, names["label"], source) > 0
    if clicked.all():
        return table, None, []
    if not clicked.any():
        what = "nobody clicked anything: leave the column out if it is no label"
        raise DataError(f"{source}: column '{names['label']}' is 0 in every row: {what}")
    shown = table.select([names["user_id"], names["item_id"]]).rename_columns(["user_id", "item_id"]).filter(pa.array(~clicked))
    note = f"{source}: {int((~clicked).sum())} of {len(clicked)} rows have label 0 (no positives: kept apart as negatives)"
    plain = pa.table({name: flat_array(column) for name, column in zip(shown.column_names, shown.columns, strict=True)})
    return table.filter(pa.array(clicked)), plain, [note]


def _without_missing(
    table: pa.Table, names: dict[str, str], source: str, time_format: str | None, policy: OnMissing
) -> tuple[pa.Table, list[str]]:
    """Return the table with what reads as numbers and times as numbers, without the rows that lack one where the policy says so."""
    keep = np.ones(table.num_rows, dtype=bool)
    notes = []
    for role in _NUMBERS:
        formatted = role == "timestamp" and time_format is not None
        if role in names and (formatted or not _is_whole(table[names[role]])):
            column = table, names[role], source
            values = times_or_nan(*column, time_format=time_format) if role == "timestamp" else numbers_or_nan(*column)
            missing = ~np.isfinite(values)
            if formatted or missing.any() or not _is_plain_number(table[names[role]].type):
                table = table.set_column(table.column_names.index(names[role]), names[role], pa.array(values))
            keep &= ~missing
            if missing.any() and policy == "drop":
                notes.append(f"{source}: {int(missing.sum())} of {len(values)} rows have no '{names[role]}' (dropped)")
    if policy == "error" or keep.all():
        return table, []
    if not keep.any():
        raise DataError(f"{source}: no row is left after dropping those with a missing value: leave out the column instead")
    return table.filter(pa.array(keep)), notes


def _is_whole(column: pa.ChunkedArray) -> bool:
    return pa.types.is_integer(column.type) and not column.null_count


def _is_plain_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _from_table(held: list[pa.Table], catalog: ItemCatalog, names: dict[str, str], users: IdMap | None, source: str) -> Interactions:
    """Build from the one table in ``held``, which is taken out: each column leaves the memory when it is done with."""
    table = held.pop()
    items, notes = _known_items(*id_codes(table, names["item_id"], source), catalog, source)
    users, owner = _owners(*id_codes(table, names["user_id"], source), users, source)
    part, fault = _parts(table, names["split"], source) if "split" in names else (None, "")
    time = number_column(table, names["timestamp"], source) if "timestamp" in names else None
    table = table.select([names[role] for role in ("rating", "label", "weight", "text") if role in names])
    pa.default_memory_pool().release_unused()  # what was freed, Arrow would keep for later
    order = stable_order(owner, time)
    positions = time is not None and _is_position(owner, time, order)
    if (items == 0).any():
        order = order[items[order] > 0]
    sequences = Ragged.from_lengths(items[order].astype(np.int64), np.bincount(owner[order], minlength=len(users)).astype(np.int64))
    del items, owner
    arranged = _arranged(table, names, order, source)
    arranged |= {name: column[order] for name, column in {"timestamp": time, "part": part}.items() if column is not None}
    notes = (*notes, fault) if fault else notes
    built = Interactions(catalog, users, sequences, timestamp_is_position=positions, part_fault=fault, notes=notes, **arranged)
    return built.without_empty_users()


def _owners(values: pa.Array, codes: CodeArray, users: IdMap | None, source: str) -> tuple[IdMap, CodeArray]:
    """Return all users, and of each row the user's place among them (from 0)."""
    if users is None:
        return IdMap.from_column(values)[0], codes
    inner = users.encode(values)
    if not inner.all():
        unknown = values[int(codes[np.argmin(inner[codes])])].as_py()
        raise DataError(f"{source}: user {unknown!r} is not among the given users")
    return users, (inner - 1).astype(np.int32)[codes]


def _arranged(table: pa.Table, names: dict[str, str], order: IntArray, source: str) -> dict[str, Any]:
    """Return the columns of ratings, labels, weights and texts, their rows in a new order."""
    arranged: dict[str, Any] = {}
    for role in ("rating", "label", "weight"):
        if role in names:
            arranged[role] = number_column(table, names[role], source).astype(np.float32)[order]
    if "text" in names:
        texts = text_column(table, names["text"])
        arranged["text"] = [texts[row] for row in order]
    return arranged


def _known_items(values: pa.Array, codes: CodeArray, catalog: ItemCatalog, source: str) -> tuple[CodeArray, tuple[str, ...]]:
    """Return the inner item id of each row, 0 where the catalogue lacks it, and what is to be noted of that."""
    items = catalog.ids.encode(values).astype(np.int32)[codes]
    unknown = int((items == 0).sum())
    if not unknown:
        return items, ()
    count = f"{source}: {unknown} of {len(items)} interactions are of items absent from the item table"
    if unknown * 2 > len(items):
        example = values[int(codes[np.argmin(items)])].as_py()
        mixed = len(catalog) > 0 and type(catalog.ids.ids[0]) is not type(example)
        hint = "one table has its item ids as text and the other as numbers: make them alike" if mixed else "check both tables' id columns"
        raise DataError(f"{count}, such as {example!r}, more than half of them: {hint}")
    return items, (f"{count} (dropped)",)


def _is_position(owner: CodeArray, time: npt.NDArray[np.float64], order: IntArray) -> bool:
    """Say whether the times, sorted within each user by ``order``, are exactly 0, 1, 2, … for every user."""
    if time.min() != 0 or time.max() >= len(time):  # as nearly all times are no positions
        return False
    owner, time = owner[order], time[order]
    starts = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    within = np.arange(len(owner)) - np.repeat(starts, np.diff(np.append(starts, len(owner))))
    return bool(np.all(time == within))


def _parts(table: pa.Table, name: str, source: str) -> tuple[npt.NDArray[np.int8] | None, str]:
    """Read a ``split`` column; one with other values is ignored and said to be so, as it is used only when asked for."""
    column = flat_array(table[name])
    nested = pa.types.is_nested(column.type)
    encoded = (pa.array(text_column(table, name)) if nested else column).dictionary_encode(null_encoding="encode")
    values = text_column(pa.table({name: encoded.dictionary}), name)
    codes = np.array([PARTS.get(value.strip().lower(), -1) for value in values], dtype=np.int8)[encoded.indices.to_numpy()]
    bad = np.flatnonzero(codes < 0)
    if not len(bad):
        return codes, ""
    what = f"row {bad[0] + 1} holds {values[encoded.indices[int(bad[0])].as_py()]!r}, which is none of train, valid, test"
    return None, f"{source}: column '{name}' is ignored: {what}"

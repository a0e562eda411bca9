"""Parquet of interactions, in one file or many: only the columns that are needed, ids as numbers of the distinct ones, batch by batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from bertrec.core.errors import DataError
from bertrec.data.codes import Codes
from bertrec.data.columns import LOOKED_AT, may_be_times
from bertrec.data.frames import is_text
from bertrec.data.places import Address, Place, files_of, held_by, is_pattern, shown

IDS = ("user_id", "item_id")
ROLES = (*IDS, "timestamp", "rating", "label", "weight", "text", "split")
_BATCH = 1 << 19
_NOTHING = "__HIVE_DEFAULT_PARTITION__"


def is_parts(place: Place) -> bool:
    """Say whether a place is a folder, or a pattern of names, and so means several files."""
    return is_pattern(place) or place.is_dir()


def is_parquet(place: Place) -> bool:
    """Say whether a place is a Parquet file, or several."""
    return place.name.lower().endswith(".parquet") or is_parts(place)


def has_parts(folder: Place) -> bool:
    """Say whether a folder holds Parquet files, at any depth."""
    return any(path.endswith(".parquet") for path in files_of(folder)[1])


@dataclass(frozen=True)
class Part:
    """One file: where it is, what messages call it, and the values that its folders' names say of all its rows."""

    place: Place
    path: str
    keys: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What messages call it."""
        return shown(self.place, self.path)

    def opened(self) -> pq.ParquetFile:
        """Open it.

        Raises:
            DataError: it is missing or no Parquet.
        """
        try:
            # From afar a few long requests are quicker; here they would only be one more copy.
            return pq.ParquetFile(held_by(self.place)[0].open_input_file(self.path), pre_buffer=isinstance(self.place, Address))
        except FileNotFoundError as error:
            raise DataError(f"{self.name}: no such file") from error
        except (OSError, pa.ArrowException) as error:
            raise self.unreadable(error) from error

    def unreadable(self, error: BaseException) -> DataError:
        """Return the error of a file that is no Parquet or a damaged one."""
        several = f": correct it, or leave it out of {self.place}" if is_parts(self.place) else ""
        found = str(error).splitlines()[0]
        return DataError(f"{self.name}: cannot be read as Parquet, it is truncated or damaged ({found}){several}")

    @cached_property
    def _footer(self) -> tuple[pa.Schema, pq.FileMetaData]:
        file = self.opened()
        return file.schema_arrow, file.metadata

    @property
    def metadata(self) -> pq.FileMetaData:
        """What the footer says of the rows."""
        return self._footer[1]

    @property
    def rows(self) -> int:
        """How many it holds."""
        return int(self.metadata.num_rows)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns and types, with those of the folders' names."""
        schema = self._footer[0]
        for name, value in self.keys.items():
            if name not in schema.names:
                schema = schema.append(pa.field(name, pa.string() if value is None else pa.scalar(value).type))
        return schema

    def batches(self, columns: Collection[str], *, rows: int = _BATCH) -> Iterator[pa.RecordBatch]:
        """Yield the rows by and by, at most ``rows`` at a time, of the columns named.

        Raises:
            DataError: the file is damaged.
        """
        file = self.opened()
        try:
            inside = [name for name in file.schema_arrow.names if name in columns]
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(rows, row_groups=[group], columns=inside):
                    batch.validate(full=True)  # texts that are no UTF-8, offsets beyond the values
                    yield self._with_keys(batch, columns)
        except (OSError, pa.ArrowException) as error:
            raise self.unreadable(error) from error

    def _with_keys(self, batch: pa.RecordBatch, columns: Collection[str]) -> pa.RecordBatch:
        for name, value in self.keys.items():
            if name in columns and name not in batch.schema.names:
                batch = batch.append_column(name, pa.repeat(pa.scalar(value, self.schema.field(name).type), batch.num_rows))
        return batch


def parts_of(place: Place) -> list[Part]:
    """Return the files of a place, which is a file, a folder or a pattern of names.

    Raises:
        DataError: there are none.
    """
    if not is_parts(place):
        return [Part(place, held_by(place)[1])]
    base, paths = files_of(place)
    if not paths:
        what = "matches no file" if is_pattern(place) else "holds no file"
        raise DataError(f"{place}: {what}: name a folder of Parquet files, or a pattern such as  logs/*.parquet")
    said = [dict(_pairs(path[len(base) :])) for path in paths]
    return [Part(place, path, keys) for path, keys in zip(paths, _typed(said), strict=True)]


def _pairs(path: str) -> Iterator[tuple[str, str | None]]:
    """Yield what folders called ``day=2024-01-31`` say."""
    for part in path.split("/")[:-1]:
        name, equals, value = part.partition("=")
        if equals and name:
            yield name, None if value == _NOTHING else unquote(value)


def _typed(said: list[dict[str, str | None]]) -> list[dict[str, Any]]:
    """Make whole numbers of the values of a name where all its values are such, as written without leading zeros."""
    names = {name for keys in said for name in keys}
    whole = {name for name in names if all(_is_whole(keys.get(name)) for keys in said)}
    return [{name: int(value) if name in whole and value is not None else value for name, value in keys.items()} for keys in said]


def _is_whole(value: str | None) -> bool:
    return value is None or (value.removeprefix("-").isdecimal() and str(int(value)) == value)


def like_parts(place: Place, needed: Collection[str], *, threads: int = 1) -> list[Part]:
    """Return the files of a place, see `parts_of`, all of which have the same of the ``needed`` columns.

    Args:
        place: of the files.
        needed: the columns that matter.
        threads: that read footers side by side.

    Raises:
        DataError: there are none, one is no Parquet, or they differ.
    """
    parts = parts_of(place)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: part.rows, parts))
    for part in parts:
        _check_alike(part, parts[0], needed)
    return parts


def read_all(place: Place) -> pa.Table:
    """Read all columns of Parquet files, as of an item table.

    Raises:
        DataError: a file is no Parquet, or lacks a column that the others have, or has one of another type.
    """
    parts = parts_of(place)
    names = parts[0].schema.names
    for part in parts:
        _check_alike(part, parts[0], {*names, *part.schema.names})
    batches = [batch.select(names) for part in parts for batch in part.batches(names)]
    return pa.concat_tables([pa.table(batch) for batch in batches], promote_options="permissive") if batches else _empty(parts[0])


def _empty(part: Part) -> pa.Table:
    return part.schema.remove_metadata().empty_table()


def read_interactions(place: Place, columns: Mapping[str, str] | None = None, *, time_column: str | None = None) -> pa.Table:
    """Read the columns of Parquet files that interactions have a use for; the others are there by name alone, without values.

    Args:
        place: a file, a folder or a pattern of names.
        columns: the files' names of our columns.
        time_column: the column of times, where it was said.

    Returns:
        The columns in the order of the first file; ids are dictionary-encoded.

    Raises:
        DataError: a file is no Parquet, or the files differ in a column that is needed.
    """
    parts, columns = parts_of(place), columns or {}
    schema = parts[0].schema
    if len(set(schema.names)) < len(schema.names):
        return read_all(place)
    roles = {*ROLES, *columns.values(), *([] if time_column is None else [time_column])}
    needed = _needed(parts[0], roles)
    coded = {name for name in needed if name in {*IDS, *(columns.get(ours, ours) for ours in IDS)} and is_id(schema.field(name).type)}
    held: dict[str, Codes | list[pa.Array]] = {name: Codes() if name in coded else [] for name in needed}
    rows = 0
    for part in parts:
        _check_alike(part, parts[0], {*roles, *needed})
        for batch in part.batches(needed):
            rows += batch.num_rows
            for name, column in held.items():
                (column.add if isinstance(column, Codes) else column.append)(batch[name])
    pa.default_memory_pool().release_unused()  # which Arrow would keep
    return pa.table({name: _whole(held.get(name), schema.field(name).type, rows) for name in schema.names})


def _whole(held: Codes | list[pa.Array] | None, kind: pa.DataType, rows: int) -> pa.Array | pa.ChunkedArray:
    if held is None:
        return pa.nulls(rows)
    if isinstance(held, Codes):
        return held.array(kind)
    return pa.chunked_array([chunk if chunk.type == kind else chunk.cast(kind) for chunk in held], type=kind)


def _needed(first: Part, roles: Collection[str]) -> list[str]:
    """Return the columns that have a role, and those that may be the time, of which the first rows are looked at."""
    names = first.schema.names
    if "timestamp" in names:
        return [name for name in names if name in roles]
    free = [name for name in names if name not in roles]
    head = next(iter(first.batches(free)), None) if free else None
    times = [] if head is None else may_be_times(pa.table(head.slice(0, LOOKED_AT)))
    return [name for name in names if name in roles or name in times]


def is_id(kind: pa.DataType) -> bool:
    """Say whether values of a type can be ids."""
    return is_text(kind) or bool(pa.types.is_integer(kind))


def _check_alike(part: Part, first: Part, needed: Collection[str]) -> None:
    if part is first:
        return
    mend = f"write the parts alike, or leave some out of {part.place}"
    for name in [name for name in first.schema.names if name in needed]:
        if name not in part.schema.names:
            raise DataError(f"{part.name}: no column '{name}', which {first.name} has: {mend}")
        ours, theirs = part.schema.field(name).type, first.schema.field(name).type
        if _family(ours) != _family(theirs):
            raise DataError(f"{part.name}: column '{name}' is of type {ours}, and in {first.name} of type {theirs}: {mend}")
    for name in part.schema.names:
        if name in needed and name not in first.schema.names:
            raise DataError(f"{first.name}: no column '{name}', which {part.name} has: {mend}")


def _family(kind: pa.DataType) -> str:
    if is_text(kind):
        return "text"
    return "integer" if pa.types.is_integer(kind) and kind != pa.uint64() else str(kind)

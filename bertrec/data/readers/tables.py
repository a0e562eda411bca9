"""Tables: ``interactions.*``, ``items.*`` and an optional ``users.*`` as CSV, TSV or Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from bertrec.core.errors import DataError
from bertrec.data.readers.delimited import TABLE_SUFFIXES, read_table
from bertrec.data.readers.raw import RawData


def find_table(folder: Path, stem: str) -> Path | None:
    """Return the one table ``stem.*`` of a folder, or None.

    Raises:
        DataError: there are several.
    """
    found = [folder / f"{stem}{suffix}" for suffix in TABLE_SUFFIXES if (folder / f"{stem}{suffix}").is_file()]
    if len(found) > 1:
        raise DataError(f"{folder}: both {found[0].name} and {found[1].name} are there: keep one, or write a YAML that names it")
    return found[0] if found else None


def is_tables(folder: Path) -> bool:
    """Say whether a folder holds ``interactions.*``."""
    return find_table(folder, "interactions") is not None


def read_folder(folder: Path) -> RawData:
    """Read the tables of a folder."""
    paths = {stem: find_table(folder, stem) for stem in ("interactions", "items", "users")}
    if paths["interactions"] is None or paths["items"] is None:
        missing = "interactions" if paths["interactions"] is None else "items"
        raise DataError(f"{folder}: no {missing}.csv, .tsv or .parquet")
    return read_files(folder.name, {stem: path for stem, path in paths.items() if path is not None})


def read_files(name: str, paths: Mapping[str, Path], *, columns: Mapping[str, str] | None = None) -> RawData:
    """Read named tables.

    Args:
        name: of the data set.
        paths: ``interactions`` and ``items``, and ``users`` where there is one.
        columns: the files' names of our columns, such as ``{"user_id": "uid"}``; a name counts in every table that has it.

    Raises:
        DataError: a file that cannot be read, or a column named in ``columns`` that no table has.
    """
    tables = {role: read_table(path) for role, path in paths.items()}
    sources = {role: str(path) for role, path in paths.items()}
    raw = RawData(name, "tables", tables["items"], tables["interactions"], tables.get("users"), sources)
    rename(raw, columns or {})
    return raw


def rename(raw: RawData, columns: Mapping[str, str]) -> None:
    """Give the tables of what was read our names; ``columns`` holds theirs, as in :func:`read_files`.

    Raises:
        DataError: no table has such a column, or our name is taken.
    """
    for ours, theirs in columns.items():
        found = {role: table for role in ("interactions", "items", "users") if (table := getattr(raw, role)) is not None}
        holding = [role for role, table in found.items() if theirs in table.column_names]
        if not holding:
            raise DataError(f"{raw.name}: no table has the column '{theirs}' that is to be '{ours}'")
        for role in holding:
            setattr(raw, role, _renamed(found[role], theirs, ours, raw.sources.get(role, raw.name)))


def _renamed(table: pa.Table, theirs: str, ours: str, source: str) -> pa.Table:
    if ours in table.column_names and ours != theirs:
        raise DataError(f"{source}: the column '{theirs}' is to be '{ours}', but there is a column '{ours}' already")
    return table.rename_columns([ours if name == theirs else name for name in table.column_names])

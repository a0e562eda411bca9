"""A file of users to recommend for: ids, or ids with histories, as lines, CSV, TSV, JSON lines or Parquet."""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bertrec.core.errors import DataError
from bertrec.data.frames import id_column, is_text, require_columns, text_column
from bertrec.data.readers.content import Form, as_utf8, read_bytes
from bertrec.data.readers.delimited import TABLE_SUFFIXES, read_table
from bertrec.data.readers.shape import cells_of

USER, HISTORY = "user_id", "history"
_SEPARATORS = ",\t;|"
_DELIMITED = (".csv", ".tsv")


@dataclass(frozen=True)
class WantedUser:
    """One user of the file.

    Attributes:
        where: file and line or row, for messages.
        user: the id, as the file holds it.
        history: item ids, oldest first, as the file holds them; None where it has none, so that the data's counts.
    """

    where: str
    user: str | int
    history: list[str | int] | None = None


def read_wanted_users(path: Path, notes: list[str] | None = None) -> list[WantedUser]:
    """Read a file of users.

    A file without a header has one id per line, or, where it ends in ``.csv`` or ``.tsv``, an id and perhaps the items in order. A header
    names ``user_id``, and perhaps ``history``: a list of item ids, or text in which spaces or commas separate them. An empty history is
    none. Other columns are ignored, with a note.

    Args:
        path: also ``.gz``.
        notes: gets a line on what is ignored.

    Raises:
        DataError: the file is absent, cannot be read, holds nobody, or has a missing id or a history that is none; the row is named.
    """
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(TABLE_SUFFIXES) and not name.endswith(_DELIMITED):
        return _from_table(read_table(path, known={USER}), path, notes)
    lines = _lines(path)
    usual = "\t" if name.endswith(".tsv") else ","
    header = [mark for mark in (usual, *_SEPARATORS) if USER in map(str.strip, cells_of(lines[0][1].encode(), mark))]
    several = [mark for mark in header if mark in lines[0][1]]
    if several or (header and name.endswith(_DELIMITED)):
        form = Form(separator=(several or header)[0], header=True)
        return _from_table(read_table(path, form, known={USER}), path, notes)
    if name.endswith(_DELIMITED):
        return [_from_cells(cells, f"{path}: line {number}") for number, cells in _cells(lines, usual, path)]
    return _somebody([WantedUser(f"{path}: line {number}", line) for number, line in lines[1 if header else 0 :]], path)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return number and text of the lines that are not empty.

    Raises:
        DataError: the file is absent, not UTF-8 or empty.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        content = as_utf8(read_bytes(path), path).decode()
    except DataError as error:
        raise DataError(f"{error}{': it should hold one id per line' if 'is empty' in str(error) else ''}") from error
    return [(number, line.strip()) for number, line in enumerate(content.splitlines(), start=1) if line.strip()]


def _cells(lines: list[tuple[int, str]], usual: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of the lines of a file without a header."""
    separator = next((mark for mark in (usual, *_SEPARATORS) if any(mark in line for _, line in lines)), usual)
    for number, line in lines:
        try:
            yield number, next(csv.reader([line], delimiter=separator, strict=True))
        except csv.Error as error:
            raise DataError(f"{path}: line {number}: {error}: does every quotation mark close?") from error


def _from_cells(cells: list[str], where: str) -> WantedUser:
    """Return a user and perhaps the items in order: the other cells, or one of them that holds all."""
    user, *items = (cell.strip() for cell in cells)
    if not user:
        raise DataError(f"{where}: the id is empty")
    return WantedUser(where, user, _history(items[0] if len(items) == 1 else list(filter(None, items)), where))


def _from_table(table: pa.Table, path: Path, notes: list[str] | None) -> list[WantedUser]:
    require_columns(table, [USER], str(path))
    others = [column for column in table.column_names if column not in (USER, HISTORY)]
    if others and notes is not None:
        notes.append(f"{path}: ignored {', '.join(map(repr, others))}: no model reads what is said of users")
    users = id_column(table, USER, str(path)).to_pylist()
    histories = _histories(table, path) if HISTORY in table.column_names else [None] * len(users)
    wanted = [WantedUser(f"{path}: row {row}", *pair) for row, pair in enumerate(zip(users, histories, strict=True), start=1)]
    return _somebody(wanted, path)


def _somebody(wanted: list[WantedUser], path: Path) -> list[WantedUser]:
    if not wanted:
        raise DataError(f"{path} is empty: it should hold one id per line")
    return wanted


def _histories(table: pa.Table, path: Path) -> list[list[str | int] | None]:
    column = table[HISTORY]
    if not is_text(column.type) and not pa.types.is_nested(column.type):
        column = pa.chunked_array([text_column(table, HISTORY)], pa.string())
    return [_history(value, f"{path}: row {row}, column '{HISTORY}'") for row, value in enumerate(column.to_pylist(), start=1)]


def _history(value: Any, where: str) -> list[str | int] | None:
    """Return one history: a list of ids as it is, a text that writes a list read as one, any other text at its spaces and commas."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise DataError(f"{where}: {value:.60} is no list of item ids") from error
    elif isinstance(value, str):
        value = [part for part in re.split(r"[\s,]+", value) if part]
    if not value:
        return None
    if not isinstance(value, Sequence) or not all(isinstance(item, str | int) and not isinstance(item, bool) for item in value):
        raise DataError(f"{where}: {value!r:.60} is no list of item ids")
    return list(value)

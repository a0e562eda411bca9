"""A file of users to recommend for: ids, or ids with histories, as lines, CSV, TSV, JSON lines or Parquet."""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from bertrec.core.errors import DataError
from bertrec.data.frames import id_column, is_text, require_columns, text_column
from bertrec.data.places import Place, fetched
from bertrec.data.readers.content import Form, as_utf8, read_bytes
from bertrec.data.readers.delimited import TABLE_SUFFIXES, read_table
from bertrec.data.readers.parts import Part, is_parquet, like_parts
from bertrec.data.readers.pieces import PIECE, pieces_of
from bertrec.data.readers.shape import cells_of

USER, HISTORY = "user_id", "history"
AT_ONCE = 1 << 15
"""How many users are held at a time, as many as a model scores at once."""
_SEPARATORS = ",\t;|"
_DELIMITED = (".csv", ".tsv")
_JSON_LINES = (".jsonl", ".ndjson")


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


@dataclass(frozen=True)
class WantedUsers:
    """Users to recommend for: some that were named, and those of a file or of Parquet parts, of which only a block is held at a time.

    Attributes:
        named: their ids.
        place: of the file, folder or pattern of names; None where there is none.
    """

    named: Sequence[str] = ()
    place: Place | None = None

    def blocks(self, notes: list[str] | None = None) -> Iterator[list[WantedUser]]:
        """Yield the users in order, the named ones first, `AT_ONCE` a block; no block holds users of two parts.

        Args:
            notes: gets a line on what is ignored.

        Raises:
            DataError: as `read_wanted_users`, or the parts differ.
        """
        first = [WantedUser("", name) for name in self.named]
        for part in self._parts(notes):
            yield from even_blocks(chain([first], part))
            first = []
        yield from even_blocks([first])

    def _parts(self, notes: list[str] | None) -> Iterator[Iterable[list[WantedUser]]]:
        if self.place is None:
            return
        if not is_parquet(self.place):
            with fetched(self.place) as path:
                yield _text_blocks(path, notes)
            return
        for part in wanted_parts(self.place, notes):
            yield wanted_blocks(part)


def even_blocks(lists: Iterable[list[Any]], size: int = AT_ONCE) -> Iterator[list[Any]]:
    """Yield what lists hold as lists of ``size``, the last one shorter."""
    held: list[Any] = []
    for one in lists:
        held += one
        while len(held) >= size:
            yield held[:size]
            held = held[size:]
    if held:
        yield held


def wanted_parts(place: Place, notes: list[str] | None = None) -> list[Part]:
    """Return the Parquet files of users at a place, all with the same columns; their footers alone are read.

    Raises:
        DataError: one is no Parquet, lacks ``user_id``, or differs from the first.
    """
    parts = like_parts(place, {USER, HISTORY})
    require_columns(parts[0].schema.empty_table(), [USER], parts[0].name, rows=False)
    if not sum(part.rows for part in parts):
        raise DataError(f"{place}: no rows: the table is empty or holds only a header")
    _note_others(parts[0].schema.names, str(place), notes)
    return parts


def wanted_blocks(part: Part) -> Iterator[list[WantedUser]]:
    """Yield the users of a Parquet file by and by.

    Raises:
        DataError: as `read_wanted_users`.
    """
    above = 0
    for batch in part.batches({USER, HISTORY}, rows=AT_ONCE):
        yield _wanted_of(pa.table(batch), part.name, above)
        above += batch.num_rows


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
    if is_parquet(path):
        return [one for part in wanted_parts(path, notes) for block in wanted_blocks(part) for one in block]
    return [one for block in _text_blocks(path, notes) for one in block]


def _text_blocks(path: Path, notes: list[str] | None, size: int = PIECE) -> Iterator[list[WantedUser]]:
    """Yield the users of a text file, a piece of it at a time."""
    name = path.name.lower().removesuffix(".gz")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    way, rows, lines = None, 0, 0
    with _empty_said():
        # A list of JSON objects is one value, which has no pieces.
        whole, quoted = name.endswith(".json"), not name.endswith(_JSON_LINES)
        for piece in [read_bytes(path)] if whole else pieces_of(path, quoted=quoted, size=size):
            way = _way_of(path, name, piece) if way is None else way
            users = way.users(piece, rows, lines, notes) if piece.strip() else []
            yield users
            rows, lines, notes = rows + len(users), lines + piece.count(b"\n"), None
    if not rows:
        raise DataError(f"{path} is empty: it should hold one id per line")


@contextmanager
def _empty_said() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}{': it should hold one id per line' if str(error).endswith('is empty') else ''}") from error


@dataclass(frozen=True)
class _Way:
    """How a text file of users is read: as a table, or by its lines.

    Attributes:
        path: the file.
        form: of a table; None: by lines.
        header: the line that stands before every piece of a table, or is passed over.
        separator: of the cells of a line; empty: a line is an id.
    """

    path: Path
    form: Form | None = None
    header: bytes = b""
    separator: str = ""

    def users(self, piece: bytes, rows: int, lines: int, notes: list[str] | None) -> list[WantedUser]:
        """Return the users of a piece that follows so many rows and lines."""
        if self.form is None:
            found = _numbered(piece, self.path, lines)[1 if self.header and not lines else 0 :]
            if self.separator:
                return [_from_cells(cells, f"{self.path}: line {number}") for number, cells in _cells(found, self.separator, self.path)]
            return [WantedUser(f"{self.path}: line {number}", line) for number, line in found]
        with _counted_from(lines):
            content = self.header + piece if lines else piece
            table = read_table(self.path, self.form, known={USER}, content=content)
            require_columns(table, [USER], str(self.path))
        _note_others(table.column_names, str(self.path), notes)
        return _wanted_of(table, str(self.path), rows)


@contextmanager
def _counted_from(lines: int) -> Iterator[None]:
    """Say of which line of the file the first line of a piece is."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error} (lines counted from line {lines + 1} of the file)" if lines else error) from error


def _way_of(path: Path, name: str, piece: bytes) -> _Way:
    """Look at the beginning of a file for how it is read."""
    if name.endswith(TABLE_SUFFIXES) and not name.endswith(_DELIMITED):
        return _Way(path, Form())
    found = _numbered(piece, path, 0)
    usual = "\t" if name.endswith(".tsv") else ","
    marks = [mark for mark in (usual, *_SEPARATORS) if USER in map(str.strip, cells_of(found[0][1].encode(), mark))]
    several = [mark for mark in marks if mark in found[0][1]]
    header = piece[: piece.find(b"\n") + 1] or piece
    if several or (marks and name.endswith(_DELIMITED)):
        return _Way(path, Form(separator=(several or marks)[0], header=True), header)
    if name.endswith(_DELIMITED):
        return _Way(path, separator=next((mark for mark in (usual, *_SEPARATORS) if any(mark in line for _, line in found)), usual))
    return _Way(path, header=header if marks else b"")


def _numbered(piece: bytes, path: Path, lines: int) -> list[tuple[int, str]]:
    """Return number and text of the lines that are not empty.

    Raises:
        DataError: they are not UTF-8.
    """
    with _counted_from(lines):
        content = as_utf8(piece, path).decode()
    return [(number, line.strip()) for number, line in enumerate(content.splitlines(), start=lines + 1) if line.strip()]


def _cells(lines: list[tuple[int, str]], separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of the lines of a file without a header."""
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


def _note_others(columns: Iterable[str], source: str, notes: list[str] | None) -> None:
    others = [column for column in columns if column not in (USER, HISTORY)]
    if others and notes is not None:
        notes.append(f"{source}: ignored {', '.join(map(repr, others))}: no model reads what is said of users")


def _wanted_of(table: pa.Table, source: str, above: int = 0) -> list[WantedUser]:
    """Return the users of a table that follows ``above`` rows of its file."""
    users = id_column(table, USER, source, above).to_pylist()
    histories = _histories(table, source, above) if HISTORY in table.column_names else [None] * len(users)
    numbered = enumerate(zip(users, histories, strict=True), start=above + 1)
    return [WantedUser(f"{source}: row {row}", *pair) for row, pair in numbered]


def _histories(table: pa.Table, source: str, above: int) -> list[list[str | int] | None]:
    column = table[HISTORY]
    if not is_text(column.type) and not pa.types.is_nested(column.type):
        column = pa.chunked_array([text_column(table, HISTORY)], pa.string())
    numbered = enumerate(column.to_pylist(), start=above + 1)
    return [_history(value, f"{source}: row {row}, column '{HISTORY}'") for row, value in numbered]


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

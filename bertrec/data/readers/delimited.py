"""Delimited text and Parquet files to Arrow tables; delimited columns stay text, so that the id ``007`` survives."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from bertrec.core.errors import DataError
from bertrec.data.readers.unpack import unpacked

# Rows longer than a block cannot be parsed; a row of text or history is far below this.
_BLOCK = 1 << 24
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".csv.gz", ".tsv.gz")


def read_bytes(path: Path) -> bytes:
    """Read a file, unpacked where its name ends in ``.gz``.

    Raises:
        DataError: it is missing, unreadable, damaged or empty.
    """
    try:
        content = unpacked(path) if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not content.strip():
        raise DataError(f"{path}: the file is empty")
    return content


def as_utf8(content: bytes, path: Path, *, fallback: str | None = None) -> bytes:
    """Return the bytes as UTF-8 without a byte-order mark.

    Args:
        content: the bytes of the file.
        path: its name for messages.
        fallback: the encoding to take where they are no UTF-8 (old data sets that were published so).

    Raises:
        DataError: they are no UTF-8 and there is no fallback; the line is named.
    """
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        if fallback:
            return content.decode(fallback).encode()
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: line {line} is not UTF-8 (byte 0x{content[error.start]:02x}): save the file as UTF-8") from error
    return content.removeprefix(b"\xef\xbb\xbf")


def read_delimited(
    path: Path,
    *,
    delimiter: str,
    names: Sequence[str] | None = None,
    quoted: bool | None = False,
    fallback: str | None = None,
) -> pa.Table:
    """Read a delimited file with every column as text.

    Args:
        path: the file.
        delimiter: one or more characters.
        names: column names where the file has no header.
        quoted: values may stand in double quotes; ``None`` looks whether they do.
        fallback: see :func:`as_utf8`.

    Raises:
        DataError: an empty file, bytes that are not UTF-8, a header that names a column twice, a row with too few or many columns.
    """
    content = as_utf8(read_bytes(path), path, fallback=fallback)
    if len(delimiter) > 1:
        content, delimiter = content.replace(delimiter.encode(), b"\x1f"), "\x1f"
    skip = 0
    if names is None:
        names, skip = _header(content, delimiter, path), 1
    if quoted is None:
        quoted = b'"' in content and _is_quoted(content, delimiter, names, skip)
    return _parse(content, delimiter, names, skip, quoted, path)


def read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file.

    Raises:
        DataError: it is missing, truncated or no Parquet at all.
    """
    try:
        table = pq.read_table(path)
        table.validate(full=True)  # texts that are no UTF-8, offsets beyond the values
        return table
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet, it is truncated or damaged ({str(error).splitlines()[0]})") from error


def read_table(path: Path) -> pa.Table:
    """Read a CSV, TSV or Parquet file, recognised by its name."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        return read_parquet(path)
    if name.endswith((".tsv", ".csv")):
        tab = name.endswith(".tsv")
        return read_delimited(path, delimiter="\t" if tab else ",", quoted=None if tab else True)
    raise DataError(f"{path}: a table is one of {', '.join(TABLE_SUFFIXES)}")


def _header(content: bytes, delimiter: str, path: Path) -> list[str]:
    first = content.split(b"\n", 1)[0].rstrip(b"\r").decode()
    names = next(csv.reader([first], delimiter=delimiter))
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"{path}: the header names column '{repeated[0]}' twice")
    return names


def _parse(content: bytes, delimiter: str, names: Sequence[str], skip: int, quoted: bool, path: Path) -> pa.Table:
    try:
        return _read(content, delimiter, names, skip, quoted, threads=True)
    except pa.ArrowInvalid as error:
        problem = _with_row(content, delimiter, names, skip, quoted) or str(error)
        if skip and not content.partition(b"\n")[2].strip():  # a header alone
            return pa.table({name: pa.array([], pa.string()) for name in names})
        raise DataError(f"{path}: {problem}") from error


def _read(content: bytes, delimiter: str, names: Sequence[str], skip: int, quoted: bool, *, threads: bool) -> pa.Table:
    # Only with quotes can a value hold a line break, and only then is parsing slower.
    return pa_csv.read_csv(
        io.BytesIO(content),
        read_options=pa_csv.ReadOptions(column_names=list(names), skip_rows=skip, block_size=_BLOCK, use_threads=threads),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted),
        convert_options=pa_csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=False),
    )


def _with_row(content: bytes, delimiter: str, names: Sequence[str], skip: int, quoted: bool) -> str | None:
    """Parse again in one thread: only so does Arrow count rows in its messages."""
    try:
        _read(content, delimiter, names, skip, quoted, threads=False)
    except pa.ArrowInvalid as error:
        found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
        return f"line {found[1]} has {found[3]} columns where {found[2]} are wanted" if found else str(error).splitlines()[0]
    return None


def _is_quoted(content: bytes, delimiter: str, names: Sequence[str], skip: int) -> bool:
    """Say whether every value that opens with a quotation mark is a properly closed quoted value.

    A title such as ``"Great Performances" Cats`` in a file written without quoting is not, and must keep its marks.
    """
    try:
        table = _read(content, delimiter, names, skip, False, threads=True)
    except pa.ArrowInvalid:  # a quoted value with a line break in it
        return True
    for column in table.columns:
        opening = column.filter(pc.starts_with(column, '"'))
        if not pc.all(pc.match_substring_regex(opening, r'^"(?:[^"]|"")*"$'), min_count=0).as_py():
            return False
    return True

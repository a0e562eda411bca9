"""Delimited text and Parquet files to Arrow tables; delimited columns stay text, so that the id ``007`` survives."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from bertrec.core.errors import DataError
from bertrec.data.readers import shape
from bertrec.data.readers.content import Form, Quotes, as_utf8, read_bytes
from bertrec.data.readers.json_lines import read_json_table
from bertrec.data.readers.quotes import problem_of, without_backslashes


@dataclass(frozen=True)
class _Way:
    """How one file is parsed: ``quoted`` and ``quotes`` say whether and how marks are read, ``notes`` gets what was found."""

    path: Path
    delimiter: str
    quoted: bool | None
    quotes: Quotes | None = None
    notes: list[str] = field(default_factory=list)


# Rows longer than a block cannot be parsed; a row of text or history is far below this.
_BLOCK = 1 << 24
# Stands for a separator of several characters.
_UNIT = "\x1f"
_DELIMITED = {".csv": ",", ".tsv": "\t", ".txt": " ", ".dat": "::"}
_JSON = (".jsonl", ".ndjson", ".json")
_PLAIN = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
TABLE_SUFFIXES = (*_PLAIN, ".parquet", *(f"{suffix}.gz" for suffix in _PLAIN))


def read_delimited(
    path: Path,
    *,
    delimiter: str,
    names: Sequence[str] | None = None,
    quoted: bool | None = False,
    fallback: str | None = None,
    encoding: str | None = None,
) -> pa.Table:
    """Read a delimited file with every column as text.

    Args:
        path: the file.
        delimiter: one or more characters.
        names: column names where the file has no header.
        quoted: values may stand in double quotes; ``None`` looks whether they do.
        fallback: see ``bertrec.data.readers.content.as_utf8``.
        encoding: see there.

    Raises:
        DataError: an empty file, bytes that are not of the encoding, a header that names a column twice, a row with too few or many
            columns, a quotation mark that does not close.
    """
    content = as_utf8(read_bytes(path), path, fallback=fallback, encoding=encoding)
    content, delimiter = _one_byte(content, delimiter)
    way = _Way(path, delimiter, quoted)
    return _with_header(content, way) if names is None else _rows(content, 0, names, way)


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


def read_table(
    path: Path,
    form: Form | None = None,
    *,
    known: Collection[str] = shape.IDS,
    numbered: bool = False,
    notes: list[str] | None = None,
) -> pa.Table:
    """Read a CSV, TSV, JSON lines or Parquet file, recognised by its name, whatever separates its columns.

    Args:
        path: the file.
        form: how it was written, as far as it was said.
        known: names of columns that are expected.
        numbered: columns are named by their numbers where there is no header.
        notes: gets a line on what was found to be unusual: the separator, the escapes, no header.

    Raises:
        DataError: the file cannot be read so; the text names the key that says how it was written.
    """
    form = form or Form()
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        return read_parquet(path)
    if name.endswith(_JSON):
        return read_json_table(path, encoding=form.encoding)
    usual = next((usual for suffix, usual in _DELIMITED.items() if name.endswith(suffix)), None)
    if usual is None and form.separator is None:
        raise DataError(f"{path}: a table is one of {', '.join(TABLE_SUFFIXES)}; of other text files say the  separator:")
    content = as_utf8(read_bytes(path), path, encoding=form.encoding)
    content, said = _said_by_excel(content)
    separator = _separator(form, path) or said or shape.find_separator(content, usual or ",", known)
    header = _has_header(content, separator, form, known, numbered, path)
    notes = [] if notes is None else notes
    notes += _unusual(separator, usual, header, form, path)
    content, delimiter = _one_byte(content, separator)
    way = _Way(path, delimiter, _quoted(form, delimiter), form.quotes, notes)
    if header:
        return _with_header(content, way)
    width = len(shape.cells_of(shape.first_lines(content)[0], delimiter))
    return _rows(content, 0, [str(number) for number in range(1, width + 1)], way)


def _unusual(separator: str, usual: str | None, header: bool, form: Form, path: Path) -> list[str]:
    found = []
    if form.separator is None and separator != usual:
        shown = next((name for name, mark in shape.NAMES.items() if mark == separator and name.isalpha()), separator)
        found.append(f"columns separated by {shown!r}")
    if form.header is None and not header:
        found.append("no header: columns are numbered from 1")
    return [f"{path}: read with {'; '.join(found)}"] if found else []


def _said_by_excel(content: bytes) -> tuple[bytes, str | None]:
    """Take off a first line such as ``sep=;``."""
    found = re.match(rb"(?i)sep=(.)\r?\n", content)
    return (content[found.end() :], found[1].decode()) if found else (content, None)


def _separator(form: Form, path: Path) -> str | None:
    if form.separator is None:
        return None
    separator = shape.NAMES.get(form.separator, form.separator)
    if not separator or set(separator) & set('"\r\n'):
        raise DataError(f"{path}: separator {form.separator!r} cannot separate columns: name one such as ; or tab")
    return separator


def _has_header(content: bytes, separator: str, form: Form, known: Collection[str], numbered: bool, path: Path) -> bool:
    if form.header is not None:
        return form.header
    names = shape.cells_of(shape.first_lines(content)[0], separator)
    if not shape.looks_like_data(names, known):
        return True
    if not numbered:
        line = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        mend = "header: false  and  columns: {user_id: 1, item_id: 2}  in a YAML description, or --no-header"
        raise DataError(f"{path}: line 1 ({line:.80}) looks like data, not like names of columns: add a header line, or set  {mend}")
    return False


def _quoted(form: Form, delimiter: str) -> bool | None:
    """Values in quotation marks are usual but in tab-separated and other files, where titles often begin with a mark."""
    if form.quotes is not None:
        return form.quotes != "none"
    return True if delimiter in (",", ";") else None


def _one_byte(content: bytes, separator: str) -> tuple[bytes, str]:
    """Write one byte for a separator of several, or for a run of spaces."""
    if separator == " ":
        return re.sub(rb"[ \t]+", _UNIT.encode(), re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", content)), _UNIT
    if len(separator.encode()) > 1:
        return content.replace(separator.encode(), _UNIT.encode()), _UNIT
    return content, separator


def _with_header(content: bytes, way: _Way) -> pa.Table:
    end = content.find(b"\n") + 1 or len(content)
    if way.quoted is not False and content.count(b'"', 0, end) % 2:
        if way.quotes != "doubled":
            mend = "correct it, or set  quotes: doubled  (a name spans lines) or  none  in a YAML description (--quotes)"
            raise DataError(f"{way.path}: line 1: a quotation mark opens in the header and does not close on its line: {mend}")
        found = re.match(rb'(?:[^"\n]|"[^"]*+")*+(?:\n|\Z)', content)
        end = found.end() if found else end
    names = shape.cells_of(content[:end].rstrip(b"\r\n"), way.delimiter)
    shape.check_header(names, way.path)
    return _rows(content, end, names, way)


def _rows(content: bytes, start: int, names: Sequence[str], way: _Way) -> pa.Table:
    """Parse what follows the header, once it is sure that no value swallows rows."""
    if not content[start:].strip():
        return pa.table({name: pa.array([], pa.string()) for name in names})
    quoted = b'"' in content and (_is_quoted(content[start:], way.delimiter, names) if way.quoted is None else way.quoted)
    if quoted:
        head = content[:start]
        content = _checked(content, len(names), start, way)
        start = 0 if not start else _same_end(content, head)
    return _parse(content, start, way.delimiter, names, quoted, way.path)


def _same_end(content: bytes, head: bytes) -> int:
    """Return where the header ends, which has as many line ends as before."""
    place = 0
    for _ in range(head.count(b"\n")):
        place = content.index(b"\n", place) + 1
    return place


def _checked(content: bytes, width: int, start: int, way: _Way) -> bytes:
    r"""Return the content with marks written as ``""``, however they were escaped.

    Raises:
        DataError: a value swallows rows, or does not close.
    """
    delimiter, problem = way.delimiter.encode(), None
    if way.quotes != "backslash":
        problem = problem_of(content, delimiter, width, start=start, trusted=way.quotes == "doubled")
        if problem is None:
            return content
    if way.quotes == "backslash" or (way.quotes is None and b'\\"' in content):
        translated = without_backslashes(content, delimiter)
        fault = "a quoted value does not close" if translated is None else problem_of(translated, delimiter, width, start=start)
        if translated is not None and fault is None:
            way.notes.append(f"{way.path}: read with quotation marks within values after a backslash")
            return translated
        problem = problem or f"{fault}, with marks after a backslash: correct it, or set  quotes: doubled"
    raise DataError(f"{way.path}: {problem}")


def _parse(content: bytes, start: int, delimiter: str, names: Sequence[str], quoted: bool, path: Path) -> pa.Table:
    rows = memoryview(content)[start:]
    try:
        return _read(rows, delimiter, names, quoted, threads=True)
    except pa.ArrowInvalid as error:
        problem = _with_row(rows, delimiter, names, quoted, content.count(b"\n", 0, start)) or str(error).splitlines()[0]
        raise DataError(f"{path}: {problem}") from error


def _read(content: bytes | memoryview, delimiter: str, names: Sequence[str], quoted: bool, *, threads: bool) -> pa.Table:
    # Only with quotes can a value hold a line break, and only then is parsing slower.
    return pa_csv.read_csv(
        pa.BufferReader(pa.py_buffer(content)),
        read_options=pa_csv.ReadOptions(column_names=list(names), block_size=_BLOCK, use_threads=threads),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False, newlines_in_values=quoted),
        convert_options=pa_csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=False),
    )


def _with_row(content: memoryview, delimiter: str, names: Sequence[str], quoted: bool, above: int) -> str | None:
    """Parse again in one thread: only so does Arrow count rows in its messages."""
    try:
        _read(content, delimiter, names, quoted, threads=False)
    except pa.ArrowInvalid as error:
        found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
        if found is None:
            return str(error).splitlines()[0]
        return f"line {int(found[1]) + above} has {found[3]} columns where {found[2]} are wanted"
    return None


def _is_quoted(content: bytes, delimiter: str, names: Sequence[str]) -> bool:
    """Say whether every value that opens with a quotation mark is a properly closed quoted value.

    A title such as ``"Great Performances" Cats`` in a file written without quoting is not, and must keep its marks.
    """
    try:
        table = _read(content, delimiter, names, False, threads=True)
    except pa.ArrowInvalid:  # a quoted value with a line break in it
        return True
    for column in table.columns:
        opening = column.filter(pc.starts_with(column, '"'))
        if not pc.all(pc.match_substring_regex(opening, r'^"(?:[^"]|"")*"$'), min_count=0).as_py():
            return False
    return True

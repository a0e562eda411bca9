"""Take people out of the tables in a folder: lists, vectors and figures of users that commands wrote there."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bertrec.core.files import atomic_file
from bertrec.core.shown import csv_cell

_USERS = ("user", "user_id")
WHAT = b"bertrec.what"
"""In the metadata of a Parquet file: ``users`` where its column ``id`` holds users."""
_ARTEFACTS = ("config.json", "encoder.json", "meta.json")
_TELLING = 5  # letters from which on an id is looked for in files that are no tables: shorter ones are found by chance


def erase_rows(folder: Path, gone: Collection[str]) -> dict[str, int]:
    """Rewrite the tables below a folder without the rows of some users.

    Tables are Parquet, CSV, TSV, JSON lines and lists in JSON that have ``user`` or ``user_id``, and text files with one id per line. A
    file that cannot be read as its name says is left as it is.

    Args:
        folder: of the files; each is replaced as a whole.
        gone: ids as text.

    Returns:
        How many rows each file lost, by its path in the folder; files without such rows are left out.
    """
    lost: dict[str, int] = {}
    for path in _files(folder):
        erase = _ERASERS.get(path.suffix.lower())
        try:
            count = erase(path, gone) if erase is not None else 0
        except (ValueError, KeyError, TypeError, pa.ArrowException, csv.Error, RecursionError):
            continue
        if count:
            lost[path.relative_to(folder).as_posix()] = count
    return lost


def mentions(folder: Path, gone: Collection[str]) -> list[str]:
    """Return the files below a folder that hold one of some ids as a word of its own, by their paths in the folder.

    Ids of fewer than five letters are not looked for: numbers of all kinds would be taken for them.
    """
    words = [re.escape(one.encode("utf-8", "surrogatepass")) for one in gone if len(one) >= _TELLING]
    if not words:
        return []
    wanted = re.compile(rb"(?<![0-9A-Za-z_])(" + b"|".join(words) + rb")(?![0-9A-Za-z_])")
    return [path.relative_to(folder).as_posix() for path in _files(folder) if any(map(wanted.search, _texts(path)))]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, but for those of saved models, encoders and indexes, which hold items and weights alone."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and not any((path / name).is_file() for name in _ARTEFACTS):
            yield from _files(path)


def _texts(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if path.suffix.lower() == ".parquet":  # whose pages are packed
        try:
            yield json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False).encode("utf-8", "surrogatepass")
        except (OSError, pa.ArrowException, ValueError):
            return


def _write(path: Path, content: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(content, encoding="utf-8", newline="")


def _parquet(path: Path, gone: Collection[str]) -> int:
    schema = pq.read_schema(path)
    ids = ["id"] if (schema.metadata or {}).get(WHAT) == b"users" else []
    names = [name for name in (*_USERS, *ids) if name in schema.names]
    if not names:
        return 0
    table = pq.read_table(path)
    keep = [not any(str(value) in gone for value in row) for row in zip(*(table[name].to_pylist() for name in names), strict=True)]
    if not all(keep):
        with atomic_file(path) as temporary:
            pq.write_table(_plain(table.filter(pa.array(keep, pa.bool_()))), temporary, compression="zstd")
    return keep.count(False)


def _plain(table: pa.Table) -> pa.Table:
    """Write dictionaries anew: a filtered column keeps the words of rows that are gone."""
    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = table.column(number).cast(field.type.value_type).combine_chunks().dictionary_encode()
            table = table.set_column(number, field.name, column)
    return table


def _delimited(path: Path, gone: Collection[str]) -> int:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""), delimiter=delimiter, strict=True))
    places = [place for place, name in enumerate(rows[0] if rows else []) if name.strip() in _USERS]
    if not places:
        return 0
    shown = {*gone, *(str(csv_cell(one)) for one in gone)}
    kept = [row for row in rows[1:] if not any(place < len(row) and row[place] in shown for place in places)]
    if len(kept) < len(rows) - 1:
        stream = io.StringIO()
        csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows([rows[0], *kept])
        _write(path, stream.getvalue())
    return len(rows) - 1 - len(kept)


def _json_lines(path: Path, gone: Collection[str]) -> int:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.strip() or not _is_of(json.loads(line), gone)]
    if len(kept) < len(lines):
        _write(path, "".join(kept))
    return len(lines) - len(kept)


def _json(path: Path, gone: Collection[str]) -> int:
    values = json.loads(path.read_text(encoding="utf-8"))
    rows = values.get("recommendations") if isinstance(values, Mapping) else values
    if not isinstance(rows, list):
        return 0
    kept = [row for row in rows if not _is_of(row, gone)]
    if len(kept) < len(rows):
        whole: Any = {**values, "recommendations": kept} if isinstance(values, Mapping) else kept
        _write(path, json.dumps(whole, ensure_ascii=False, indent=2) + "\n")
    return len(rows) - len(kept)


def _is_of(row: Any, gone: Collection[str]) -> bool:
    return isinstance(row, Mapping) and any(str(row.get(name)) in gone for name in _USERS if name in row)


def _lines(path: Path, gone: Collection[str]) -> int:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.strip() not in gone]
    if len(kept) < len(lines):
        _write(path, "".join(kept))
    return len(lines) - len(kept)


_ERASERS: Mapping[str, Callable[[Path, Collection[str]], int]] = {
    ".parquet": _parquet,
    ".csv": _delimited,
    ".tsv": _delimited,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".txt": _lines,
}

"""Amazon reviews of 2014, 2018 and 2023 with their metadata: JSON lines, gzipped or not.

2014 and 2018: ``reviewerID``, ``asin``, ``overall``, ``unixReviewTime``; 2023: ``user_id``, ``parent_asin``, ``rating``, ``timestamp`` in
milliseconds. The metadata of 2014 were published as Python literals, which are read as literals and never run.
"""

from __future__ import annotations

import ast
import gzip
import html
import io
import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from bertrec.core.errors import DataError
from bertrec.data.readers.delimited import as_utf8, read_bytes
from bertrec.data.readers.raw import RawData

_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_OLD = {"reviewerID": "user_id", "asin": "item_id", "overall": "rating", "unixReviewTime": "timestamp", "reviewText": "text"}
_NEW = {"user_id": "user_id", "parent_asin": "item_id", "rating": "rating", "timestamp": "timestamp", "text": "text"}
_FIELDS = ("title", "brand", "categories", "description")
_NUMBERS = ("rating", "timestamp")
_MILLISECONDS = 1e11  # as seconds this would be the year 5138


def is_amazon(folder: Path) -> bool:
    """Say whether a folder holds reviews (recognised by their keys) in JSON lines."""
    return any(_role(path) == "reviews" for path in _files(folder))


def read_folder(folder: Path) -> RawData:
    """Read the one file of reviews and the one of metadata.

    Raises:
        DataError: one of them is missing or there are several, a line is no JSON, or a review lacks user, item or time.
    """
    reviews, meta = _the_one(folder, "reviews"), _the_one(folder, "metadata")
    items, notes = _read_metadata(meta)
    sources = {"interactions": str(reviews), "items": str(meta)}
    return RawData(folder.name, "amazon", items, _read_reviews(reviews), None, sources, _FIELDS, notes=notes)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.endswith(_SUFFIXES))


def _role(path: Path) -> str:
    """Tell reviews from metadata by the keys of the first line."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            first = stream.readline(1 << 24)
        keys = set(_parse_line(first.decode("utf-8", "replace")))
    except (OSError, EOFError, ValueError, SyntaxError, TypeError):
        return "reviews" if "review" in path.name.lower() else "other"
    if keys >= {"reviewerID", "asin"} or keys >= {"user_id", "parent_asin"}:
        return "reviews"
    return "metadata" if keys & {"asin", "parent_asin"} else "other"


def _the_one(folder: Path, role: str) -> Path:
    found = [path for path in _files(folder) if _role(path) == role]
    if len(found) != 1:
        names = ", ".join(path.name for path in found)
        what = f"several files of {role} ({names}): keep one" if found else f"no file of {role} (JSON lines such as meta_X.json.gz)"
        raise DataError(f"{folder}: {what}")
    return found[0]


def _read_reviews(path: Path) -> pa.Table:
    content = as_utf8(read_bytes(path), path)
    names = _OLD if b'"reviewerID"' in content.split(b"\n", 1)[0] else _NEW
    schema = pa.schema([(key, pa.float64() if name in _NUMBERS else pa.string()) for key, name in names.items()])
    options = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        table = pa_json.read_json(io.BytesIO(content), pa_json.ReadOptions(block_size=1 << 24), options)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: {_bad_line(content, names) or str(error).splitlines()[0]}") from error
    table = table.select(list(names)).rename_columns(list(names.values()))
    if names is _NEW and (pc.max(table["timestamp"]).as_py() or 0) > _MILLISECONDS:
        table = table.set_column(table.column_names.index("timestamp"), "timestamp", pc.divide(table["timestamp"], 1000.0))
    return table


def _bad_line(content: bytes, names: dict[str, str]) -> str | None:
    """Say which line Arrow cannot read, and why."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            return f"line {number} is no JSON ({error})"
        if not isinstance(entry, dict):
            return f"line {number} is no JSON object: each line holds one review, such as {{{', '.join(names)}}}"
        for key, name in names.items():
            value, kind = entry.get(key), (int, float) if name in _NUMBERS else str
            if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
                wanted = "a number, without quotation marks" if name in _NUMBERS else "text, in quotation marks"
                return f"line {number}: '{key}' is {reprlib.repr(value)}: write it as {wanted}, in every line"
    return None


def _parse_line(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        value = ast.literal_eval(line)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(as_utf8(read_bytes(path), path).decode().split("\n"), start=1):
        if line.strip():
            try:
                yield _parse_line(line.strip())
            except (ValueError, SyntaxError) as error:
                raise DataError(f"{path}: line {number} is neither JSON nor a literal ({error})") from error


def _read_metadata(path: Path) -> tuple[pa.Table, list[str]]:
    """Return ids and text fields; later lines of an id whose text differs are left out and counted, as the releases hold such."""
    rows: dict[str, tuple[str, ...]] = {}
    repeated = 0
    for number, entry in enumerate(_lines(path), start=1):
        asin = entry.get("parent_asin") or entry.get("asin")
        if not asin:
            raise DataError(f"{path}: row {number} has neither 'asin' nor 'parent_asin'")
        repeated += str(asin) in rows
        rows.setdefault(str(asin), _texts(entry))
    columns = {"item_id": pa.array(list(rows), pa.string())}
    for place, name in enumerate(_FIELDS):
        columns[name] = pa.array([row[place] for row in rows.values()], pa.string())
    return pa.table(columns), [f"{path}: {repeated} lines repeat an item (the first of each is kept)"] if repeated else []


def _texts(entry: dict[str, Any]) -> tuple[str, ...]:
    brand = entry.get("brand") or entry.get("store")
    categories = entry.get("categories") or entry.get("category")
    return _joined(entry.get("title"), " "), _joined(brand, " "), _joined(categories, ", "), _joined(entry.get("description"), " ")


def _joined(value: Any, separator: str) -> str:
    """Return a text, or the distinct texts of a (nested) list joined, with HTML entities resolved."""
    parts = dict.fromkeys(" ".join(html.unescape(part).split()) for part in _leaves(value))
    return separator.join(part for part in parts if part)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    elif value is not None:
        yield str(value)

"""Amazon reviews of 2014, 2018 and 2023, or ratings in CSV, with their metadata in JSON lines; gzipped or not.

2014 and 2018: ``reviewerID``, ``asin``, ``overall``, ``unixReviewTime``; 2023: ``user_id``, ``parent_asin``, ``rating``, ``timestamp`` in
milliseconds. The metadata of 2014 were published as Python literals, which are read as literals and never run.
"""

from __future__ import annotations

import gzip
import io
import json
import reprlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from bertrec.core.errors import DataError
from bertrec.data.readers.content import Form, as_utf8, read_bytes
from bertrec.data.readers.delimited import read_table
from bertrec.data.readers.json_lines import flat_text, json_or_literal
from bertrec.data.readers.markup import plain_text
from bertrec.data.readers.raw import RawData

_SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_CSV = (".csv", ".csv.gz")
_OLD = {"reviewerID": "user_id", "asin": "item_id", "overall": "rating", "unixReviewTime": "timestamp", "reviewText": "text"}
_NEW = {"user_id": "user_id", "parent_asin": "item_id", "rating": "rating", "timestamp": "timestamp", "text": "text"}
_FIELDS = ("title", "brand", "store", "categories", "features", "description", "details")
_OTHER_NAMES = {"category": "categories", "feature": "features"}
_SEPARATORS = {"title": " ", "description": " ", "features": " "}
_NUMBERS = ("rating", "timestamp")
_MILLISECONDS = 1e11  # as seconds this would be the year 5138


def is_amazon(folder: Path) -> bool:
    """Say whether a folder holds reviews (recognised by their keys) in JSON lines."""
    return any(_role(path) == "reviews" for path in _files(folder))


def read_folder(folder: Path, form: Form | None = None) -> RawData:
    """Read the one file of reviews (or of ratings in CSV) and the one of metadata.

    Raises:
        DataError: one of them is missing or there are several, a line is no JSON, or a review lacks user, item or time.
    """
    form = form or Form()
    reviews, meta = _the_one(folder, "reviews"), _the_one(folder, "metadata")
    items, fields, notes = read_metadata(meta, encoding=form.encoding)
    sources = {"interactions": str(reviews), "items": str(meta)}
    interactions = _read_ratings(reviews, form) if reviews.name.endswith(_CSV) else _read_reviews(reviews, form.encoding)
    return RawData(folder.name, "amazon", items, interactions, None, sources, fields, notes=notes)


def is_metadata(path: Path) -> bool:
    """Say whether a file holds metadata in JSON lines: an ``asin`` or ``parent_asin``, and no user."""
    return path.name.endswith(_SUFFIXES) and path.is_file() and _role(path) == "metadata"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.endswith((*_SUFFIXES, *_CSV)))


def _role(path: Path) -> str:
    """Tell reviews from metadata by the keys of the first line."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            first = stream.readline(1 << 24).decode("utf-8", "replace")
        if path.name.endswith(_CSV):
            return "reviews" if {"user_id", "parent_asin", "rating"} <= set(first.strip().split(",")) else "other"
        keys = set(_parse_line(first))
    except (OSError, EOFError, zlib.error, ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return "reviews" if "review" in path.name.lower() and not path.name.endswith(_CSV) else "other"
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


def _read_ratings(path: Path, form: Form) -> pa.Table:
    """Read the official ratings in CSV, whose times are milliseconds as in the reviews."""
    table = read_table(path, form)
    return table.rename_columns([_NEW.get(name, name) for name in table.column_names])


def _read_reviews(path: Path, encoding: str | None) -> pa.Table:
    content = as_utf8(read_bytes(path), path, encoding=encoding)
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
    value = json_or_literal(line)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _lines(path: Path, encoding: str | None) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(as_utf8(read_bytes(path), path, encoding=encoding).decode().split("\n"), start=1):
        if line.strip():
            try:
                yield _parse_line(line.strip())
            except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
                raise DataError(f"{path}: line {number} is neither JSON nor a literal ({error})") from error


def read_metadata(path: Path, *, encoding: str | None = None) -> tuple[pa.Table, tuple[str, ...], list[str]]:
    """Read metadata in JSON lines: every key is a column of plain text, without markup.

    Of lines that repeat an id the first is kept, as the releases hold such.

    Returns:
        The items with ``item_id``, the columns that are text by default, and notes on what was changed or left out.

    Raises:
        DataError: a line is no object, or has no id.
    """
    rows: dict[str, dict[str, str]] = {}
    labels: dict[str, list[str]] = {}
    repeated = marked = 0
    for number, entry in enumerate(_lines(path, encoding), start=1):
        asin = entry.get("parent_asin") or entry.get("asin")
        if not asin:
            raise DataError(f"{path}: row {number} has neither 'asin' nor 'parent_asin'")
        if str(asin) in rows:
            repeated += 1
            continue
        rows[str(asin)], changed = _texts(entry)
        labels[str(asin)] = _parts(entry.get("categories") or entry.get("category"))[0]
        marked += changed
    names = [*_FIELDS, *dict.fromkeys(name for row in rows.values() for name in row if name not in _FIELDS)]
    columns = {"item_id": pa.array(list(rows), pa.string())}
    columns |= {name: pa.array([row.get(name, "") for row in rows.values()], pa.string()) for name in names}
    columns["categories"] = pa.array(list(labels.values()), pa.list_(pa.string()))
    fields = tuple(name for name in _FIELDS if name == "title" or any(row.get(name) for row in rows.values()))
    notes = [f"{path}: {repeated} lines repeat an item (the first of each is kept)"] if repeated else []
    notes += [f"{path}: HTML tags, entities or scripts were taken out of {marked} texts"] if marked else []
    return pa.table(columns), fields, notes


def _texts(entry: dict[str, Any]) -> tuple[dict[str, str], int]:
    """Return the text of each key but the ids, and how many of the default ones held markup."""
    texts: dict[str, str] = {}
    changed = 0
    for key, value in entry.items():
        name = _OTHER_NAMES.get(key, key)
        if key in ("asin", "parent_asin", "item_id") or texts.get(name):
            continue
        if name not in _FIELDS:
            texts[name] = flat_text(value)
            continue
        texts[name], marked = _joined(value, _SEPARATORS.get(name, ", "), is_title=name == "title")
        changed += marked
    return texts, changed


def _joined(value: Any, separator: str, *, is_title: bool) -> tuple[str, bool]:
    """Return a text, or the distinct texts of a (nested) list or object joined, without markup; and whether there was some."""
    parts, marked = _parts(value, is_title=is_title)
    return separator.join(parts), marked


def _parts(value: Any, *, is_title: bool = False) -> tuple[list[str], bool]:
    cleaned = [plain_text(part, script_is_none=is_title) for part in _leaves(value)]
    return list(dict.fromkeys(part for part, _ in cleaned if part)), any(marked for _, marked in cleaned)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, dict):
        yield from (f"{name}: {text}" for name, inner in value.items() if (text := flat_text(inner)))
    elif value is not None:
        yield str(value).encode("utf-8", "replace").decode()

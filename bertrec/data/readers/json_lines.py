"""JSON lines to Arrow tables: one object a line, or one list of objects."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from bertrec.core.errors import DataError
from bertrec.data.readers.content import as_utf8, read_bytes

_LOOKED_AT = 1000


def read_json_table(path: Path, *, encoding: str | None = None, content: bytes | None = None) -> pa.Table:
    """Read a table of JSON objects: texts, numbers and lists of texts stay what they are, other values become text.

    Raises:
        DataError: a line is no JSON object; it is named.
    """
    content = as_utf8(read_bytes(path) if content is None else content, path, encoding=encoding)
    flat = _flat_schema(content)
    if flat is not None:
        options = pa_json.ParseOptions(explicit_schema=flat, unexpected_field_behavior="error")
        try:
            return pa_json.read_json(io.BytesIO(content), pa_json.ReadOptions(block_size=1 << 24), options)
        except pa.ArrowInvalid:  # a key or a type that the first lines do not have
            pass
    return as_table(list(json_objects(content, path)))


def json_objects(content: bytes, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of JSON lines, or of one list.

    Raises:
        DataError: what is there is something else; the line is named.
    """
    if content.lstrip()[:1] == b"[":
        yield from _objects_of_list(content, path)
        return
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            yield _object(line, f"{path}: line {number}")


def json_or_literal(text: str) -> Any:
    """Return the value of JSON, or of a Python literal, as which some data sets were published; a literal is read and never run.

    Raises:
        ValueError, SyntaxError, TypeError, RecursionError, MemoryError: it is neither.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if not text.lstrip().startswith("{") or "'" not in text:
            raise
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            raise error from None


def flat_text(value: Any) -> str:
    """Return any JSON value as text: lists joined by commas, objects as ``name: value``; ``""`` for nothing."""
    if isinstance(value, Mapping):
        parts = ((str(name), flat_text(inner)) for name, inner in value.items())
        return _clean(", ".join(f"{name}: {inner}" for name, inner in parts if inner))
    if isinstance(value, list):
        return ", ".join(filter(None, map(flat_text, value)))
    return "" if value is None else _clean(str(value))


def as_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return objects as a table with a column for each key, in order of appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({_clean(name): _column([row.get(name) for row in rows]) for name in names})


def _object(text: bytes, where: str) -> dict[str, Any]:
    try:
        value = json_or_literal(text.decode())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(f"{where} is no JSON ({error}): a table is one object a line, or one list of objects") from error
    if not isinstance(value, dict):
        raise DataError(f'{where} is no JSON object: each line holds one row, such as {{"user_id": "u", "item_id": "i"}}')
    return value


def _objects_of_list(content: bytes, path: Path) -> Iterator[dict[str, Any]]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON ({error})") from error
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise DataError(f"{path}: entry {number} is no JSON object")
        yield value


def _clean(text: str) -> str:
    r"""Replace halves of surrogate pairs (``\ud83d`` alone), which are no text."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _column(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {str}:
        return pa.array([value if value is None else _clean(value) for value in values], pa.string())
    if kinds <= {bool} or kinds <= {int, float}:
        try:
            return pa.array(values, pa.float64() if kinds == {int, float} else None)
        except (pa.ArrowException, OverflowError):  # whole numbers of more than 64 bits
            pass
    if kinds == {list} and all(isinstance(part, str) for value in values if value for part in value):
        return pa.array([value if value is None else list(map(_clean, value)) for value in values], pa.list_(pa.string()))
    return pa.array([None if value is None else flat_text(value) for value in values], pa.string())


def _flat_schema(content: bytes) -> pa.Schema | None:
    """Return the types of the first lines where they are plain, so that Arrow can read all lines fast."""
    try:
        rows = [json.loads(line) for line in content.split(b"\n", _LOOKED_AT)[:_LOOKED_AT] if line.strip()]
    except (ValueError, RecursionError):
        return None
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    table = as_table(rows)
    kinds: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    plain = all(found - {type(None)} in ({str}, {int}, {float}) for found in kinds.values())
    return table.schema if plain and b"\\ud" not in content and b"\\uD" not in content else None

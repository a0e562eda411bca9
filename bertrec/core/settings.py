"""What can be set, for people (the rows of a table) and for programs (a JSON schema), both made from a configuration.

The rows are read off the schema, so that what a person is told and what a program checks are the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bertrec.core.config import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CHOICES = re.compile(r"\^\((?P<choices>.*)\)\$")
_FROM_1 = "[1-9][0-9]*"
_BOUNDS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
    "multipleOf": "multiple of",
}
_KINDS = {
    "integer": "whole number",
    "boolean": "true, false",
    "string": "text",
    "object": "names and values",
}
_Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """One setting, as a person reads it.

    Attributes:
        name: flat and dotted, as ``--set`` and YAML files name it.
        default: a plain value.
        range: the values that it may have, in words.
        meaning: what it does, its unit, and what its special values do.
    """

    name: str
    default: Any
    range: str
    meaning: str


def settings_of(config: Config) -> list[Setting]:
    """Return every setting, in the order of the fields, with the values of ``config`` as defaults."""
    values = config.to_dict()
    return list(_rows("", values, json_schema(config))) if values else []


def json_schema(config: Config) -> dict[str, Any]:
    """Return the JSON schema of nested settings; the values of ``config`` are its defaults, and nothing is required."""
    schema = type(config).model_json_schema(by_alias=False)
    parts = schema.pop("$defs", {})
    return {"$schema": DIALECT, **_with_defaults(_inlined(schema, parts), config.to_dict())}


def written(value: Any) -> str:
    """Return a plain value as ``--set`` and YAML files read it.

    >>> written(None), written(""), written("text+id"), written([1, 5])
    ('null', '""', 'text+id', '[1, 5]')
    """
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _inlined(part: Any, parts: _Schema) -> Any:
    """Put parts in the place of references: two sections of one class may have different defaults."""
    if isinstance(part, list):
        return [_inlined(entry, parts) for entry in part]
    if not isinstance(part, dict):
        return part
    own = {name: _inlined(value, parts) for name, value in part.items() if name != "$ref"}
    return {**_inlined(parts[part["$ref"].rpartition("/")[2]], parts), **own} if "$ref" in part else own


def _with_defaults(section: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    fields = section.get("properties", {})
    filled = {
        name: {**(_with_defaults(field, values[name]) if "properties" in field else field), "default": values[name]}
        for name, field in fields.items()
    }
    return {name: value for name, value in section.items() if name != "required"} | {"properties": filled}


def _rows(name: str, value: Any, part: _Schema) -> Iterator[Setting]:
    if not isinstance(value, Mapping) or not value:
        yield Setting(name, value, range_of(part), part.get("description", ""))
        return
    for key, below in value.items():
        yield from _rows(f"{name}.{key}" if name else key, below, _entry(part, key))


def _entry(part: _Schema, key: str) -> _Schema:
    """Return the schema of one entry of a section, or of a mapping, which describes its entries together."""
    if key in part.get("properties", {}):
        return part["properties"][key]
    entries = part.get("additionalProperties")
    return {"description": part.get("description", ""), **(entries if isinstance(entries, dict) else {})}


def range_of(part: _Schema) -> str:
    """Return the values that the schema of one setting allows, in words.

    >>> range_of({"type": "number", "minimum": 0, "exclusiveMaximum": 1})
    'number >= 0, < 1'
    >>> range_of({"anyOf": [{"enum": ["first", "last"], "type": "string"}, {"type": "null"}]})
    'first, last or null'
    >>> range_of({"type": "string", "pattern": "^(frozen|last:[1-9][0-9]*)$"})
    'frozen, last:K'
    """
    if "anyOf" in part:
        return " or ".join(range_of(kind) for kind in part["anyOf"])
    if "enum" in part:
        return ", ".join(written(value) for value in part["enum"])
    if "examples" in part:
        return ", ".join(map(written, part["examples"])) + ", package.module:Class"
    if "pattern" in part:
        return _pattern(part["pattern"])
    if part.get("type") == "array":
        return _array(part)
    kind = _KINDS.get(part.get("type", ""), part.get("type", "any value"))
    bounds = ", ".join(f"{sign} {part[name]}" for name, sign in _BOUNDS.items() if name in part)
    return f"{kind} {bounds}".rstrip() + (", not empty" if part.get("minLength") else "")


def _pattern(pattern: str) -> str:
    choices = _CHOICES.fullmatch(pattern)
    return choices["choices"].replace(_FROM_1, "K").replace("|", ", ") if choices else f"text like {pattern}"


def _array(part: _Schema) -> str:
    if "prefixItems" in part:
        return f"[{', '.join(range_of(kind) for kind in part['prefixItems'])}]"
    return f"list of {range_of(part.get('items', {}))}" + (", not empty" if part.get("minItems") else "")

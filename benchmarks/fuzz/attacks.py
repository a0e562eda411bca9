"""Ways to damage one file of a folder; each is drawn from a generator and told apart by its kind."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Beside these, a key is left out or stands twice.
_VALUES = (
    *("null", "true", "[]", "{}", '"x"', '""', "-1", "0", "1.5", "1e400", "NaN", "-Infinity", "9" * 5000, "100000000000"),
    *('[["x"]]', '{"a": {"b": null}}', "[1, null]", '"\\ud800"', '"\\u0000"', "[" * 150 + "]" * 150),
)
_PLACE = "\ue000"
Attack = Callable[[Path, random.Random], None]


def flip(path: Path, draw: random.Random) -> None:
    """Flip one bit."""
    content = bytearray(path.read_bytes())
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)


def truncate(path: Path, draw: random.Random) -> None:
    """Cut the end off."""
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content) + 1)])


def scribble(path: Path, draw: random.Random) -> None:
    """Put random bytes over, into or in place of what is there."""
    content, noise = path.read_bytes(), draw.randbytes(draw.randint(1, 40))
    start = draw.randrange(len(content) + 1)
    stop = start + draw.choice((0, len(noise), len(content)))
    path.write_bytes(content[:start] + noise + content[stop:])


def drop_line(path: Path, draw: random.Random) -> None:
    """Leave a line out."""
    _lines(path, draw, lambda lines, at: [*lines[:at], *lines[at + 1 :]])


def double_line(path: Path, draw: random.Random) -> None:
    """Write a line twice."""
    _lines(path, draw, lambda lines, at: [*lines[: at + 1], *lines[at:]])


def swap_lines(path: Path, draw: random.Random) -> None:
    """Exchange a line with the first one."""
    _lines(path, draw, lambda lines, at: [lines[at], *lines[1:at], lines[0], *lines[at + 1 :]] if at else lines[::-1])


def _lines(path: Path, draw: random.Random, change: Callable[[list[bytes], int], list[bytes]]) -> None:
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(change(lines, draw.randrange(len(lines)))))


def remove(path: Path, draw: random.Random) -> None:  # there is nothing to draw
    """Take the file away."""
    path.unlink()


def retype(path: Path, draw: random.Random) -> None:
    """Give one key of a JSON file a value of another type, take it out, or write it twice; JSON lines count as well."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.suffix in (".jsonl", ".journal") else [path.read_text(encoding="utf-8")]
    at = draw.choice([number for number, line in enumerate(lines) if line.strip()])
    value = json.loads(lines[at])
    outer, key = draw.choice(list(_places(value))) if _is_outer(value) and value else ([value], 0)
    if draw.random() < 1 / 8:
        del outer[key]
    else:
        outer[key] = _PLACE
    lines[at] = json.dumps(value, ensure_ascii=False).replace(f'"{_PLACE}"', draw.choice(_VALUES))
    if draw.random() < 1 / 16 and lines[at].startswith("{"):
        lines[at] = '{"format": 1, "format": 1, ' + lines[at][1:]
    path.write_text("\n".join(lines), encoding="utf-8")


def _is_outer(value: Any) -> bool:
    return isinstance(value, dict | list)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if _is_outer(inner):
            yield from _places(inner)


_ANY: dict[str, Attack] = {"bit flip": flip, "truncation": truncate, "random bytes": scribble, "missing file": remove}
_TEXT: dict[str, Attack] = {"dropped line": drop_line, "doubled line": double_line, "swapped lines": swap_lines}
KINDS = (*_ANY, *_TEXT, "JSON type")
_TEXT_SUFFIXES = {".csv", ".tsv", ".json", ".jsonl", ".yaml", ".txt", ".inter", ".item", ".user", ".data", ".dat", ".journal", ".md"}


def fitting(path: Path) -> dict[str, Attack]:
    """Return the attacks that a file can be given, by their kinds."""
    found = dict(_ANY)
    if path.suffix in _TEXT_SUFFIXES:
        found |= _TEXT
    return found | {"JSON type": retype} if path.suffix in (".json", ".jsonl", ".journal") else found

"""Draw the rooms of the package, from the order that ``pyproject.toml`` holds: ``python -m checks.picture`` writes ``docs/rooms.svg``."""

from __future__ import annotations

import re
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "rooms.svg"
WAY = {
    "cli": "words of a terminal; one file per command group",
    "cluster": "what is made of runs: lists, reports, answers",
    "tuning": "settings are searched",
    "rerank": "7 a list is put in another order",
    "rankers": "candidates that were given are scored",
    "runs": "6 all of it is kept in one folder, old or new",
    "models": "5 one class per system: fit, save, recommend",
    "recbole": "the same by RecBole, in a process of its own",
    "retrieval": "the ten best, by the rules of a list",
    "training": "4 the loss is made small, epoch by epoch",
    "heads": "3 vectors of a history become a user",
    "encoders": "2 texts become vectors",
    "evaluation": "ranks, metrics, intervals; knows arrays only",
    "data": "1 tables become ids, histories and splits",
    "core": "files, settings, errors; parts of reports",
}
"""What happens in a row of rooms, by its first room; numbers are the way of the data."""
_WIDTH, _ROW, _BOXES, _TOP = 720, 36, 300, 34
_GAP, _ROOM = 4, 10
"""Between two boxes of a row, and beside a name in its box; what is left is shared by the length of the names."""


def rows() -> list[list[str]]:
    """Return the rooms from the top to the bottom, as the check of imports has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["id"] == "layers")
    return [[room.strip() for room in row.split(":")] for row in layers if row != "__main__"]


def picture() -> str:
    """Return the drawing."""
    found = rows()
    height = _TOP + _ROW * len(found) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="14">',
        "<title>The rooms of bertrec: each imports from those below it alone</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
        '<text x="30" y="22" fill="#5b6270">imports go down</text>',
        f'<text x="{_BOXES + 44}" y="22" fill="#5b6270">numbers: the way of the data</text>',
        f'<path d="M16 {_TOP} V{height - 16} m-5 -8 l5 8 l5 -8" fill="none" stroke="#5b6270" stroke-width="2"/>',
    ]
    for number, row in enumerate(found):
        parts += _row(row, _TOP + _ROW * number)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(rooms: list[str], y: int) -> list[str]:
    size = 14 if len(rooms) < 4 else 12
    letter = (_BOXES - _GAP * (len(rooms) - 1) - _ROOM * len(rooms)) / sum(map(len, rooms))
    parts, x = [], 30.0
    for room in rooms:
        width = _ROOM + letter * len(room)
        parts.append(f'<rect x="{x:g}" y="{y}" width="{width:g}" height="{_ROW - 6}" rx="4" fill="#e8eaf6" stroke="#5c6bc0"/>')
        middle = f'x="{x + width / 2:g}" y="{y + 20}" text-anchor="middle" font-size="{size}"'
        parts.append(f'<text {middle} fill="#1a237e">{escape(room)}</text>')
        x += width + _GAP
    number, words = re.match(r"(?:(\d+) )?(.*)", WAY.get(rooms[0], "")).groups()  # type: ignore[union-attr] -- which matches all
    if number:
        parts.append(f'<circle cx="{_BOXES + 54}" cy="{y + 15}" r="11" fill="#1a237e"/>')
        parts.append(f'<text x="{_BOXES + 54}" y="{y + 20}" text-anchor="middle" fill="#ffffff">{number}</text>')
    parts.append(f'<text x="{_BOXES + 76}" y="{y + 20}" fill="#20242c">{escape(words)}</text>')
    return parts


if __name__ == "__main__":
    OUT.write_text(picture(), encoding="utf-8")

"""Text of others made harmless for where it goes: a terminal, a spreadsheet, JSON that someone prints.

Titles, ids and file names come from anywhere. Pages, Markdown and LaTeX have their own escapes beside their renderers.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath, PureWindowsPath
from typing import Any

# C0, DEL and C1; line and paragraph separators; bidirectional embeddings, overrides and isolates; halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = re.compile("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_ADDRESS = r"[A-Za-z][A-Za-z0-9+.-]+:/+"
_BEGINS = rf"{_ADDRESS}|~[\w.-]*[/\\]|[A-Za-z]:[/\\]|\.\.[/\\]|[/\\]{{1,2}}(?=[\w.~-])"
_PLACE = re.compile(rf"""(?<![\w.:/\\-])({_BEGINS})[^\s,;"'()\[\]{{}}<>|]*""")
_PICTURES, _LAST_C1 = 0x2400, 0x9F
_RAW_BYTES = range(0xDC80, 0xDD00)  # how Python holds bytes of a file name that are no UTF-8


def visible(text: object, *, keep: str = "") -> str:
    r"""Return text in which what a terminal would obey is seen instead: control characters, escape sequences, bidi overrides.

    Args:
        text: anything; ``str`` makes it text.
        keep: control characters that stay, such as a line break in a cell.

    >>> visible("\x1b[31mred"), visible("a\u202eb"), visible("f\udcff")
    ('␛[31mred', 'a\\u202eb', 'f\\xff')
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _picture(ord(found[0])), str(text))


def _picture(code: int) -> str:
    if code < ord(" "):
        return chr(_PICTURES + code)
    if code in _RAW_BYTES:
        return f"\\x{code - _RAW_BYTES.start + 0x80:02x}"
    return f"\\x{code:02x}" if code <= _LAST_C1 else f"\\u{code:04x}"


def without_places(text: str) -> str:
    """Return text in which full paths and addresses, also those after ``=``, are their last parts alone.

    What is published says nothing of folders, hosts, accounts and passwords.

    >>> without_places("--data=/home/ann/my shop/a.csv"), without_places("hdfs://ann:secret@host/shop?user=ann"), without_places("a/b")
    ('--data=a.csv', 'shop', 'a/b')
    >>> without_places("[/home/ann/a.csv, ../ann/b.csv]: 2 of 3 items")
    '[a.csv, b.csv]: 2 of 3 items'
    """
    name, sign, value = text.rpartition("=")
    if _is_place(text):
        return _last_part(text)
    return _PLACE.sub(lambda found: _last_part(found[0]), f"{name}{sign}{_last_part(value)}" if _is_place(value) else text)


def note_without_places(note: str) -> str:
    """Return a note of what was read, ``FILE: what: more``, in which a file is its name alone, also where its folders hold spaces.

    >>> note_without_places("/home/ann/my shop/a.csv: 3 rows: dropped")
    'a.csv: 3 rows: dropped'
    """
    return ": ".join(map(without_places, note.split(": ")))


def _is_place(text: str) -> bool:
    """Say whether a text as a whole is one; what a message says behind it is none of it."""
    starts = PurePath(text).is_absolute() or PureWindowsPath(text).is_absolute() or re.match(rf"{_ADDRESS}|~", text)
    return bool(starts) and ": " not in text


def _last_part(place: str) -> str:
    bare = re.sub(r"[?#].*", "", place) if re.match(_ADDRESS, place) else place
    return re.split(r"[/\\]", bare.rstrip("/\\"))[-1].rpartition("@")[2]


def csv_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula: such a text gets a leading ``'``. Numbers stay numbers.

    >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell(-0.5), csv_cell("A")
    ("'=1+1", '-0.5', -0.5, 'A')
    """
    if not isinstance(value, str):
        return value
    text = visible(value, keep="\t\r\n")
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def csv_text(rows: Iterable[Sequence[Any]], *, raw: bool = False) -> str:
    """Return rows as CSV; ``raw`` writes every cell as it is, for a program that reads them back."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows(row if raw else [csv_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """Return JSON that means the same and holds nothing that a terminal would obey; without ``indent`` it is one line."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    return _UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)

"""Text of others made harmless for where it goes: a terminal, a spreadsheet, JSON that someone prints.

Titles, ids and file names come from anywhere. Pages, Markdown and LaTeX have their own escapes beside their renderers.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

# C0, DEL and C1; line and paragraph separators; bidirectional embeddings, overrides and isolates; halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = re.compile("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
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

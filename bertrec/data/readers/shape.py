"""What separates the columns of a delimited file, and whether its first line names them."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from bertrec.core.errors import DataError
from bertrec.data.readers.quotes import split_cells

IDS = frozenset({"user_id", "item_id"})
NAMES = {"tab": "\t", "\\t": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
_CANDIDATES = (",", "\t", ";", "|", "::", " ")
_START, _LINES = 1 << 20, 50
_NUMBER = re.compile(r"\s*[-+]?\d+(?:[.,]\d*)?(?:[eE][-+]?\d+)?\s*")
# A column's name is a word or a few; what is longer is a file without line ends, or no header.
_LONGEST = 1000


def first_lines(content: bytes) -> list[bytes]:
    """Return the first lines that are not empty, without their ends."""
    return [line for line in content[:_START].split(b"\n", _LINES)[:_LINES] if line.strip()]


def cells_of(line: bytes, separator: str) -> list[str]:
    """Split one line, take the quotation marks of its values off; runs of spaces are one separator."""
    text = line.rstrip(b"\r").decode(errors="replace")
    if separator == " ":
        return text.split()
    if len(separator) > 1:
        return text.split(separator)
    cells = [cell.decode(errors="replace") for cell in split_cells(text.encode(), separator.encode())]
    return [cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell for cell in cells]


def find_separator(content: bytes, usual: str, known: Collection[str]) -> str:
    """Return what separates columns: first what makes an id column of the header, then the usual one, then what fits every line.

    Args:
        content: UTF-8.
        usual: of files of that name.
        known: names of columns that are expected.
    """
    lines = first_lines(content)
    if not lines:
        return usual

    def merit(candidate: str) -> tuple[bool, bool, bool, int]:
        rows = [cells_of(line, candidate) for line in lines if line.count(b'"') % 2 == 0]
        width = len(rows[0]) if rows else 1
        several = width > 1 and (candidate != " " or _spaced(rows, known))
        named = several and not set(known).isdisjoint(name.strip() for name in rows[0])
        same = several and all(len(row) == width for row in rows)
        return named, same, several and candidate == usual, width if several else 0

    best = max(_CANDIDATES, key=lambda candidate: (*merit(candidate), candidate == usual))
    return best if merit(best)[-1] else usual


def _spaced(rows: list[list[str]], known: Collection[str]) -> bool:
    """Say whether spaces separate columns: texts hold spaces too, so that only ids' names or numbers alone say so."""
    return not set(known).isdisjoint(rows[0]) or all(is_number(cell) for row in rows for cell in row)


def is_number(cell: str) -> bool:
    """Say whether a cell holds a number and nothing else."""
    return bool(_NUMBER.fullmatch(cell))


def looks_like_data(names: Collection[str], known: Collection[str]) -> bool:
    """Say whether a first line holds values: a number, and no name that is expected."""
    return set(known).isdisjoint(names) and any(is_number(name) for name in names)


def check_header(names: list[str], path: Path) -> None:
    """Check that names of columns are short and different.

    Raises:
        DataError: they are not.
    """
    if longest := [name for name in names if len(name) > _LONGEST]:
        what = f"names a column in {len(longest[0]):,} characters ({longest[0][:20]!r}…)"
        mend = "is it a header, and do its lines end? without a header set  header: false  in a YAML description (--no-header)"
        raise DataError(f"{path}: line 1 {what}: {mend}")
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{path}: the header names column '{repeated[0]}' twice")

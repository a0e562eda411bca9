"""Whether the quotation marks of a CSV file pair up, so that no row is swallowed by a value that never closes.

Arrow (as every CSV reader) honours a mark at the start of a value only, and takes all up to the closing one as text, line ends included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
_MARK, _BLOCK = 34, 1 << 26
_SAMPLE, _SURE = 1 << 16, 5
_CLASSES = (re.compile(rb"[0-9]"), re.compile(rb"[a-z]"), re.compile(rb"[A-Z]"), re.compile(rb"\s"), re.compile(rb"[^0-9A-Za-z\s]"))
_NUMBER = re.compile(rb"\s*[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?\s*")
_KEYS = "quotes: none  (marks are plain characters),  backslash  or  doubled  (it is right as it is) in a YAML description, or --quotes"


def problem_of(content: bytes, delimiter: bytes, width: int, *, start: int = 0, trusted: bool = False) -> str | None:
    r"""Say which quotation mark swallows rows or cannot be right; ``None`` where all pair up.

    A file without marks, or whose marks all open and close values, is looked at as arrays alone.

    Args:
        content: UTF-8, of lines that end in ``\n``.
        delimiter: one byte.
        width: number of columns.
        start: where the rows start, after the header.
        trusted: marks that pair up are right, whatever they enclose.
    """
    marks = _positions(content, _MARK) if b'"' in content else np.zeros(0, np.int64)
    if not len(marks):
        return None
    if not _all_pair_up(content, marks, delimiter):
        return _first_fault(content, marks, delimiter, trusted=trusted)
    return None if trusted else _swallowed_rows(content, marks, delimiter, width, start)


def without_backslashes(content: bytes, delimiter: bytes) -> bytes | None:
    r"""Write ``\"`` within quoted values as ``""``; ``None`` where a value does not close so."""
    pattern = re.compile(_opens(delimiter) + rb'((?:[^"\\]|\\.)*+)("(?=[\r\n%b]|\Z))?' % re.escape(delimiter), re.DOTALL)
    unclosed = []

    def doubled(found: re.Match[bytes]) -> bytes:
        if found[2] is None:
            unclosed.append(found.start())
        return b'"' + re.sub(rb'\\(["\\])', lambda mark: b'""' if mark[1] == b'"' else b"\\", found[1]) + b'"'

    translated = pattern.sub(doubled, content)
    return None if unclosed else translated


def split_cells(line: bytes, delimiter: bytes) -> list[bytes]:
    """Split a line at the delimiters outside of quoted values; the marks stay."""
    if b'"' not in line:
        return line.split(delimiter)
    return re.findall(rb'(?:\A|%b)("(?:[^"]|"")*+"[^%b]*|[^%b]*)' % ((re.escape(delimiter),) * 3), line)


def _opens(delimiter: bytes) -> bytes:
    return rb'(?:(?<=[\r\n%b])|\A)"' % re.escape(delimiter)


def _positions(content: bytes, byte: int) -> IntArray:
    raw = np.frombuffer(content, np.uint8)
    found = [np.flatnonzero(raw[begin : begin + _BLOCK] == byte) + begin for begin in range(0, len(raw), _BLOCK)]
    return np.concatenate(found).astype(np.int64)


def _all_pair_up(content: bytes, marks: IntArray, delimiter: bytes) -> bool:
    """Say whether each odd mark opens a value and each even one closes it, or two of them are one within a value."""
    if len(marks) % 2:
        return False
    raw = np.frombuffer(b"\n" + content + b"\n", np.uint8)
    beside = np.frombuffer(b'\r\n"' + delimiter, np.uint8)
    return bool(np.isin(raw[marks[0::2]], beside).all() and np.isin(raw[marks[1::2] + 2], beside).all())


def _line(content: bytes, place: int) -> int:
    return content.count(b"\n", 0, place) + 1


def _first_fault(content: bytes, marks: IntArray, delimiter: bytes, *, trusted: bool) -> str | None:
    """Walk over the quoted values of a file in which marks stand elsewhere too."""
    ends = (b"", b"\n", b"\r", delimiter)
    begun, closed = [], []
    for found in re.finditer(_opens(delimiter) + rb'[^"]*+(?:""[^"]*+)*+("?)', content):
        place, end = found.start(), found.end()
        if not found[1]:
            return f"line {_line(content, place)}: a quotation mark opens here and never closes: {_mend()}"
        if content[end : end + 1] not in ends:
            there = f"closes on line {_line(content, end)} before {content[end : end + 20].decode(errors='replace').splitlines()[0]!r}"
            return f"line {_line(content, place)}: a quotation mark opens here and {there}: {_mend()}"
        begun.append(place)
        closed.append(end - 1)
    return None if trusted else _stray(content, marks, np.array(begun, np.int64), np.array(closed, np.int64))


def _stray(content: bytes, marks: IntArray, begun: IntArray, closed: IntArray) -> str | None:
    """Say which mark within an unquoted value shows that the quoted ones cannot be trusted."""
    before = np.searchsorted(begun, marks, side="right") - 1
    inside = (before >= 0) & (marks <= (closed[before] if len(closed) else marks - 1))
    stray = marks[~inside]
    lines = _positions(content, 10)
    first, last, at = (np.searchsorted(lines, places) for places in (begun, closed, stray))
    if (first != last).any():
        opens = int(begun[np.argmax(first != last)])
        why = f"the value spans lines, while a mark stands within an unquoted value on line {int(at[0]) + 1}"
        return f"line {_line(content, opens)}: a quotation mark opens here, and {why}: {_mend()}"
    doubled = np.append(np.diff(stray) == 1, False)
    wrong = np.isin(at, first) | doubled
    if not wrong.any():
        return None
    return f"line {int(at[np.argmax(wrong)]) + 1}: a quotation mark stands within a value that none opens: {_mend()}"


def _mend() -> str:
    return f"correct it, or set  {_KEYS}"


def _swallowed_rows(content: bytes, marks: IntArray, delimiter: bytes, width: int, start: int) -> str | None:
    """Say which quoted value holds lines that look like rows of the table."""
    opening, closing = marks[0::2], marks[1::2]
    # Two adjacent marks within a value are one: what closes there goes on.
    first = np.flatnonzero(np.append(True, opening[1:] - 1 != closing[:-1]))
    begun, closed = opening[first], closing[np.append(first[1:] - 1, len(closing) - 1)]
    lines = _positions(content, 10)
    spans = np.searchsorted(lines, begun) != np.searchsorted(lines, closed)
    columns: _Columns | None = None
    for place, end in zip(begun[spans].tolist(), closed[spans].tolist(), strict=True):
        if content.count(delimiter, place, end) != (width - 1) * content.count(b"\n", place, end):
            continue
        columns = columns or _Columns.of(_sample(content, delimiter, width, start, begun[spans], closed[spans]), width)
        if columns.fit(_lines_of(content, place, end, delimiter)):
            what = f"closes on line {_line(content, end)}, and each line between looks like a row"
            return f"line {_line(content, place)}: a quotation mark opens here and {what}: {_mend()}"
    return None


def _lines_of(content: bytes, place: int, end: int, delimiter: bytes) -> list[list[bytes]]:
    """Return the cells of each line that a value touches, as they are without its two marks."""
    begin, stop = content.rfind(b"\n", 0, place) + 1, content.find(b"\n", end)
    plain = content[begin:place] + content[place + 1 : end] + content[end + 1 : len(content) if stop < 0 else stop]
    return [split_cells(line.rstrip(b"\r"), delimiter) for line in plain.split(b"\n")]


def _sample(content: bytes, delimiter: bytes, width: int, start: int, begun: IntArray, closed: IntArray) -> Iterator[list[bytes]]:
    """Yield the first rows that no value with a line end touches."""
    place = start
    for line in content[start : start + _SAMPLE].split(b"\n")[:-1]:
        after = np.searchsorted(closed, place)
        apart = after == len(begun) or begun[after] >= place + len(line)
        cells = split_cells(line.rstrip(b"\r"), delimiter) if apart else []
        place += len(line) + 1
        if len(cells) == width:
            yield cells


def _classes(cell: bytes) -> frozenset[int]:
    return frozenset(number for number, kind in enumerate(_CLASSES) if kind.search(cell))


@dataclass(frozen=True)
class _Column:
    """What all cells of a column have in common."""

    quoted: bool
    numeric: bool
    trimmed: bool
    classes: frozenset[int]

    @classmethod
    def of(cls, cells: Sequence[bytes]) -> _Column:
        return cls(
            quoted=len(cells) >= _SURE and all(cell.startswith(b'"') for cell in cells),
            numeric=all(_NUMBER.fullmatch(cell.strip(b'"')) for cell in cells),
            trimmed=all(cell == cell.strip() for cell in cells),
            classes=frozenset().union(*map(_classes, cells)) if len(cells) >= _SURE else frozenset(range(len(_CLASSES))),
        )

    def fits(self, cell: bytes) -> bool:
        if (self.trimmed and cell != cell.strip()) or (self.numeric and not _NUMBER.fullmatch(cell.strip(b'"'))):
            return False
        return _classes(cell) <= self.classes


@dataclass(frozen=True)
class _Columns:
    columns: tuple[_Column, ...]
    width: int

    @classmethod
    def of(cls, rows: Iterator[list[bytes]], width: int) -> _Columns:
        return cls(tuple(_Column.of(column) for column in zip(*rows, strict=True)), width)

    def fit(self, rows: Sequence[Sequence[bytes]]) -> bool:
        """Say whether every line could be a row; with no row to compare with, by the number of cells of two and more."""
        if any(len(row) != self.width for row in rows) or (not self.columns and len(rows) < 3):
            return False
        if any(column.quoted for column in self.columns):  # the lines within a value have no marks: they are none of this writer's rows
            return False
        return all(column.fits(cell) for row in rows for column, cell in zip(self.columns, row, strict=False))

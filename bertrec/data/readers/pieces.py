"""A long text file in pieces of whole lines, so that it is never held as a whole."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bertrec.core.errors import DataError
from bertrec.data.readers.content import read_bytes

PIECE = 1 << 24
"""Bytes, about, of a piece."""
_MOST_OPEN = 4  # pieces that a quoted value may go on for
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # UTF-16 and UTF-32, where a line end is no byte


def pieces_of(path: Path, *, quoted: bool, size: int = PIECE) -> Iterator[bytes]:
    """Yield the bytes of a file, unpacked where its name ends in ``.gz``, in pieces that end with lines.

    Args:
        path: the file.
        quoted: whether a line end may stand between quotation marks; a piece then ends where every mark so far was closed.
        size: of a piece; a file that is not much longer, or whose lines cannot be told, is one piece.

    Raises:
        DataError: it is missing, unreadable, damaged or empty.
    """
    if not path.is_file() or (path.suffix != ".gz" and path.stat().st_size <= 2 * size):
        yield read_bytes(path)
        return
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield from _cut(path, stream.read, quoted, size)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _cut(path: Path, read: Any, quoted: bool, size: int) -> Iterator[bytes]:
    held: bytes = read(size)
    if not held.strip() or held.startswith(_WIDE) or len(held) < size or b"\n" not in held:
        yield read_bytes(path)
        return
    while more := read(size):
        end = _line_end(held, quoted)
        if end:
            yield held[:end]
        elif len(held) > _MOST_OPEN * size:
            raise DataError(f"{path}: a quotation mark is not closed within {_MOST_OPEN * size:,} bytes: close it, or write it as two")
        held = held[end:] + more
    if held.strip():
        yield held


def _line_end(held: bytes, quoted: bool) -> int:
    """Return where the last whole line ends, 0 where there is none."""
    end = held.rfind(b"\n") + 1
    marks = held.count(b'"', 0, end) if quoted else 0
    while end and marks % 2:
        before = held.rfind(b"\n", 0, end - 1) + 1
        marks -= held.count(b'"', before, end)
        end = before
    return end

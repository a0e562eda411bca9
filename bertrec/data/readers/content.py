"""A file's bytes as UTF-8 text, and the form that a table was written in."""

from __future__ import annotations

import codecs
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertrec.core.errors import DataError
from bertrec.data.readers.unpack import unpacked

Quotes = Literal["doubled", "backslash", "none"]
Layout = Literal["rows", "sequences"]
# The longer marks first: that of UTF-32 begins as that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MEND = "--encoding {name}  (encoding: {name}  in a YAML description)"


@dataclass(frozen=True)
class Form:
    """How tables were written, as far as it was said; ``None`` is looked for in the file.

    Attributes:
        separator: what stands between columns; ``space`` and ``tab`` are names of theirs.
        encoding: of all files.
        header: the first line names the columns; without it they are numbered from 1.
        quotes: how a quotation mark within a quoted value is written; ``none``: marks are plain characters.
        layout: a line is one interaction, or a user and the items in order.
    """

    separator: str | None = None
    encoding: str | None = None
    header: bool | None = None
    quotes: Quotes | None = None
    layout: Layout | None = None


def read_bytes(path: Path) -> bytes:
    """Read a file, unpacked where its name ends in ``.gz``.

    Raises:
        DataError: it is missing, unreadable, damaged or empty.
    """
    try:
        content = unpacked(path) if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not content.strip():
        raise DataError(f"{path}: the file is empty")
    return content


def as_utf8(content: bytes, path: Path, *, fallback: str | None = None, encoding: str | None = None) -> bytes:
    r"""Return the bytes as UTF-8 without a byte-order mark; where the first line ends in ``\r`` alone, all end in ``\n``.

    Args:
        content: the bytes of the file.
        path: its name for messages.
        fallback: the encoding to take where they are no UTF-8 (old data sets that were published so).
        encoding: the encoding; ``None``: the one that a byte-order mark says, else UTF-8.

    Raises:
        DataError: they are not of that encoding (the line is named), there is none of that name, or a mark is all there is.
    """
    mark, marked = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", None))
    if encoding is not None or marked not in (None, "utf-8"):
        content = _decoded(content, encoding or str(marked), path).removeprefix("\ufeff").encode()
    else:
        content = _checked(content, path, fallback).removeprefix(mark)
    if not content.strip():
        raise DataError(f"{path}: the file is empty")
    first = content[: content.find(b"\n")] if b"\n" in content else content
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in first.rstrip(b"\r") else content


def _decoded(content: bytes, encoding: str, path: Path) -> str:
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise DataError(f"{path}: encoding '{encoding}' is unknown: name one such as utf-8, utf-16, cp1252 or latin-1") from error
    except UnicodeError as error:
        raise DataError(f"{path}: the file is not written in {encoding} ({error}): name another encoding") from error


def _checked(content: bytes, path: Path, fallback: str | None) -> bytes:
    """Check that bytes are UTF-8; else turn them from ``fallback``."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        if fallback:
            return content.decode(fallback).encode()
        line = content.count(b"\n", 0, error.start) + 1
        mend = f"save the file as UTF-8, or say how it was written, such as  {_MEND.format(name='cp1252')}"
        raise DataError(f"{path}: line {line} is not UTF-8 (byte 0x{content[error.start]:02x}): {mend}") from error
    start = content[:4096]
    if start.count(b"\0") * 4 > len(start):
        name = "utf-16-be" if start[:1] == b"\0" else "utf-16-le"
        raise DataError(f"{path}: every other byte is 0, as in UTF-16: say so with  {_MEND.format(name=name)}")
    return content

"""Gzip files, unpacked as far as they are data and not a bomb."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

from bertrec.core.errors import DataError

_CHUNK = 1 << 22
ALWAYS = 1 << 26
"""Bytes that are unpacked whatever they were packed to."""
RATIO = 200
"""Beyond that, how many times as many bytes may come out as went in: tables have 3 to 30, a bomb a thousand."""


def unpacked(path: Path) -> bytes:
    """Return the content of a gzip file.

    Raises:
        DataError: it grows so much that it can be no table.
        OSError, EOFError, zlib.error: it is damaged or cannot be read.
    """
    out = io.BytesIO()
    with path.open("rb") as packed, gzip.open(packed) as stream:
        while chunk := stream.read(_CHUNK):
            out.write(chunk)
            if out.tell() > ALWAYS and out.tell() > RATIO * packed.tell():
                raise DataError(f"{path}: more than {RATIO} times as large unpacked: unpack it yourself, if it is a table")
    return out.getvalue()

"""Data frames instead of files: the same names of columns, the same recognition, the same notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import pyarrow as pa

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError, DataError
from bertrec.data.frames import eager
from bertrec.data.readers.raw import RawData
from bertrec.data.readers.tables import check_taken, holders

_KEYS = {"interactions": ("user_id", "item_id"), "items": ("item_id",), "users": ("user_id",)}


def read_frames(name: str, frames: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> RawData:
    """Take frames as tables are read from files.

    Args:
        name: of the data set.
        frames: ``interactions``, ``items`` and perhaps ``users``: pandas, polars, PyArrow or whatever narwhals knows.
        columns: the frames' names of our columns, such as ``{"user_id": "uid"}``; a name counts in every frame that has it.

    Raises:
        DataError: something is no frame, or no frame has a column that ``columns`` names.
        ConfigError: ``columns`` is no mapping.
    """
    expect(columns, Mapping, "from_frames: columns", optional=True, error=ConfigError, mend="{'user_id': NAME, 'item_id': NAME}")
    sources = {role: f"the frame of {role}" for role in frames}
    held = {role: eager(frame, sources[role]) for role, frame in frames.items()}
    for ours, theirs in {str(ours): str(theirs) for ours, theirs in (columns or {}).items()}.items():
        for role in holders({role: frame.columns for role, frame in held.items()}, ours, theirs, name):
            check_taken(held[role].columns, ours, theirs, sources[role])
            held[role] = held[role].rename({theirs: ours})
    for role, frame in held.items():
        _check_index(frame, _KEYS[role], sources[role])
    raw = RawData(name, "frames", pa.table({}), sources=sources, untyped=False)
    for role, frame in held.items():
        setattr(raw, role, frame.to_native())
    return raw


def _check_index(frame: nw.DataFrame[Any], keys: tuple[str, ...], source: str) -> None:
    """Name the mend where an id is the index of a pandas frame and so no column."""
    index = getattr(frame.to_native(), "index", None)
    for name in keys:
        if name not in frame.columns and name in (getattr(index, "names", None) or ()):
            raise DataError(f"{source}: '{name}' is its index and no column: give frame.reset_index()")

"""The parts of a job's input, each with a name and with what tells it from a later one of that name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bertrec.core.errors import DataError
from bertrec.data.places import Place, files_of, held_by, place_of, reached
from bertrec.data.readers.parts import Part, is_parquet, is_parts, like_parts

FOOTERS_AT_ONCE = 16
"""Footers are read side by side: each may be a request to another machine."""


@dataclass(frozen=True)
class SourcePart:
    """One part of the input, as it is sent to a task.

    Attributes:
        place: of all parts, as it was given.
        path: of this one in its file system.
        name: below the folder of the input; the output part has the same one.
        state: its size and time, which are others once it was written anew.
        rows: how many it holds.
    """

    place: str
    path: str
    name: str
    state: str
    rows: int

    def opened(self) -> Part:
        """Return it as a file to read."""
        return Part(place_of(self.place, "the input"), self.path)


def same_everywhere(value: str | Path, what: str) -> Place:
    """Return a place as every machine finds it: tasks have working directories of their own.

    Raises:
        DataError: it is neither a path nor an address.
    """
    place = place_of(value, what)
    return place.absolute() if isinstance(place, Path) else place


def data_everywhere(data: str | None) -> str | None:
    """Return what names data, as `same_everywhere`; the name of a data set that is installed stays."""
    return str(Path(data).absolute()) if data is not None and Path(data).exists() else data


def source_parts(place: Place, needed: Collection[str], option: str) -> tuple[list[Part], list[SourcePart]]:
    """Return the parts of a place, as files and as they are sent; footers are read, several at a time.

    Args:
        place: a Parquet file, a folder of such, or a pattern of names.
        needed: columns that all parts have, or none.
        option: that named it, for messages.

    Raises:
        DataError: it is something else, or the parts differ; the text names one.
    """
    if not is_parquet(place):
        raise DataError(f"{option} {place}: a cluster reads Parquet: name such a file, a folder of parts or a pattern of names")
    if not is_parts(place) and not place.is_file():
        raise DataError(f"{option} {place}: no such file or folder")
    parts = like_parts(place, needed, threads=FOOTERS_AT_ONCE)
    return parts, _sent(place, parts)


def _sent(place: Place, parts: Sequence[Part]) -> list[SourcePart]:
    base = files_of(place)[0] if is_parts(place) else parts[0].path.rpartition("/")[0]
    system = held_by(place)[0]
    with reached(place), ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        infos = list(pool.map(lambda part: system.get_file_info(part.path), parts))
    return [
        SourcePart(str(place), part.path, _named(part.path[len(base) :]), f"{info.size}:{info.mtime_ns}", part.rows)
        for part, info in zip(parts, infos, strict=True)
    ]


def _named(path: str) -> str:
    name = path.lstrip("/")
    return name if name.endswith(".parquet") else f"{name}.parquet"

"""The folder of a job's output.

DST/NAME.parquet      a part, of the same name below DST as the input part below SRC; whole once it has its name
DST/_manifest.json    what the parts were made with, from the beginning
DST/_SUCCESS          once all parts are there
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertrec.core.errors import BertrecError, DataError
from bertrec.core.parsing import parse_json
from bertrec.core.shown import json_text
from bertrec.data.places import Address, Place, files_of, held_by, reached, shown

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MANIFEST, SUCCESS = "_manifest.json", "_SUCCESS"
_JOB, _SOURCE, _COUNTS = "bertrec.job", "bertrec.source", "bertrec.counts"
Counts = dict[str, int]


class PartNotWrittenError(BertrecError):
    """A part cannot be written from here; another machine may have room and access."""


@dataclass(frozen=True)
class Output:
    """The folder ``place``."""

    place: Place

    @property
    def _held(self) -> tuple[pa.fs.FileSystem, str]:
        system, path = held_by(self.place)
        return system, path.rstrip("/")

    def manifest(self) -> dict[str, Any] | None:
        """Return what the parts were made with; None where nothing was begun.

        Raises:
            BertrecError: the place is a file, or holds something else.
        """
        if self.place.is_file():
            raise BertrecError(f"--out {self.place} is a file, not a folder")
        if not self.place.is_dir():
            return None
        system, path = self._held
        with reached(self.place):
            held = {info.base_name for info in system.get_file_info(_children(path)) if not info.base_name.startswith(".")}
            if MANIFEST not in held:
                if held:
                    raise BertrecError(f"--out {self.place} holds something else than a job's output: choose another folder")
                return None
            with system.open_input_stream(f"{path}/{MANIFEST}") as stream:
                text = stream.read().decode("utf-8", "replace")
        try:
            found = parse_json(text)
        except ValueError as error:
            raise BertrecError(f"{self.place / MANIFEST} is damaged: remove the folder, or choose another one") from error
        return found if isinstance(found, dict) else {}

    def write_manifest(self, values: Mapping[str, Any]) -> None:
        """Write what the parts are made with."""
        with self._new(MANIFEST) as stream:
            stream.write((json_text(values) + "\n").encode())

    def finish(self) -> None:
        """Mark the output as whole, and remove what killed tasks left."""
        system, path = self._held
        with reached(self.place):
            for info in system.get_file_info(_children(path, recursive=True)):
                if info.base_name.startswith(".") and info.base_name.endswith(".partial"):
                    with suppress(OSError):
                        system.delete_file(info.path)
        with self._new(SUCCESS):
            pass

    def begin(self) -> None:
        """Take the mark away: parts are to come."""
        system, path = self._held
        with suppress(OSError):
            system.delete_file(f"{path}/{SUCCESS}")

    def names(self) -> set[str]:
        """Return the names of the parts that are there."""
        if not self.place.is_dir():
            return set()
        base, paths = files_of(self.place)
        return {path[len(base) :].lstrip("/") for path in paths}

    def counts(self, name: str, *, job: str, source: str) -> Counts | None:
        """Return the counts of a part that was made by a job of an input as it is now; None where there is no such part."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        system, path = self._held
        try:
            with system.open_input_file(f"{path}/{name}") as stream:
                said = pq.read_metadata(stream).metadata or {}
            if said.get(_JOB.encode()) != job.encode() or said.get(_SOURCE.encode()) != source.encode():
                return None
            found: Counts = json.loads(said[_COUNTS.encode()])
        except (OSError, pa.ArrowException, KeyError, ValueError):
            return None
        return found

    @contextmanager
    def part(self, name: str, schema: pa.Schema, *, job: str, source: str, model_hash: str) -> Iterator[tuple[pq.ParquetWriter, Counts]]:
        """Yield what writes a part, and the counts to fill, which its footer will hold.

        Raises:
            PartNotWrittenError: it cannot be; nothing of that name is there, or what was.
        """
        import pyarrow.parquet as pq

        counts: Counts = {}
        with self._new(name) as stream, pq.ParquetWriter(stream, schema) as writer:
            yield writer, counts
            said = {_JOB: job, _SOURCE: source, "bertrec.model_hash": model_hash, _COUNTS: json.dumps(counts)}
            writer.add_key_value_metadata(said)

    @contextmanager
    def _new(self, name: str) -> Iterator[Any]:
        """Yield a stream into a file of another name, which it takes when all went well."""
        system, base = self._held
        folder, _, last = f"{base}/{name}".rpartition("/")
        temporary = f"{folder}/.{last}.{uuid.uuid4().hex[:8]}.partial"
        try:
            system.create_dir(folder, recursive=True)
            with system.open_output_stream(temporary) as stream:
                yield stream
            if isinstance(self.place, Address):  # not all of these file systems replace
                with suppress(OSError):
                    system.delete_file(f"{folder}/{last}")
            system.move(temporary, f"{folder}/{last}")
        except OSError as error:
            where, what = shown(self.place, f"{folder}/{last}"), " ".join(str(error).split())
            mend = "make room or give access, and run the same command again: parts that are done stay"
            raise PartNotWrittenError(f"cannot write {where}: {what:.200}: {mend}") from error
        finally:
            with suppress(OSError):
                system.delete_file(temporary)


def check_output(output: Output, manifest: Mapping[str, Any]) -> None:
    """See that a folder is empty, or holds the output of the same job.

    Raises:
        BertrecError: it holds something else; the text names what differs.
    """
    found = output.manifest()
    if found is None:
        return
    for name, value in {"kind": manifest["kind"], "model_hash": manifest["model_hash"], **manifest["settings"]}.items():
        there = found.get(name, found.get("settings", {}).get(name) if isinstance(found.get("settings"), dict) else None)
        if there != value:
            what = "another model" if name == "model_hash" else f"another {name} ({there!s:.60}, not {value!s:.60})"
            raise DataError(f"--out {output.place} holds the output of {what}: choose another folder, or remove that one")


def _children(path: str, *, recursive: bool = False) -> Any:
    from pyarrow.fs import FileSelector

    return FileSelector(path, recursive=recursive, allow_not_found=True)

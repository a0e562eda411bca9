"""What the folders and files that settings name as encoders hold, so that work that goes on sees where one was changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bertrec.core.errors import BertrecError
from bertrec.core.files import sha256_file, sha256_text
from bertrec.data.readers.vectors import files_beside, is_vector_file

# What says what an encoder computes; a note or a card beside it may change.
_READ = frozenset({".json", ".txt", ".model", ".safetensors"})


def encoder_contents(settings: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Return the SHA-256 of what each local encoder among flat settings holds, by its name; names of a hub have none.

    Args:
        settings: names and values; a name may come with several values, as in a space.
    """
    names = {value for name, value in settings if name.rpartition(".")[2] == "name" and isinstance(value, str)}
    return {name: sha256_text(*_stamps(found)) for name in sorted(names) if (found := _files(Path(name).expanduser()))}


def _files(path: Path) -> list[Path]:
    if is_vector_file(path.name):
        return [file for file in (path, *files_beside(path)) if file.is_file()]
    return sorted(file for file in path.rglob("*") if file.suffix in _READ and file.is_file()) if path.is_dir() else []


def _stamps(files: Iterable[Path]) -> Iterable[str]:
    return (part for file in files for part in (file.name, sha256_file(file)))


def check_unchanged(former: Mapping[str, str], now: Mapping[str, str], what: str) -> None:
    """See that what is gone on with reads the encoders that it was begun with; one that only one of them names is passed over.

    Args:
        former: what `encoder_contents` said at first.
        now: what it says now.
        what: names the work, with a verb, for the message.

    Raises:
        BertrecError: an encoder was changed since.
    """
    for name, contents in now.items():
        if former.get(name, contents) != contents:
            raise BertrecError(f"encoder {name} was changed since {what}: put it back as it was, or choose another folder")

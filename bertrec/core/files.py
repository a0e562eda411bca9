"""Files that are either whole or absent: written under a temporary name beside the target, which it takes in one step."""

from __future__ import annotations

import hashlib
import os
import reprlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any

from bertrec.core.checks import expect_path
from bertrec.core.errors import BertrecError, ConfigError, ModelError
from bertrec.core.parsing import YAML_BYTES, parse_json, parse_yaml
from bertrec.core.partial import made_beside, recover, replace_folder
from bertrec.core.shown import json_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_CHUNK = 1 << 20


@contextmanager
def disk_errors_named(target: Path) -> Iterator[None]:
    """Turn the errors of a disk that is full, or of a place that cannot be written, into one BertrecError that names ``target``."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename != str(target):
            raise
        raise BertrecError(f"cannot write {target}: {error.strerror or error}; what was there before is unchanged") from error
    except Exception as error:
        # By its name, for safetensors is not imported where no tensors are written.
        if type(error).__name__ != "SafetensorError" or "os error" not in str(error):
            raise
        raise BertrecError(f"cannot write {target}: {error}; what was there before is unchanged") from error


@contextmanager
def atomic_file(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that replaces it only when the block ends without an error.

    A link stays: what it names is replaced. A pipe or a device is written to.

    Raises:
        BertrecError: the disk is full or the folder cannot be written; the former file is left as it was.
    """
    target = expect_path(target, "the file to write", error=BertrecError)
    with disk_errors_named(target), _beside_file(target) as (temporary, place):
        yield temporary
        if place is None:
            _copy_into(temporary, target)
        else:
            os.replace(temporary, place)


@contextmanager
def _beside_file(target: Path) -> Iterator[tuple[Path, Path | None]]:
    """Yield a temporary file and what it is to replace: None for a pipe or a device, which is no file to be replaced."""
    # /dev/stdout may lead to a file that others write to.
    if str(target).startswith("/dev/") or (target.exists() and not target.is_file() and not target.is_dir()):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / "content", None
        return
    place = recover(target)
    with made_beside(place) as temporary:
        yield temporary, place


def _copy_into(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("ab") as written:
        shutil.copyfileobj(read, written)


@contextmanager
def atomic_folder(target: str | Path, *, marker: str | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside ``target`` that replaces it, whole, when the block ends without an error.

    A link stays: the folder that it names is replaced. What a killed process left beside the target is removed first.

    Args:
        target: the folder.
        marker: a file that every folder of this kind holds; a folder with other content is then never replaced.

    Raises:
        BertrecError: ``target`` is a file or holds something else, the disk is full, or the folder cannot be written.
    """
    target = expect_path(target, "the folder to write", error=BertrecError).absolute()
    place = recover(target)
    with disk_errors_named(target):
        if place.exists() and not place.is_dir():
            raise BertrecError(f"{target} is a file; choose the name of a folder")
        if marker and place.is_dir() and any(place.iterdir()) and not (place / marker).exists():
            raise BertrecError(f"{target} holds something else and is not replaced; choose another folder")
        with made_beside(place, folder=True) as temporary:
            yield temporary
            replace_folder(temporary, place)


def room_for(shape: tuple[int, int], scratch: Path | None) -> npt.NDArray[np.float32]:
    """Return an array to fill, in memory, or mapped from a file in the folder ``scratch``; the file has no name, and goes with the array.

    Raises:
        BertrecError: the disk is full or the folder cannot be written.
    """
    import numpy as np

    if scratch is None or not shape[0]:
        return np.empty(shape, np.float32)
    with disk_errors_named(scratch), tempfile.TemporaryFile(dir=scratch, prefix="bertrec-") as file:
        size = 4 * shape[0] * shape[1]
        if hasattr(os, "posix_fallocate"):  # a full disk is then an error here, and not the end of the process at some later write
            os.posix_fallocate(file.fileno(), 0, size)
        file.truncate(size)
        return np.memmap(file, dtype=np.float32, mode="r+", shape=shape)


def write_json(target: str | Path, value: Any) -> None:
    """Write ``value`` as UTF-8 JSON, atomically. Numbers that are not finite are an error, not ``NaN``."""
    with atomic_file(target) as temporary:
        temporary.write_text(json_text(value) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file of ours.

    Raises:
        ModelError: the file is absent or damaged; the text names it.
    """
    try:
        return parse_json(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(f"{path} is missing") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}") from error


def read_record(path: str | Path, kinds: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """Read a JSON file of ours that holds names and values.

    Args:
        path: the file.
        kinds: the names that must be there, each with the type of its value.

    Raises:
        ModelError: the file is absent or damaged, or a value is of another type; the text names it.
    """
    values = read_json(path)
    if not isinstance(values, dict):
        raise ModelError(f"{path} is damaged: it holds no names and values")
    for name, kind in kinds.items():
        found = values.get(name)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            raise ModelError(f"{path} is damaged: its {name} is {reprlib.repr(found)}")
    return values


def read_yaml(path: str | Path, *, holds: str, called: str = "", error: type[BertrecError] = ConfigError) -> dict[str, Any]:
    """Read a YAML file that a user wrote, which must hold a mapping.

    Args:
        path: the file.
        holds: what must stand in it, for the error message.
        called: stands before the path in messages, such as ``--space``.
        error: what is raised.

    Raises:
        BertrecError: of the type ``error``: the file is absent, not readable, or holds no mapping.
    """
    name = f"{called} {path}".strip()
    try:
        values = parse_yaml(_small_text(Path(path)))
    except FileNotFoundError as problem:
        raise error(f"{name}: no such file") from problem
    except IsADirectoryError as problem:
        raise error(f"{name} is a folder, not a YAML file") from problem
    except (OSError, ValueError) as problem:
        raise error(f"{name} is not readable YAML: {' '.join(str(problem).split())}") from problem
    if not isinstance(values, dict):
        raise error(f"{name} must hold {holds}")
    return values


def _small_text(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.read(YAML_BYTES + 1).decode("utf-8")


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_parts(texts: Iterable[str], arrays: Iterable[npt.NDArray[Any]]) -> str:
    """Return what `sha256_text` does of the texts and the bytes of the arrays in hexadecimal, without a copy of them all."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    for array in arrays:
        content = array.data.cast("B") if array.size else memoryview(b"")
        for start in range(0, len(content), _CHUNK):
            digest.update(content[start : start + _CHUNK].hex().encode())
        digest.update(b"\0")
    return digest.hexdigest()


def sha256_text(*parts: str) -> str:
    """Return the SHA-256 of several texts, each closed by a NUL so that their borders count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()

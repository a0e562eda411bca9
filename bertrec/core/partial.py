"""What is being written has a name of its own beside its target, and takes the target's place in one step.

Whoever makes such a folder or file holds it by a lock that ends with the process. So what a killed process left is told from what is being
written, and the next use of the target removes it.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

fcntl: Any = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None  # Windows has none

_FORMER = ".former"  # of a folder that was moved out of the way, where two folders cannot change places at once
_PATIENCE = 0.5  # seconds that a former folder is left to its mover, where locks say nothing
_AT_FDCWD, _EXCHANGE = -100, 2


def real_place(target: Path) -> Path:
    """Return where a path leads in the end: what is written through a link renews what it names, and the link stays."""
    return Path(os.path.realpath(target))


@contextmanager
def made_beside(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """Make a file or folder beside ``target``, hold it, and remove whatever has its name in the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path, number = _made_and_held(target, folder=folder)
    try:
        yield path
    finally:
        _remove(path)
        if number is not None:
            os.close(number)  # which ends the lock


def replace_folder(made: Path, target: Path) -> None:
    """Give the folder ``made`` the name of ``target``, whose former content is dropped once that is done.

    Killed at any moment, the target is the former folder or the new one: both change names at once, and where a system cannot do that,
    `recover` brings the former one back.
    """
    target = real_place(target)
    if not target.exists():
        os.replace(made, target)
    elif _exchange(made, target):
        drop_folder(made, target)
    else:
        _by_two_renames(made, target)


def drop_folder(path: Path, target: Path) -> None:
    """Remove a folder beside ``target``, under a name by which `recover` knows it should that be cut short."""
    with suppress(FileNotFoundError):  # another process is doing the same
        _remove(path if path.name.endswith(".partial") else path.rename(_name_beside(target)))


def recover(target: Path) -> Path:
    """Put right what a killed process left beside a file or folder; what another process is writing is let alone.

    Returns:
        Where ``target`` leads, as `real_place`.
    """
    target = real_place(target)
    for path in _left_beside(target):
        with suppress(OSError):
            lost = path.name.endswith(f"{_FORMER}.partial") and not target.exists()
            with _held(path, wait=lost) as free:
                if lost and free is not False and not target.exists():
                    os.replace(path, target)
                elif free:
                    _remove(path)
    return target


def _name_beside(target: Path, kind: str = "") -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{kind}.partial")


def _left_beside(target: Path) -> list[Path]:
    wanted = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}({re.escape(_FORMER)})?\.partial")
    try:
        with os.scandir(target.parent) as entries:
            found = [Path(entry.path) for entry in entries if wanted.fullmatch(entry.name)]
    except OSError:
        return []
    return sorted(found, key=lambda path: not path.name.endswith(f"{_FORMER}.partial"))


def _made_and_held(target: Path, *, folder: bool) -> tuple[Path, int | None]:
    while True:
        path = _name_beside(target)
        path.mkdir() if folder else path.touch()
        if fcntl is None:
            return path, None
        with suppress(FileNotFoundError):
            number = os.open(path, os.O_RDONLY)
            # Before it was locked, another process may have taken it for a leftover.
            if _locked(number, wait=False) is not False and path.exists():
                return path, number
            os.close(number)


@contextmanager
def _held(path: Path, *, wait: bool = False) -> Iterator[bool | None]:
    """Lock a file or folder while the block lasts: True where that is done, False where another holds it, None where it cannot be told."""
    if fcntl is None:
        time.sleep(_PATIENCE if wait else 0)
        yield None
        return
    number = os.open(path, os.O_RDONLY)
    try:
        yield _locked(number, wait=wait)
    finally:
        os.close(number)


def _locked(number: int, *, wait: bool) -> bool | None:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        time.sleep(_PATIENCE if wait else 0)
        return None  # a file system without locks
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change names in one step; False, and nothing done, where the system or the file system cannot."""
    names = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None)
        if hasattr(library, "renameat2"):  # Linux; else macOS
            return not library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE)
        return not library.renamex_np(*names, _EXCHANGE)
    except (AttributeError, OSError, TypeError):  # a C library without it; Windows
        return False


def _by_two_renames(made: Path, target: Path) -> None:
    former = _name_beside(target, _FORMER)
    with _held(target):
        os.replace(target, former)
        try:
            os.replace(made, target)
        except BaseException:
            if not target.exists():
                os.replace(former, target)
            raise
        _remove(former)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

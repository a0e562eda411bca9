"""What every resumable work keeps to: one process at a time in a folder, and the same plan when it goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from bertrec.core.errors import BertrecError
from bertrec.core.partial import real_place

LOCK = ".lock"
"""The file in a folder that its user holds; it goes when the folder is let go."""
_SOON, _PATIENCE = 1.0, 600.0

logger = logging.getLogger(__name__)


class InUse(BertrecError):
    """Another process holds the folder."""


@contextmanager
def only_one(folder: Path, *, busy: str = ": another bertrec process is training into it", patience: float = _SOON) -> Iterator[None]:
    """Hold a folder for this process; it is made where it is not there, and left as it was found where nothing came into it.

    Args:
        folder: what is held.
        busy: what a second process is told after "FOLDER is in use".
        patience: seconds to wait for another process. A reader that puts a change right holds a folder for far less than a second.

    Raises:
        InUse: another process holds it.
        BertrecError: the folder cannot be written.
    """
    place = real_place(folder)  # a link may lead to a folder that is yet to be made
    with ExitStack() as stack:
        _take(place, stack, patience, f"{folder} is in use{busy}")
        yield


def _take(place: Path, stack: ExitStack, patience: float, busy: str) -> None:
    while True:
        if not place.exists():
            _make(place)
            stack.callback(_remove_empty, place)
        try:
            stack.enter_context(_lock(place / LOCK, timeout=patience))
            return
        except _Busy as error:
            raise InUse(busy) from error
        except BertrecError:
            if place.exists():
                raise
            # Whoever had made it let it go and took it away again.


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # it holds something
        folder.rmdir()


@contextmanager
def in_turn(target: Path, what: str) -> Iterator[None]:
    """Hold a folder that is replaced as a whole, from before it is read until it is written; another process waits for its turn.

    Within a block for the same folder it does nothing.

    Args:
        target: the folder; the lock lies beside it, for it is replaced itself.
        what: names it, in the note that one waits.

    Raises:
        BertrecError: the other process holds it for more than ten minutes, or the lock cannot be written.
    """
    place = real_place(target)
    if place in (held := _taken.__dict__.setdefault("places", set())):
        yield
        return
    _make(place.parent)
    with _turn(place.with_name(f".{place.name}{LOCK}"), what):
        held.add(place)
        try:
            yield
        finally:
            held.discard(place)


_taken = threading.local()


@contextmanager
def _turn(path: Path, what: str) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(_lock(path, timeout=_SOON))
        except _Busy:
            logger.warning("%s is being changed by another process: waiting for it", what)
            try:
                stack.enter_context(_lock(path, timeout=_PATIENCE))
            except _Busy as error:
                raise BertrecError(
                    f"{what} has been in use by another process for {_PATIENCE / 60:.0f} minutes: try again later"
                ) from error
        yield


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BertrecError(f"cannot make the folder {folder}: {error.strerror or error}") from error


class _Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def _lock(path: Path, *, timeout: float) -> Iterator[None]:
    """Hold a lock file, which is removed in the end."""
    from filelock import FileLock, Timeout  # which imports asyncio

    lock = FileLock(path, timeout=timeout)
    try:
        lock.acquire()
    except Timeout as error:
        raise _Busy from error
    except OSError as error:
        raise BertrecError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield
    finally:
        # While it is held: whoever waits for it sees that the file is gone, and makes another. Windows removes no open file.
        with suppress(OSError):
            path.unlink()
        lock.release()


def holds_something(folder: Path) -> bool:
    """Say whether a folder is there and holds more than a lock and what a killed process left half written."""
    if not folder.is_dir():
        return folder.exists()
    return any(path.name != LOCK and not (path.name.startswith(".") and path.name.endswith(".partial")) for path in folder.iterdir())


def check_same_plan(folder: Path, former: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    """See that what is resumed was started with the same plan.

    Raises:
        BertrecError: it was not; the text names the first difference.
    """
    for name, value in plan.items():
        if former.get(name) != value:
            raise BertrecError(
                f"--resume: {folder} was started with {name} = {former.get(name)}, now it is {value}; give the same options, or --overwrite"
            )

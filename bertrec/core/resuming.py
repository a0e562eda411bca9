"""What every resumable work keeps to: one process at a time in a folder, and the same plan when it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertrec.core.errors import BertrecError

LOCK = ".lock"
"""The file in a folder that its user holds; it stays when the folder is let go."""


@contextmanager
def only_one(folder: Path, *, busy: str = ": another bertrec process is training into it") -> Iterator[None]:
    """Hold a folder for this process; it is made where it is not there.

    Args:
        folder: what is held.
        busy: what a second process is told after "FOLDER is in use".

    Raises:
        BertrecError: another process holds it.
    """
    from filelock import FileLock, Timeout  # which imports asyncio

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise BertrecError(f"{folder} is in use{busy}") from error
    try:
        yield
    finally:
        lock.release()


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

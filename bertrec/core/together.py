"""Files and folders that change together: all of them old or all of them new, wherever they lie and whenever the process is killed.

The new ones are written beside the old ones. A journal in the folder that stands for all of them names both. Until the journal says that
all are whole, whoever comes next drops the new ones; from then on, whoever comes next puts the rest of them into their places.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertrec.core.errors import BertrecError, ModelError
from bertrec.core.files import read_record, write_json
from bertrec.core.partial import real_place, recover, replace_folder
from bertrec.core.resuming import LOCK, InUse, only_one
from bertrec.core.seal import SEAL, check_seal, sealed

JOURNAL = "update.json"
"""The file in the folder of a change that is under way."""
_NEXT, _HOME = ".next", ".home"
_PATIENCE = 60.0  # seconds that a reader waits for another process that is putting new ones into their places, which takes far less


@dataclass
class Change:
    """What is being changed.

    Attributes:
        home: the folder that stands for all; it holds the journal.
        targets: what is to be replaced, in the order of their turn.
    """

    home: Path
    targets: list[Path] = field(default_factory=list)

    def place_for(self, target: Path) -> Path:
        """Return where the new file or folder is to be written that will replace ``target``; nothing is there yet."""
        target = real_place(target)
        self.targets.append(target)
        self._note(whole=False)
        if target.parent != self.home:
            write_json(_beside(target, _HOME), {"home": os.path.relpath(self.home, target.parent)})
        place = _beside(target, _NEXT)
        _drop(recover(place))
        return place

    def commit(self) -> None:
        """Say that all new ones are whole, and put them into their places; done at the end anyway."""
        self._note(whole=True)
        self.targets = []
        _finish(self.home)

    def _note(self, *, whole: bool) -> None:
        # Relative, so that what is copied or moved as a whole names its own.
        marks = {os.path.relpath(target, self.home): _mark(_beside(target, _NEXT)) if whole else "" for target in self.targets}
        write_json(self.home / JOURNAL, sealed({"whole": whole, "targets": marks}))


@contextmanager
def changing(home: Path) -> Iterator[Change]:
    """Hold ``home``, yield what takes the new files and folders, and replace the old ones where the block ends without an error.

    Raises:
        InUse: another process holds it.
        BertrecError: a disk is full or a place cannot be written; all are then as they were.
    """
    with held(home) as home:
        change = Change(home)
        try:
            yield change
            if change.targets:
                change.commit()
        except BaseException:
            if not _is_whole(home):
                _drop_all(home)
            raise


@contextmanager
def held(home: Path) -> Iterator[Path]:
    """Hold ``home``, put right what a killed process left of a change, and yield where ``home`` leads.

    Raises:
        InUse: another process holds it.
        BertrecError: what is left does not fit the journal.
    """
    with only_one(home, busy=": another bertrec process is training into it or updating it"):
        home = real_place(home)
        recover(home / JOURNAL)
        _put_right(home)
        yield home


def settle(home: Path) -> None:
    """See that what belongs to ``home`` is all old or all new, before it is read.

    What a killed process left is put right. A process that is still writing new ones does not matter; one that is putting them into their
    places is waited for.

    Raises:
        BertrecError: that takes too long, or what is left does not fit the journal.
    """
    end = time.monotonic() + _PATIENCE
    while (home / JOURNAL).exists():
        try:
            with only_one(home, patience=0):
                _put_right(real_place(home))
        except InUse:
            if not _is_whole(home):
                return
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        except BertrecError:
            if _is_whole(home):
                raise
            return  # a folder that cannot be written holds the old ones


def settle_target(target: Path) -> None:
    """See that a file or folder is not one of several of which some are old and some new, before it is read or changed by itself.

    Raises:
        BertrecError: as `settle`.
    """
    link = _beside(real_place(target), _HOME)
    if (home := _home_of(link)) is not None:
        settle(home)
        if not (home / JOURNAL).exists():
            link.unlink(missing_ok=True)


def _home_of(link: Path) -> Path | None:
    """Return the folder that a target's link names; None without a link, also where the change has just ended."""
    while link.exists():
        try:
            return real_place(link.parent / read_record(link, {"home": str})["home"])
        except ModelError as error:
            if not _gone(error) and link.exists():
                raise
    return None


def _put_right(home: Path) -> None:
    if (home / JOURNAL).exists():
        if _is_whole(home):
            _finish(home)
        else:
            _drop_all(home)


def _journal(home: Path) -> dict[str, Any]:
    journal = read_record(home / JOURNAL, {"whole": bool, "targets": dict, SEAL: str})
    check_seal(journal, home / JOURNAL)
    return journal


def _is_whole(home: Path) -> bool:
    while recover(home / JOURNAL).exists():
        try:
            return bool(_journal(home)["whole"])
        except ModelError as error:
            if not _gone(error) and (home / JOURNAL).exists():
                raise
    return False  # the change has ended since


def _gone(error: ModelError) -> bool:
    """Say whether a file was no longer there when it was read: a change has ended, and the next one may have begun since."""
    return isinstance(error.__cause__, FileNotFoundError)


def _finish(home: Path) -> None:
    """Put into place what is not there yet; may be called again after it was cut short anywhere."""
    for name, mark in _journal(home)["targets"].items():
        target = real_place(home / name)
        place = _beside(recover(target), _NEXT)
        if _mark(target) == mark:
            continue
        if _mark(place) != mark:
            raise BertrecError(f"{home / JOURNAL} names {place}, which was changed or lost since: restore it, or remove {JOURNAL}")
        _put_into_place(place, target)
    _drop_all(home)


def _put_into_place(place: Path, target: Path) -> None:
    try:
        replace_folder(place, target) if place.is_dir() else os.replace(place, target)
    except OSError as error:
        later = "the new ones are whole, and the next command puts them there"
        raise BertrecError(f"cannot replace {target}: {error.strerror or error}; {later}") from error


def _drop_all(home: Path) -> None:
    """Remove whatever stands beside the targets, then the journal."""
    if (home / JOURNAL).exists():
        for target in (real_place(home / name) for name in _journal(home)["targets"]):
            _drop(recover(_beside(target, _NEXT)))
            _beside(target, _HOME).unlink(missing_ok=True)
        (home / JOURNAL).unlink(missing_ok=True)


def _beside(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}{kind}")


def _drop(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)
    with suppress(OSError):
        place.with_name(f".{place.name}{LOCK}").unlink()


def _mark(place: Path) -> str:
    """Return what tells new from old: names and sizes of the files, and the content of those that are records of the others."""
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place] if place.is_file() else []
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(place)}:{path.stat().st_size}\0".encode("utf-8", "surrogatepass"))
        if path.suffix == ".json" or path == place:
            digest.update(path.read_bytes())
    return digest.hexdigest() if files else ""

"""A run of rankers, or an encoder, while it is trained: what is done stays, so that the same command goes on with it.

RUN.unfinished/progress.json   what is being trained, and the record of each ranker that is done
RUN.unfinished/members/N/      those rankers
RUN.unfinished/checkpoints/    of the one whose turn it is, or of the encoder
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertrec.core import resuming
from bertrec.core.errors import BertrecError
from bertrec.core.files import read_json, write_json
from bertrec.core.partial import drop_folder, real_place, recover, replace_folder

_PROGRESS = "progress.json"
_SPENT = "checkpoints.spent"  # of a ranker that is saved


def folder_of(target: Path) -> Path:
    """Return where a run is trained before it takes its place: beside the folder that ``target`` leads to."""
    place = real_place(target)
    return place.with_name(f"{place.name}.unfinished")


def settle(target: Path) -> None:
    """Where a run was killed while it took its place, bring that to an end: the folder is then the former run or the new one."""
    place, former = recover(target), folder_of(target)
    if not (place / _PROGRESS).exists():
        return
    if former.is_dir() and not (former / _PROGRESS).exists():
        drop_folder(former, place)
    _clean(place)


def _clean(target: Path) -> None:
    for name in (_PROGRESS, resuming.LOCK):
        (target / name).unlink(missing_ok=True)


def check_unfinished(target: Path, *, overwrite: bool, resume: bool) -> None:
    """See, before any work, whether a former training of this run stands in the way.

    Raises:
        BertrecError: there is one and no option says what to do, there is none to resume, or its folder holds something else.
    """
    settle(target)
    folder = folder_of(target)
    if overwrite and resume:
        raise BertrecError("--overwrite starts afresh and --resume goes on: give one of them")
    if resume and not (folder / _PROGRESS).exists():
        raise BertrecError(f"--resume: there is no unfinished training in {folder}")
    begun = (folder / _PROGRESS).exists()
    if not begun and resuming.holds_something(folder):
        raise BertrecError(f"{folder} is where this run would be trained and holds something else: choose another --out")
    if begun and not (overwrite or resume):
        raise BertrecError(f"{folder} holds an unfinished training: --resume goes on with it, --overwrite starts afresh")


@dataclass
class Unfinished:
    """A training under way.

    Attributes:
        folder: where it is kept.
        plan: what is trained on what, JSON values.
        done: the records of the rankers that are done.
    """

    folder: Path
    plan: dict[str, Any]
    done: list[dict[str, Any]] = field(default_factory=list)

    @property
    def next_member(self) -> Path:
        """Where the ranker whose turn it is belongs."""
        return self.folder / "members" / str(len(self.done))

    def add(self, record: Mapping[str, Any]) -> None:
        """Note that the ranker whose turn it was is saved; whenever it is cut short, no checkpoint is left that the next one would meet."""
        checkpoints = self.folder / "checkpoints"
        if checkpoints.is_dir():
            checkpoints.rename(self.folder / _SPENT)
        self.done.append(dict(record))
        self.note_down()
        shutil.rmtree(self.folder / _SPENT, ignore_errors=True)

    def note_down(self) -> None:
        """Write the progress."""
        write_json(self.folder / _PROGRESS, {"plan": self.plan, "members": self.done})

    @property
    def worth_keeping(self) -> bool:
        """Whether a ranker or an epoch of one is done."""
        kept = ("checkpoints/*", "*/checkpoints/*")  # the latter of what is learned before the training
        return bool(self.done) or any(any(self.folder.glob(pattern)) for pattern in kept)

    def drop(self) -> None:
        """Remove all of it, once what was trained is elsewhere."""
        drop_folder(self.folder, self.folder)


@contextmanager
def training_into(target: Path, plan: Mapping[str, Any], *, resume: bool, say: Callable[[str], None]) -> Iterator[Unfinished]:
    """Do as `training_beside`; where the block ends without an error, its folder takes the place of ``target``, whole."""
    with training_beside(target, plan, resume=resume, say=say) as work:
        yield work
    replace_folder(work.folder, target)
    _clean(target)


@contextmanager
def training_beside(target: Path, plan: Mapping[str, Any], *, resume: bool, say: Callable[[str], None]) -> Iterator[Unfinished]:
    """Yield a training in a folder beside ``target``, which is left there; one that ends without a checkpoint leaves nothing.

    Args:
        target: folder of the run.
        plan: what is trained on what, JSON values.
        resume: go on with the unfinished training of the same plan.
        say: takes a line, where the training is cut short.

    Raises:
        BertrecError: another process is at it, or what is to be resumed was started otherwise; the text names the first difference.
    """
    folder = folder_of(target)
    with resuming.only_one(folder):
        work = Unfinished(folder, json.loads(json.dumps(dict(plan))))  # as it will be read again
        if resume:
            work.done = _done_before(work)
        try:
            if not resume:
                _clear(folder)
                work.note_down()
            yield work
        except BaseException:
            if not (resume or work.worth_keeping):
                shutil.rmtree(folder, ignore_errors=True)
            elif work.worth_keeping:
                say("training was cut short: the same command with --resume goes on")
            raise


def _done_before(work: Unfinished) -> list[dict[str, Any]]:
    shutil.rmtree(work.folder / _SPENT, ignore_errors=True)
    found = read_json(work.folder / _PROGRESS)
    plan, members = (found.get("plan"), found.get("members")) if isinstance(found, dict) else (None, None)
    if not isinstance(plan, dict) or not isinstance(members, list) or not all(isinstance(one, dict) for one in members):
        raise BertrecError(f"{work.folder / _PROGRESS} is damaged: --overwrite starts afresh")
    resuming.check_same_plan(work.folder, plan, work.plan)
    for number in range(len(members)):
        if not (work.folder / "members" / str(number) / "config.json").is_file():
            raise BertrecError(f"{work.folder} lacks ranker {number}, which was done: --overwrite starts afresh")
    return list(members)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != resuming.LOCK:
            path.unlink()

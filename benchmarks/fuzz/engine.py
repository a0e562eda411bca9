"""Damage a copy, read it, judge what came of it."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fuzz.attacks import fitting
from bertrec.core.errors import BertrecError

_RECORDS = 3  # JSON files are attacked so many times as often as others
SECONDS = 20
"""More than this for small files counts as a hang."""


@dataclass(frozen=True)
class Target:
    """Something that is read.

    Attributes:
        name: what it is.
        make: fills an empty folder with it.
        read: reads the folder and returns what can be compared by ``==``.
        open_files: patterns of files whose content may validly differ, so that a changed result is no fault: data and settings that a
            person may edit. All others are an artefact: what is read of it is the same, or an error.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    open_files: tuple[str, ...] = ()


@dataclass
class Tally:
    """What became of attacks.

    Attributes:
        outcomes: how many, by target, kind of attack and outcome: ``same``, ``changed``, ``refused`` or ``fault``.
        faults: one text for each fault: target, file, seed and what happened.
    """

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class HangError(Exception):
    """Reading took too long."""


def attack_all(targets: list[Target], *, rounds: int, seed: int = 0, tell: Callable[[str], None] = lambda _: None) -> Tally:
    """Give each target ``rounds`` attacks; the same seed gives the same attacks."""
    tally = Tally()
    for target in targets:
        with tempfile.TemporaryDirectory() as folder, _quiet():
            whole = Path(folder) / "whole"
            whole.mkdir()
            target.make(whole)
            wanted = target.read(_copy(whole))
            for number in range(rounds):
                _attack(target, whole, wanted, f"{seed}/{target.name}/{number}", tally)
        tell(target.name)
    return tally


def _attack(target: Target, whole: Path, wanted: Any, seed: str, tally: Tally) -> None:
    draw = random.Random(seed)
    copy = _copy(whole)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    victim = draw.choices(files, [_RECORDS if path.suffix == ".json" else 1 for path in files])[0]
    kinds = fitting(victim)
    kind = draw.choice(list(kinds))
    kinds[kind](victim, draw)
    name = str(victim.relative_to(copy))
    outcome, said = _judge(target, copy, wanted, is_open=any(victim.match(pattern) for pattern in target.open_files))
    tally.outcomes[target.name, kind, outcome] += 1
    if outcome == "fault":
        tally.faults.append(f"{target.name}: {kind} of {name} (seed {seed!r}): {said}")


def _copy(whole: Path) -> Path:
    """Return a copy that may be harmed; reading may write as well, as a training does that goes on."""
    copy = whole.with_name("harmed")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole, copy)
    return copy


def _judge(target: Target, folder: Path, wanted: Any, *, is_open: bool) -> tuple[str, str]:
    try:
        with _limited():
            found = target.read(folder)
    except BertrecError as error:
        lines = len(str(error).strip().splitlines())
        return ("refused", "") if lines == 1 else ("fault", f"an error of {lines} lines: {error}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also what a library in Rust raises
        place = traceback.extract_tb(error.__traceback__)
        own = next((frame for frame in reversed(place) if "/bertrec/" in frame.filename), place[-1])
        return "fault", f"{type(error).__name__}: {str(error)[:200]} at {own.filename.rpartition('/bertrec/')[2]}:{own.lineno}"
    if found == wanted:
        return "same", ""
    return ("changed", "") if is_open else ("fault", "it reads as something else, in silence")


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise HangError(f"not read after {SECONDS} s")

    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

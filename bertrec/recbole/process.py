"""Run one fit in a process of its own: watched, ended in time, and never able to take this process with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bertrec.core.errors import BertrecError
from bertrec.recbole.exchange import OUTCOME, RESULT, Job, Outcome, Point, read_points

RECBOLE = "bertrec.recbole.worker"
Watch = Callable[[Sequence[Point]], None]
_LOOK_EVERY = 0.5
_LATE = 1.5  # times the limit
_GRACE = 60.0  # for start, last batch and the measurement; and as much again as the limit itself
_LOG_WORDS = 300


def run_fit(
    job: Job, folder: Path, split_folder: Path, *, module: str = RECBOLE, grace: float = _GRACE, watch: Watch | None = None
) -> Outcome:
    """Fit ``job`` in a fresh process and return how it went; an outcome that is there is returned as it is, unless it is a failed one.

    Args:
        job: what to fit.
        folder: of this fit alone; what an unfinished fit left there is dropped.
        split_folder: what `bertrec.recbole.exchange.save_split` wrote.
        module: what the process runs.
        grace: seconds beyond one and a half times the limit after which the process is killed: its start and its measurement take time too.
        watch: takes the epochs so far, about twice per second; what it raises ends the process and this call.

    Returns:
        The outcome. A process that crashed, ran out of memory or had to be killed is a failed one, with the reason and the epochs it had
        finished; a killed baseline that had a best epoch on disk is measured with that.
    """
    if (folder / OUTCOME).exists():
        _check_same(job, folder)
        former = Outcome.load(folder)
        if former.status != "failed":
            return former
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job.save(folder)
    started = time.perf_counter()
    code = _watched(folder, split_folder, module, _LATE * job.limit_seconds + grace if job.limit_seconds else None, watch)
    if code is None and module == RECBOLE and (folder / "recbole" / "best.pth").exists():
        job.model_copy(update={"options": {**job.options, "recover": True}, "cross_check": False}).save(folder)
        _watched(folder, split_folder, module, grace + job.limit_seconds)
        job.save(folder)
    outcome = _outcome(folder, code)
    outcome = replace(outcome, total_seconds=time.perf_counter() - started - outcome.cross_check_seconds)
    shutil.rmtree(folder / "recbole", ignore_errors=True)
    outcome.save(folder)
    return outcome


def _check_same(job: Job, folder: Path) -> None:
    """See that the outcome is of this job; its minutes may differ.

    Raises:
        BertrecError: it is of another one.
    """
    former = Job.load(folder).to_dict()
    for name, value in job.to_dict().items():
        if name != "limit_seconds" and former[name] != value:
            raise BertrecError(f"{folder} holds a fit with {name} = {former[name]}, now it is {value}: choose another folder")


def _watched(folder: Path, split_folder: Path, module: str, limit: float | None, watch: Watch | None = None) -> int | None:
    """Run the process to its end and return its exit code; None where it had to be killed."""
    command = [*python_module(module), str(folder.resolve()), str(split_folder.resolve())]
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment(), start_new_session=True
        )
        try:
            return _wait(process, folder, limit, watch)
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], folder: Path, limit: float | None, watch: Watch | None) -> int | None:
    until = time.monotonic() + limit if limit is not None else float("inf")
    while time.monotonic() < until:
        left = until - time.monotonic()
        try:
            return process.wait(timeout=min(left, _LOOK_EVERY) if watch else None if limit is None else left)
        except subprocess.TimeoutExpired:
            if watch:
                watch(read_points(folder))
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def python_module(name: str) -> list[str]:
    """Return the command of a module of ours. Python files of the folder that it is called from are not found (``-P``), so never run."""
    return [sys.executable, "-P", "-W", "ignore", "-m", name]


def environment() -> dict[str, str]:
    """Return the environment of a process that finds this very package."""
    own = str(Path(__file__).resolve().parents[2])
    paths: Sequence[str] = [own, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _outcome(folder: Path, code: int | None) -> Outcome:
    if (folder / RESULT).exists():
        return Outcome.load(folder, RESULT)
    reason = how_it_ended(code, folder / "log.txt") if code is not None else "killed: it went on long after its time had ended"
    points = read_points(folder)
    return Outcome("failed", reason=reason, points=points, ended_by="killed" if code is None else None, seconds=_last(points))


def _last(points: Sequence[object]) -> float:
    return float(getattr(points[-1], "seconds", 0.0)) if points else 0.0


def how_it_ended(code: int, log: Path) -> str:
    """Return in words why a process of ours is gone, from its exit code and the last thing that it said."""
    if code == -signal.SIGKILL:
        return "killed by the system, most often for want of memory"
    return f"crashed: {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}: {_last_line(log)}"


def _last_line(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:_LOG_WORDS] if lines else "it said nothing"

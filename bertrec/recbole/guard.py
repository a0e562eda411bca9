"""What every fitting process does around its fit: an error becomes an outcome, memory and versions are noted."""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from bertrec.core.errors import NotFiniteError
from bertrec.recbole.exchange import RESULT, Job, Outcome, Status, read_points

_WORDS = 300
_PR_SET_PDEATHSIG = 1


def run_job(folder: Path, fit: Callable[[Job], Outcome]) -> None:
    """Read the folder's job, fit it, and write ``result.json``, whatever happens; the trace of an error goes to standard error."""
    _die_with_parent()
    try:
        outcome = fit(Job.load(folder))
    except MemoryError:
        outcome = _lost(folder, "failed", "ran out of memory")
    except NotFiniteError as error:
        outcome = _lost(folder, "invalid", str(error))
    except Exception as error:
        traceback.print_exc()
        # RecBole says so with a ValueError of these words.
        status: Status = "invalid" if "loss is nan" in str(error).lower() else "failed"
        outcome = _lost(folder, status, f"{type(error).__name__}: {' '.join(str(error).split())[:_WORDS]}")
    outcome.save(folder, RESULT)


def _lost(folder: Path, status: Status, reason: str) -> Outcome:
    return Outcome(status, reason=reason, points=read_points(folder), peak_mib=peak_mib())


def _die_with_parent() -> None:
    """Ask Linux to end this process when the one that watches it is gone, so that no orphan goes on writing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the memory of the process that this one was forked from
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of installed packages."""
    from importlib.metadata import version

    return {name: version(name) for name in packages}

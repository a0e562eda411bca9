"""What every fitting process does around its fit: an error becomes an outcome, memory and versions are noted."""

from __future__ import annotations

import resource
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from bertrec.baselines.exchange import Job, Outcome, Status, read_points
from bertrec.core.errors import ModelError

_WORDS = 300


def run_job(folder: Path, fit: Callable[[Job], Outcome]) -> None:
    """Read the folder's job, fit it, and write the outcome, whatever happens; the trace of an error goes to standard error."""
    try:
        outcome = fit(Job.load(folder))
    except MemoryError:
        outcome = _lost(folder, "failed", "ran out of memory")
    except ModelError as error:
        outcome = _lost(folder, "invalid", str(error))
    except Exception as error:
        traceback.print_exc()
        # RecBole says so with a ValueError of these words.
        status: Status = "invalid" if "loss is nan" in str(error).lower() else "failed"
        outcome = _lost(folder, status, f"{type(error).__name__}: {' '.join(str(error).split())[:_WORDS]}")
    outcome.save(folder)


def _lost(folder: Path, status: Status, reason: str) -> Outcome:
    return Outcome(status, reason=reason, points=read_points(folder), peak_mib=peak_mib())


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of installed packages."""
    from importlib.metadata import version

    return {name: version(name) for name in packages}

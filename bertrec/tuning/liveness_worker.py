"""Who runs a trial: host, process and start time; and whether that process is provably gone."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bertrec.core.files import sha256_text

WORKER = "worker"
"""The user attribute of a trial that names its worker."""
OWN = "bertrec:"
"""What the names of our system attributes begin with."""
_CANDIDATE = f"{OWN}candidate:"
_ENDED = ("Z", "X")


def this_worker() -> dict[str, Any]:
    """Return who this process is: JSON values ``host``, ``machine``, ``pid`` and ``started``.

    ``machine`` is a hash of the machine's id and the process's pid namespace: two containers may share a host name while the same
    process id means another process in each. ``started`` is None where the system does not tell.
    """
    seen = _look(os.getpid())
    return {"host": platform.node(), "machine": _machine(), "pid": os.getpid(), "started": seen[1] if seen else None}


def candidate_name(worker: Mapping[str, Any]) -> str:
    """Return the system attribute under which a worker notes that it tries to take a waiting trial."""
    return f"{_CANDIDATE}{worker['pid']}@{worker['host']}:{worker['machine']}"


def candidates(system_attrs: Mapping[str, Any]) -> list[Any]:
    """Return the workers that tried to take a trial."""
    return [value for name, value in system_attrs.items() if name.startswith(_CANDIDATE)]


def is_here(worker: Any) -> bool:
    """Tell whether a worker, as `this_worker` recorded it, is a process of this machine."""
    return isinstance(worker, Mapping) and worker.get("host") == platform.node() and worker.get("machine") == _machine()


def is_gone(worker: Any) -> bool:
    """Tell whether a worker is provably gone: of this machine, and its process ended or is another by now.

    Whatever cannot be proved (another machine, a damaged record, a system that tells nothing) counts as alive.
    """
    pid = worker.get("pid") if is_here(worker) else None
    if not isinstance(pid, int) or pid <= 0:
        return False
    if not _exists(pid):
        return True
    seen = _look(pid)
    if seen is None:
        return False
    state, started = seen
    # A zombie has ended; it keeps its place in the table until its parent asks.
    return state in _ENDED or (worker.get("started") is not None and worker["started"] != started)


def _machine() -> str:
    parts = ["", ""]
    with suppress(OSError, UnicodeDecodeError):
        parts[0] = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    with suppress(OSError):
        parts[1] = os.readlink("/proc/self/ns/pid")
    return sha256_text(*parts)[:16]


def _exists(pid: int) -> bool:
    """Tell whether there is such a process; one of another user's counts, even where its entry in /proc is hidden."""
    if os.name != "posix":  # there, signal 0 is Ctrl-C
        psutil = _psutil()
        return psutil is None or bool(psutil.pid_exists(pid))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _look(pid: int) -> tuple[str, int | float] | None:
    """Return a process's state as a letter and its start time, in a unit of the system's own; None where nothing is told."""
    if Path("/proc/self/stat").exists():
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()  # the command's name, in brackets, may hold spaces and brackets itself
        return fields[0], int(fields[19])  # fields 3 and 22 of the line: state, and clock ticks between boot and start
    psutil = _psutil()
    if psutil is None:
        return None
    try:
        process = psutil.Process(pid)
        return ("Z" if process.status() == psutil.STATUS_ZOMBIE else "R"), process.create_time()
    except psutil.Error:
        return None


def _psutil() -> Any:
    try:
        import psutil
    except ImportError:
        return None
    return psutil

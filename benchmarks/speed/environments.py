"""A Python environment for each peer, made once from pinned requirements below ``runs/benchmarks/environments``.

    python -m benchmarks.speed.environments rectools

The versions that a peer needs need not fit ours, so that it runs in a process and an environment of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bertrec.core.errors import BertrecError, ConfigError, unknown_name
from bertrec.core.files import read_json, write_json
from bertrec.recbole.catalogue import recbole_folder

ENVIRONMENTS = Path("runs") / "benchmarks" / "environments"
REQUIREMENTS = Path(__file__).parent / "peers"
PEERS = ("rectools",)
"""Peers with an environment of their own; each has a file of pinned requirements beside its script."""

_STAMP, _LOG = "installed.json", "pip.log"
_NEWEST_PYTHON = (3, 13)
_NO_REGISTRY = ("Temporary failure in name resolution", "Connection refused", "Network is unreachable", "Max retries exceeded", "timed out")
_LOG_LINES = 3


def environment(name: str, *, root: Path = ENVIRONMENTS, say: Callable[[str], None] = print) -> Path:
    """Return the Python of an environment, which is made first where it is not whole.

    An installation that was cut off goes on where it ended; one that was made from other requirements is made anew.

    Args:
        name: ``ours`` is the Python that runs this; ``recbole`` is the same, since RecBole is one of our extras; else a peer.
        root: where the environments lie.
        say: takes a line when something has to be installed.

    Raises:
        ConfigError: no peer has this name, or this Python is too new for it.
        MissingExtraError: RecBole is not installed here.
        BertrecError: pip could not install the requirements; the text says why and where its log is.
    """
    if name == "recbole":
        recbole_folder()
    if name in ("ours", "recbole"):
        return Path(sys.executable)
    if name not in PEERS:
        raise ConfigError(unknown_name("environment", name, ("ours", "recbole", *PEERS)))
    folder, requirements = root / name, REQUIREMENTS / f"{name}.txt"
    python = _python_of(folder)
    if not _is_whole(folder, requirements):
        _check_version(name)
        say(f"installing {name} into {folder} (once); pip writes to {folder / _LOG}")
        _make(folder, python, requirements)
    return python


def _python_of(folder: Path) -> Path:
    # Not resolved: the venv's python is a link to the one that made it, and works by where it lies.
    folder = folder.absolute()
    return folder / "Scripts" / "python.exe" if sys.platform == "win32" else folder / "bin" / "python"


def _fingerprint(requirements: Path) -> dict[str, str]:
    return {"requirements": hashlib.sha256(requirements.read_bytes()).hexdigest(), "python": sys.version.split()[0]}


def _is_whole(folder: Path, requirements: Path) -> bool:
    stamp = folder / _STAMP
    return stamp.exists() and read_json(stamp) == _fingerprint(requirements) and _python_of(folder).exists()


def _check_version(name: str) -> None:
    if sys.version_info[:2] > _NEWEST_PYTHON:
        newest = ".".join(map(str, _NEWEST_PYTHON))
        raise ConfigError(
            f"{name} runs on Python {newest} at most, this is {sys.version.split()[0]}: run the benchmarks with an older Python"
        )


def _make(folder: Path, python: Path, requirements: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    other = (folder / _STAMP).exists()
    (folder / _STAMP).unlink(missing_ok=True)
    with (folder / _LOG).open("ab") as log:
        if other or not python.exists():
            _run([sys.executable, "-m", "venv", "--clear", str(folder.absolute())], folder, log.fileno())
    # venv --clear empties the folder, log and all.
    with (folder / _LOG).open("ab") as log:
        _run([str(python), "-m", "pip", "install", "--requirement", str(requirements)], folder, log.fileno())
    write_json(folder / _STAMP, _fingerprint(requirements))


def _run(command: list[str], folder: Path, log: int) -> None:
    code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False).returncode
    if code:
        raise BertrecError(_failure(folder / _LOG, code))


def _failure(log: Path, code: int) -> str:
    """Say what went wrong, with the last words of the log; a registry that cannot be reached is named as such."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if any(sign in text for sign in _NO_REGISTRY):
        return f"the package registry cannot be reached, so the peer cannot be installed: see {log}, and run again with a connection"
    last = " / ".join([line for line in text.splitlines() if line.strip()][-_LOG_LINES:])
    return f"the peer's environment could not be made (exit code {code}): {last or 'no output'}; see {log}"


def main() -> None:
    """Make the environments named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(PEERS), help="peers; none means all of them")
    for name in parser.parse_args().names:
        print(environment(name))


if __name__ == "__main__":
    main()

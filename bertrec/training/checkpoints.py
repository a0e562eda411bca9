"""Folders of resume state, ``epoch-N``: whole or absent, and the newest two of them."""

from __future__ import annotations

import json
import logging
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from bertrec.core.files import read_json, write_json

COMPLETE = "COMPLETE"
KEPT = 2
_NAME = re.compile(r"epoch-(\d+)")

logger = logging.getLogger(__name__)


def checkpoint_folder(folder: Path, epoch: int) -> Path:
    """Return where the state after ``epoch`` (counted from 1) is kept."""
    return folder / f"epoch-{epoch}"


def mark_complete(checkpoint: Path) -> None:
    """Write, as the last file of a checkpoint, the size of each other one."""
    write_json(checkpoint / COMPLETE, {file.name: file.stat().st_size for file in sorted(checkpoint.iterdir())})


def is_complete(checkpoint: Path) -> bool:
    """Say whether every file of a checkpoint is there in full."""
    try:
        sizes: dict[str, Any] = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def complete_checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints in ``folder``, newest epoch first."""
    found = {int(match[1]): path for path in (folder.iterdir() if folder.is_dir() else ()) if (match := _NAME.fullmatch(path.name))}
    return [found[epoch] for epoch in sorted(found, reverse=True) if is_complete(found[epoch])]


def prune(folder: Path, keep: int = KEPT) -> None:
    """Remove all but the newest ``keep`` complete checkpoints, and whatever a killed run left half written."""
    kept = set(complete_checkpoints(folder)[:keep])
    for path in folder.iterdir() if folder.is_dir() else ():
        if path not in kept and (_NAME.fullmatch(path.name) or path.name.endswith(".partial")):
            _remove(path)


def start_afresh(folder: Path) -> None:
    """Remove the checkpoints of a former run, with a warning: a later resume must not continue that one."""
    former = complete_checkpoints(folder)
    if former:
        logger.warning("removing %d checkpoints of a former run in %s (resume=True would have continued it)", len(former), folder)
    prune(folder, keep=0)


def read_progress(checkpoint: Path) -> dict[str, Any]:
    """Read what a checkpoint says about the run so far."""
    values: dict[str, Any] = read_json(checkpoint / "progress.json")
    return values


def _remove(path: Path) -> None:
    # Renamed first: a folder that a kill leaves half removed must not bear a checkpoint's name.
    doomed = path if path.name.endswith(".partial") else path.rename(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial"))
    shutil.rmtree(doomed, ignore_errors=True)

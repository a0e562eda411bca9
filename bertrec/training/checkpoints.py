"""Folders of resume state, ``epoch-N``: whole or absent, and the newest two of them."""

from __future__ import annotations

import json
import logging
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from bertrec.core.errors import ModelError
from bertrec.core.files import read_json, sha256_file, write_json

COMPLETE = "COMPLETE"
KEPT = 2
_NAME = re.compile(r"epoch-(\d+)")

logger = logging.getLogger(__name__)


def checkpoint_folder(folder: Path, epoch: int) -> Path:
    """Return where the state after ``epoch`` (counted from 1) is kept."""
    return folder / f"epoch-{epoch}"


def mark_complete(checkpoint: Path) -> None:
    """Write, as the last file of a checkpoint, the size and the SHA-256 of each other one."""
    files = sorted(path for path in checkpoint.iterdir() if path.is_file())
    write_json(checkpoint / COMPLETE, {file.name: {"bytes": file.stat().st_size, "sha256": sha256_file(file)} for file in files})


def is_complete(checkpoint: Path) -> bool:
    """Say whether every file of a checkpoint is there in full."""
    try:
        return all((checkpoint / name).stat().st_size == size for name, (size, _) in _listed(checkpoint).items())
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return False


def check_intact(checkpoint: Path) -> None:
    """Compare each file of a complete checkpoint with its hash; one of a version that wrote sizes alone is taken as it is.

    Raises:
        ModelError: a file has changed since it was written; the text names it.
    """
    for name, (_, expected) in _listed(checkpoint).items():
        if expected is not None and sha256_file(checkpoint / name) != expected:
            mend = f"remove the folder {checkpoint}, and the training goes on from the checkpoint before it"
            raise ModelError(f"{checkpoint / name} is damaged: its SHA-256 is not the one in {COMPLETE}; {mend}")


def _listed(checkpoint: Path) -> dict[str, tuple[int, str | None]]:
    """Return size and hash of each file; versions before the hashes wrote sizes alone."""
    listed: dict[str, Any] = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
    return {name: (one, None) if isinstance(one, int) else (one["bytes"], one["sha256"]) for name, one in listed.items()}


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

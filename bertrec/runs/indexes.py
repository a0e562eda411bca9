"""The indexes of a run: opened, and checked to belong to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.errors import BertrecError, IndexFileError
from bertrec.core.partial import recover
from bertrec.core.together import settle_target
from bertrec.runs.folder import Run, states

if TYPE_CHECKING:
    from bertrec.models.base import Recommender
    from bertrec.retrieval.index import ItemIndex


def open_index(path: Path, *, mmap: bool = False) -> ItemIndex:
    """Load an index, or map it from its files; one that is replaced meanwhile is read again.

    Raises:
        IndexFileError: it is absent or damaged.
    """
    from bertrec.retrieval.index import ItemIndex

    while True:
        found = _state(path)
        try:
            return ItemIndex.load(path, mmap=mmap)
        except IndexFileError:
            if _state(path) == found:
                raise  # else what was read is of two


def _state(path: Path) -> tuple[int, int]:
    """Return what is another once an index was replaced."""
    check_there(path)
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def check_there(path: Path) -> None:
    """See that there is an index.

    Raises:
        IndexFileError: there is none, or a run in its place.
    """
    settle_target(path)
    if not recover(path).exists():
        raise IndexFileError(f"{path}: no such index; make one with  bertrec index build RUN --out {path}")
    if Run(path).finished:
        raise IndexFileError(f"{path} is a run, and no index: make one of it with  bertrec index build {path} --out INDEX")


def open_both(run: Run, index: Path | None, *, mmap: bool = False) -> tuple[dict[str, Any], Recommender, ItemIndex | None]:
    """Load a run's record and model, and its index where there is one, all of one state: an update may come between."""
    while True:
        before = run.state
        try:
            record, model = run.record(), run.load_model()
            searched = None if index is None else open_index(index, mmap=mmap)
        except BertrecError:
            if run.state == before:
                raise
            continue
        if run.state == before:
            return record, model, searched


def check_fits(index: ItemIndex, path: Path, model: Recommender, run: Run, data: str | None = None) -> None:
    """See that an index was built from this model over these items.

    Args:
        index: opened.
        path: where it is.
        model: as it is asked; over other items than the run's where ``data`` has such.
        run: where the model is from.
        data: other data than the run's, if they were named.

    Raises:
        IndexFileError: its scores would mean nothing; the text says how to bring run and index together.
    """
    from bertrec.runs.vectors import USERS

    if not index.model_hash or index.model_hash == model.model_hash:
        return
    if index.model_hash.startswith(USERS):
        raise IndexFileError(f"{path} is an index of users, not of the items of {run.folder}: name one that  bertrec index build RUN  made")
    if index.model_hash not in states(run.record()):
        raise IndexFileError(
            f"{path} was built from another model: build it anew with  bertrec index build {run.folder} --out {path} --overwrite"
        )
    how = f"bertrec catalog update {run.folder} --index {path}"
    if data is None:
        raise IndexFileError(f"{path} holds an earlier state of {run.folder}: bring it along with  {how}")
    raise IndexFileError(f"{data} has other items than {path}: bring run and index to them with  {how} --data {data}")

"""A trained RecBole model in a process of its own that stays and answers, for a retriever is asked more than once."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.recbole.catalogue import recbole_folder
from bertrec.recbole.exchange import Job, ragged_columns, read_arrays, write_arrays
from bertrec.recbole.process import environment, how_it_ended, python_module
from bertrec.recbole.trained import Trained

_ANSWERING = "bertrec.recbole.worker.answer"


class AnsweringProcess:
    """Starts at the first question, anew where it has ended meanwhile, and ends with this object.

    Threads may ask it side by side and are answered one by one. A question that is interrupted ends the process, so that its answer is
    never taken for that of the next one.

    Args:
        job: the model's name and settings.
        catalog: the items it was trained on.
        trained: its weights.
    """

    def __init__(self, job: Job, catalog: ItemCatalog, trained: Trained) -> None:
        self._job, self._catalog, self._trained = job, catalog, trained
        self._one_at_a_time = threading.Lock()
        self._running: list[_Running] = []
        weakref.finalize(self, _end, self._running)

    def user_vectors(self, histories: Ragged) -> npt.NDArray[np.float32]:
        """Return ``[n, d + 1]`` for histories of inner ids that training saw, oldest first, at least one history.

        Raises:
            MissingExtraError: RecBole is not installed.
            ModelError: the process ends instead of answering; the text says why.
        """
        with self._one_at_a_time:
            if self._running and self._running[0].process.poll() is not None:
                _end(self._running)
            if not self._running:
                self._running.append(self._started())
            try:
                return self._answer(self._running[0], histories)
            except BaseException:
                _end(self._running)
                raise

    def _started(self) -> _Running:
        recbole_folder()
        kept = tempfile.TemporaryDirectory(prefix="bertrec-")
        folder = Path(kept.name)
        self._job.save(folder)
        self._catalog.save(folder)
        self._trained.save(folder)
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [*python_module(_ANSWERING), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(),
                text=True,
                start_new_session=True,
            )
        return _Running(process, kept)

    def _answer(self, running: _Running, histories: Ragged) -> npt.NDArray[np.float32]:
        process, asked = running.process, running.folder / "asked.npz"
        assert process.stdin is not None
        assert process.stdout is not None
        write_arrays(asked, ragged_columns("histories", histories))
        with contextlib.suppress(BrokenPipeError):  # there is then no answer to read
            print(asked, file=process.stdin, flush=True)
        if not process.stdout.readline():
            raise ModelError(f"RecBole's {self._job.model} does not answer: {how_it_ended(process.wait(), running.folder / 'log.txt')}")
        return read_arrays(asked.with_suffix(".vectors.npz"))["vectors"]


@dataclass(frozen=True)
class _Running:
    process: subprocess.Popen[str]
    kept: tempfile.TemporaryDirectory[str]

    @property
    def folder(self) -> Path:
        return Path(self.kept.name)


def _end(running: list[_Running]) -> None:
    while running:
        one = running.pop()
        one.process.kill()
        one.process.communicate()
        one.kept.cleanup()

"""A trained RecBole model in a process of its own that stays and answers, for a retriever is asked more than once."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bertrec.baselines.catalogue import recbole_folder
from bertrec.baselines.exchange import Job, ragged_columns, read_arrays, write_arrays
from bertrec.baselines.process import environment, last_line
from bertrec.baselines.trained import Trained
from bertrec.core.errors import ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog

_ANSWERING = "bertrec.baselines.worker.answer"


class AnsweringProcess:
    """Starts at once and ends with this object; threads may ask it side by side and are answered one by one.

    Args:
        job: the model's name and settings.
        catalog: the items it was trained on.
        trained: its weights.

    Raises:
        MissingExtraError: RecBole is not installed.
    """

    def __init__(self, job: Job, catalog: ItemCatalog, trained: Trained) -> None:
        recbole_folder()
        self._name = job.model
        self._kept = tempfile.TemporaryDirectory(prefix="bertrec-")
        self._folder = Path(self._kept.name)
        job.save(self._folder)
        catalog.save(self._folder)
        trained.save(self._folder)
        with (self._folder / "log.txt").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", _ANSWERING, str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(),
                text=True,
                start_new_session=True,
            )
        self._one_at_a_time = threading.Lock()
        weakref.finalize(self, _end, self._process, self._kept)

    def user_vectors(self, histories: Ragged) -> npt.NDArray[np.float32]:
        """Return ``[n, d + 1]`` for histories of inner ids that training saw, oldest first, at least one history.

        Raises:
            ModelError: the process has ended; the text says why.
        """
        asked = self._folder / "asked.npz"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            write_arrays(asked, ragged_columns("histories", histories))
            with contextlib.suppress(BrokenPipeError):  # there is then no answer to read
                print(asked, file=self._process.stdin, flush=True)
            if not self._process.stdout.readline():
                self._process.wait()
                raise ModelError(f"RecBole's {self._name} does not answer: {last_line(self._folder / 'log.txt')}")
            return read_arrays(asked.with_suffix(".vectors.npz"))["vectors"]


def _end(process: subprocess.Popen[str], kept: tempfile.TemporaryDirectory[str]) -> None:
    process.kill()
    process.communicate()
    kept.cleanup()

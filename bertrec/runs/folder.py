"""The folder that ``bertrec train`` makes.

``RUN/model/`` is the saved model, ``RUN/run.json`` says how it came about; both exist only once training has ended.
``RUN/training.json`` and ``RUN/checkpoints/`` exist while it has not: what is being trained, and where to go on from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.errors import DataError, ModelError
from bertrec.core.files import read_json, sha256_file
from bertrec.core.partial import recover
from bertrec.core.together import settle

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.growing import Rows
    from bertrec.models.base import Recommender

LATER_HASH = "later_sha256"
"""In ``run.json``, of the later interactions."""


@dataclass(frozen=True)
class Run:
    """The places inside a run folder."""

    folder: Path

    @property
    def model(self) -> Path:
        """The saved model."""
        return self.folder / "model"

    @property
    def record_file(self) -> Path:
        """How the model came about."""
        return self.folder / "run.json"

    @property
    def later_file(self) -> Path:
        """Interactions that came after the training data."""
        return self.folder / "interactions.parquet"

    @property
    def pending_file(self) -> Path:
        """What is being trained, while it is."""
        return self.folder / "training.json"

    @property
    def checkpoints(self) -> Path:
        """Where an interrupted training goes on from."""
        return self.folder / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether a training has ended here."""
        return self.record_file.exists()

    @property
    def pending(self) -> bool:
        """Whether a training has begun here and not ended."""
        return self.pending_file.exists()

    def record(self) -> dict[str, Any]:
        """Return ``run.json``.

        Raises:
            ModelError: the folder is absent, holds no run, or one whose training has not ended.
        """
        if not self.settled().is_dir():
            raise ModelError(f"{self.folder}: no such run; make one with  bertrec train DATA --out {self.folder}")
        if not self.finished:
            hint = "its training has not ended; go on with --resume" if self.pending else "it has no run.json"
            raise ModelError(f"{self.folder} is not a finished run: {hint}")
        record = read_json(self.record_file)
        if isinstance(record, dict) and record.get("kind") in ("rankers", "prompts"):
            raise ModelError(f"{self.folder} is a run of rankers, which score given candidates: bertrec rankers evaluate and score take it")
        if not isinstance(record, dict) or not isinstance(record.get("data"), str):
            raise ModelError(f"{self.record_file} is damaged: it does not say which data the run was trained on")
        split = record.get("split", {})
        if not isinstance(record.get("data_path", ""), str) or not isinstance(record.get("manifest", {}), dict):
            raise ModelError(f"{self.record_file} is damaged: it does not say where its data were")
        if not isinstance(split, dict) or not isinstance(split.get("options", {}), dict) or not isinstance(record.get("load", {}), dict):
            raise ModelError(f"{self.record_file} is damaged: it does not say how the data were read and split")
        return record

    def load_model(self) -> Recommender:
        """Load the trained model."""
        from bertrec.models.base import Recommender

        while True:
            self.record()
            found = self.state
            try:
                return Recommender.from_pretrained(self.model)
            except ModelError:
                if self.state == found:
                    raise  # else an update has replaced it meanwhile, and what was read is of both

    def catalog(self) -> ItemCatalog:
        """Load the model's items alone."""
        from bertrec.data.catalog import ItemCatalog

        self.record()
        return ItemCatalog.load(self.model)

    def later(self) -> Rows | None:
        """Return the interactions that came after the training data; None where there are none.

        Raises:
            ModelError: the file is missing or is not the one that was written.
        """
        from bertrec.data.growing import Rows

        while True:
            wanted = self.record().get(LATER_HASH)
            try:
                return None if wanted is None else Rows.load(self._checked_later(wanted))
            except (ModelError, DataError, OSError):
                if self.record().get(LATER_HASH) == wanted:
                    raise  # else an update has replaced them meanwhile

    def _checked_later(self, wanted: str) -> Path:
        if not self.later_file.exists():
            raise ModelError(f"{self.later_file} is missing")
        if sha256_file(self.later_file) != wanted:
            raise ModelError(f"{self.later_file} is damaged: its SHA-256 is not the one that {self.record_file.name} names")
        return self.later_file

    def settled(self) -> Path:
        """Put right what a killed process left of a change, of the folder as a whole or of what is in it, and return where it leads."""
        place = recover(self.folder)
        settle(self.folder)
        return place

    @property
    def state(self) -> tuple[int, int] | None:
        """What is another once the run was updated; None for a folder without a model."""
        self.settled()
        if not self.model.exists():
            return None
        found = self.model.stat()
        return found.st_ino, found.st_mtime_ns  # the number alone comes back: a folder may get that of the one before the last


def keeps_seen(record: Mapping[str, Any], asked: bool | None = None) -> bool:
    """Return whether items of a history are recommended and counted: as asked, else as the run was trained."""
    return bool(record.get("keep_seen")) if asked is None else asked


def states(record: Mapping[str, Any]) -> set[str]:
    """Return the hashes of the models that a run has had since it was trained, as far as its record knows them."""
    return {record.get("model_hash", ""), *(step[end] for step in record.get("updates", []) for end in ("from", "to"))}

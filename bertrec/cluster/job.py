"""What is to be done, as it is sent to every task, and what does it there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.cluster.output import Counts, Output
from bertrec.cluster.source import SourcePart
from bertrec.cluster.versions import versions
from bertrec.core.files import sha256_text
from bertrec.core.shown import json_text
from bertrec.data.places import place_of

if TYPE_CHECKING:
    import pyarrow as pa


class Maker(ABC):
    """What makes the tables of a job's parts: it holds a model, and a worker process keeps it from task to task."""

    model_hash: str
    schema: pa.Schema

    @abstractmethod
    def tables(self, part: SourcePart, counts: Counts) -> Iterator[pa.Table]:
        """Yield the output of a part by and by, and count what was met."""


@dataclass(frozen=True)
class Job(ABC):
    """What is to be done, as it is sent to every task.

    Attributes:
        run: the run folder, which every machine sees under this path.
        source: the input.
        target: the folder of the output.
        model_hash: of the model that the driver found there.
        settings: JSON values that the output depends on, beside model and input.
        classes: of other packages that the run needs and the caller trusts.
        versions: of the driver.
    """

    run: Path
    source: str
    target: str
    model_hash: str
    settings: dict[str, Any]
    classes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=versions)

    kind = ""
    unit = "rows"

    @cached_property
    def key(self) -> str:
        """What tells its parts from those of another job."""
        return sha256_text(self.kind, self.model_hash, json_text(self.settings))

    @property
    def output(self) -> Output:
        """Where parts are written."""
        return Output(place_of(self.target, "--out"))

    def manifest(self) -> dict[str, Any]:
        """Return what stands beside the parts."""
        said = {"kind": self.kind, "model_hash": self.model_hash, "settings": self.settings, "job": self.key}
        return said | {"run": str(self.run), "source": self.source, "versions": self.versions}

    @abstractmethod
    def maker(self) -> Maker:
        """Load the model."""

    def problem(self, total: Counts) -> str | None:
        """Return why what was made cannot be used, in words; None where it can."""
        return None

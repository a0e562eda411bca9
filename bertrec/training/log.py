"""What a training run reports about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bertrec.core.described import PREVIEW_ROWS, Described, Preview


@dataclass(frozen=True)
class EpochLog:
    """One epoch.

    Attributes:
        epoch: counted from 1.
        loss: mean over the epoch's steps.
        metrics: what ``evaluate()`` returned; empty where the epoch was not evaluated.
        seconds: of training and evaluation together.
        evaluation_seconds: of the evaluation alone.
    """

    epoch: int
    loss: float
    metrics: dict[str, float]
    seconds: float
    evaluation_seconds: float


@dataclass(frozen=True, repr=False)
class TrainLog(Described):
    """A whole run, its resumed parts together.

    Attributes:
        epochs: one entry for each epoch that was run.
        best_epoch: the epoch whose weights the module now holds.
        stopped_early: whether ``patience`` ended the run before the last epoch.
        steps: optimizer steps.
        seconds: sum over the epochs, whichever process ran them.
        peak_mib: peak memory of this process in MiB: allocated on the GPU where one trains, else resident.
        precision: what was computed in.
        device: where it was computed.
    """

    epochs: tuple[EpochLog, ...]
    best_epoch: int
    stopped_early: bool
    steps: int
    seconds: float
    peak_mib: float
    precision: str
    device: str

    def _facts(self) -> dict[str, object]:
        return {"epochs": len(self.epochs), "best_epoch": self.best_epoch, "seconds": round(self.seconds, 1), "device": self.device}

    def _preview(self) -> Preview:
        metrics = list(dict.fromkeys(name for epoch in self.epochs for name in epoch.metrics))
        newest = self.epochs[-PREVIEW_ROWS:]
        rows = [[epoch.epoch, epoch.loss, *(epoch.metrics.get(name) for name in metrics)] for epoch in newest]
        return Preview(["epoch", "loss", *metrics], rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return {**asdict(self), "epochs": [asdict(epoch) for epoch in self.epochs]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainLog:
        """Rebuild a log from ``to_dict``.

        Raises:
            ValueError: the values are of other types.
        """
        import pydantic

        return pydantic.TypeAdapter(cls).validate_python(dict(values))

"""How far a training has come: its epochs, the best one so far with its weights, and whether it is over."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bertrec.core.errors import ConfigError, NotFiniteError, unknown_name
from bertrec.core.processes import agreed
from bertrec.training.averaging import WeightAverage
from bertrec.training.config import TrainConfig
from bertrec.training.log import EpochLog
from bertrec.training.parameters import snapshot
from bertrec.training.randomness import preserved_randomness

Evaluate = Callable[[], Mapping[str, float]]
logger = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Judges each finished epoch; what it holds is all that early stopping needs to go on after a kill.

    Without ``evaluate`` the last epoch is the best one. Where weights are averaged, the average is what is judged and kept.
    """

    config: TrainConfig
    module: nn.Module
    evaluate: Evaluate | None
    history: list[EpochLog] = field(default_factory=list)
    best_epoch: int = 0
    best_state: dict[str, Tensor] | None = None
    average: WeightAverage | None = None

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.history)

    @property
    def stopped_early(self) -> bool:
        """Whether ``patience`` is used up before the last epoch."""
        patience = self.config.patience
        judged = bool(self.history) and bool(self.history[-1].metrics)
        return patience > 0 and judged and self.epoch < self.config.epochs and self.epoch - self.best_epoch >= patience

    def overtime(self, seconds: float) -> bool:
        """Say whether ``max_seconds`` are over ``seconds`` after the current epoch began."""
        return bool(self.config.max_seconds) and sum(entry.seconds for entry in self.history) + seconds > self.config.max_seconds

    @property
    def out_of_time(self) -> bool:
        """Whether another epoch as long as the last one would go past ``max_seconds``."""
        if not self.config.max_seconds or not self.history:
            return False
        return sum(entry.seconds for entry in self.history) + self.history[-1].seconds > self.config.max_seconds

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        return self.epoch >= self.config.epochs or self.stopped_early or self.out_of_time

    def finish_epoch(self, loss: float, seconds: float) -> EpochLog:
        """Evaluate if it is time to, and keep the weights if they are the best so far.

        Args:
            loss: mean over the epoch's steps.
            seconds: that its training took.

        Raises:
            ConfigError: ``config.metric`` is not among the figures.
            NotFiniteError: the figure is not a number.
        """
        start = time.perf_counter()
        number = self.epoch + 1
        with self.average.in_place() if self.average else nullcontext():
            metrics = self._measure() if self._is_judged(number) else {}
            spent = agreed(time.perf_counter() - start)  # by which several processes decide alike that time is over
            entry = EpochLog(number, loss, metrics, seconds + spent, spent)
            self.history.append(entry)
            figure = f", {self.config.metric} {metrics[self.config.metric]:.4f}" if metrics else ""
            logger.info("epoch %d of %d: loss %.4g%s, %.1f s", number, self.config.epochs, loss, figure, entry.seconds)
            self._keep_if_best(entry)
        return entry

    def _keep_if_best(self, entry: EpochLog) -> None:
        if not self.evaluate:  # the last is the best, and the weights as they stand need no copy
            self.best_epoch, self.best_state = entry.epoch, snapshot(self.module) if self.average else None
        elif entry.metrics and entry.metrics[self.config.metric] > self._best_value():
            self.best_epoch, self.best_state = entry.epoch, snapshot(self.module)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without the weights."""
        return {"history": [asdict(entry) for entry in self.history], "best_epoch": self.best_epoch}

    def resume(self, values: Mapping[str, Any], best_state: dict[str, Tensor] | None) -> None:
        """Continue from what ``to_dict`` returned, with the weights of the best epoch."""
        self.history = [EpochLog(**entry) for entry in values["history"]]
        self.best_epoch, self.best_state = values["best_epoch"], best_state

    def _is_judged(self, number: int) -> bool:
        return self.evaluate is not None and (number % self.config.evaluate_every == 0 or number == self.config.epochs)

    def _best_value(self) -> float:
        return self.history[self.best_epoch - 1].metrics[self.config.metric] if self.best_epoch else -math.inf

    def _measure(self) -> dict[str, float]:
        assert self.evaluate is not None
        self.module.eval()
        # Its own draws must not shift dropout: how often a run is evaluated may not change what it learns.
        with preserved_randomness(), torch.no_grad():
            metrics = {name: float(value) for name, value in self.evaluate().items()}
        self.module.train()
        if self.config.metric not in metrics:
            raise ConfigError(unknown_name("validation metric", self.config.metric, metrics))
        if not math.isfinite(metrics[self.config.metric]):
            raise NotFiniteError(f"validation {self.config.metric} is {metrics[self.config.metric]} after epoch {self.epoch + 1}")
        return metrics

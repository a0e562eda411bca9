"""Train one RecBole model within a time limit, judged after each epoch by our evaluator."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bertrec.recbole.exchange import EndedBy, Point, append_point, read_points


class BudgetEnded(Exception):
    """The time limit is reached in mid-epoch."""


class Fit:
    """A RecBole trainer made to stop in time and to report each epoch.

    Args:
        trainer: RecBole's, for the model.
        folder: takes a line per epoch.
        trains: whether the model learns by epochs at all.
        limit_seconds: of training and validation; 0 sets no limit.
        validate: returns the validation figure of the model as it is.
    """

    def __init__(self, trainer: Any, folder: Path, *, trains: bool, limit_seconds: float, validate: Callable[[], float]) -> None:
        self.trainer, self.folder, self.trains, self.limit, self.validate = trainer, folder, trains, limit_seconds, validate
        self.points: list[Point] = []
        self.ended_by: EndedBy = "epochs"
        self.seconds = 0.0

    @property
    def best_epoch(self) -> int:
        """The epoch with the highest validation figure, the first of equals; 0 before there is one."""
        if not self.points:
            return 0
        return max(self.points, key=lambda point: -math.inf if point.metric is None else point.metric).epoch

    def run(self, train_data: Any, valid_data: Any) -> None:
        """Train; afterwards the model holds the best epoch's weights, or the last ones where no epoch was finished."""
        self.started = time.perf_counter()
        self._watch_the_clock()
        self.trainer._valid_epoch = self._judge
        try:
            self.trainer.fit(train_data, valid_data, verbose=False, saved=True, show_progress=False)
            self.ended_by = self._own_end()
        except BudgetEnded:
            self.ended_by = "budget"
        self.seconds = time.perf_counter() - self.started
        self.restore_best()

    def recover(self) -> None:
        """Take over from a process that was killed: its curve and its best weights."""
        self.points = list(read_points(self.folder))
        self.seconds = self.points[-1].seconds if self.points else 0.0
        self.ended_by = "killed"
        self.restore_best()

    def restore_best(self) -> None:
        """Load the checkpoint that RecBole wrote at its best epoch, where there is one."""
        path = Path(self.trainer.saved_model_file)
        if path.exists():
            saved = torch.load(path, map_location=self.trainer.device)
            self.trainer.model.load_state_dict(saved["state_dict"])
            self.trainer.model.load_other_parameter(saved.get("other_parameter"))

    def _own_end(self) -> EndedBy:
        if not self.trains:
            return "no training"
        return "patience" if self.trainer.cur_step > self.trainer.stopping_step else "epochs"

    def _watch_the_clock(self) -> None:
        calculate_loss = self.trainer.model.calculate_loss

        def watched(*arguments: Any, **named: Any) -> Any:
            if self.limit and time.perf_counter() - self.started > self.limit:
                raise BudgetEnded
            return calculate_loss(*arguments, **named)

        self.trainer.model.calculate_loss = watched

    def _judge(self, valid_data: Any, load_best_model: bool = False, show_progress: bool = False) -> tuple[float, dict[str, float]]:
        metric = self.validate()
        losses = self.trainer.train_loss_dict
        loss = float(losses[max(losses)]) if losses else math.nan
        point = Point(len(self.points) + 1, time.perf_counter() - self.started, loss if math.isfinite(loss) else None, metric)
        self.points.append(point)
        append_point(self.folder, point)
        return metric, {"metric": metric}

"""The live table of a running study, where a terminal reads it; else a line now and then."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bertrec.cli.output import console, note

if TYPE_CHECKING:
    import optuna
    from rich.live import Live

    from bertrec.tuning.plan import TunePlan

_LINE_EVERY = 30.0


class TrialTable:
    """Shows trials done, running, pruned and failed, the best so far and the time left."""

    def __init__(self, plan: TunePlan) -> None:
        self.plan = plan
        self.started = self.last_line = time.monotonic()
        self.live: Live | None = None

    def __enter__(self) -> Self:
        from rich.live import Live

        where = console(stderr=True)
        if where.is_terminal:
            self.live = Live(console=where, auto_refresh=False, transient=True)
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.live is not None:
            self.live.stop()

    def update(self, study: optuna.Study) -> None:
        """Show how the study stands."""
        from bertrec.tuning.summary import summary

        line = summary(study).line(self.plan.wanted, self._time_left())
        if self.live is not None:
            self.live.update(line, refresh=True)
        elif time.monotonic() - self.last_line > _LINE_EVERY:
            self.last_line = time.monotonic()
            note(line)

    def _time_left(self) -> float | None:
        if not self.plan.timeout_minutes:
            return None
        return max(0.0, self.plan.timeout_minutes - (time.monotonic() - self.started) / 60)

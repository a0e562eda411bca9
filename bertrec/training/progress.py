"""One progress line for a whole run."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bertrec.training.state import TrainingState
from bertrec.training.trainer import LossMeter

_STEPS_A_TEXT = 10


class ProgressBar(TrainerCallback):
    """Shows epoch, loss, the last validation figure and the time left at most."""

    def __init__(self, run_state: TrainingState, meter: LossMeter) -> None:
        self.run_state, self.meter = run_state, meter
        self.bar: Any = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Open the line, where a resumed run left off."""
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", mininterval=0.5, dynamic_ncols=True, leave=True)

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Name the epoch."""
        self.bar.set_description(f"epoch {self.run_state.epoch + 1}/{self.run_state.config.epochs}", refresh=False)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Advance; the text is made now and then only."""
        if state.global_step % _STEPS_A_TEXT == 0:
            self.bar.set_postfix_str(self._text(), refresh=False)
        self.bar.update(1)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Show the figures of an epoch at once."""
        if self.bar is not None:
            self.bar.set_postfix_str(self._text())

    def close(self) -> None:
        """Leave the line as it stands."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def _text(self) -> str:
        metric = self.run_state.config.metric
        judged = [entry.metrics[metric] for entry in self.run_state.history if entry.metrics]
        return f"loss {self.meter.last:.4g}" + (f", {metric} {judged[-1]:.4f}, best {max(judged):.4f}" if judged else "")


def shows_progress(wanted: bool) -> bool:
    """Say whether a moving line is wanted and standard error is a terminal that can show it."""
    return wanted and sys.stderr.isatty()

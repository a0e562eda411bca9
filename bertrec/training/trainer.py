"""The Hugging Face Trainer for a module that returns a loss, with whole checkpoints and little overhead per step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from bertrec.core.errors import BertrecError, ModelError, NotFiniteError
from bertrec.core.files import atomic_folder, write_json
from bertrec.core.processes import agreed
from bertrec.training.averaging import WeightAverage
from bertrec.training.batches import SHARE, EpochBatches, EpochLoader
from bertrec.training.checkpoints import checkpoint_folder, mark_complete, prune
from bertrec.training.config import TrainConfig
from bertrec.training.optimizer import PlainAdamW, clip_gradients, merge_rows
from bertrec.training.parameters import parameter_groups, restore, snapshot
from bertrec.training.state import TrainingState

_FUSED = frozenset({"cpu", "cuda", "mps"})
"""Where torch has AdamW in one kernel."""
_STEPS_A_CHECK = 32
"""Steps between looks at the loss on an accelerator, where each look waits for the device."""


class LossMeter:
    """Adds up the losses of an epoch and stops a run whose loss is no number."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.start(1)

    def start(self, epoch: int) -> None:
        """Begin ``epoch``, counted from 1."""
        self.epoch, self.steps, self.total, self.last = epoch, 0, 0.0, math.nan
        self._pending: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Take the loss of one step, a scalar on any device."""
        self._pending.append(loss)
        if len(self._pending) >= self.every:
            self._look()

    def mean(self) -> float:
        """Return the mean over the steps of the epoch so far."""
        self._look()
        return self.total / max(self.steps, 1)

    def _look(self) -> None:
        values = [self._pending[0].item()] if len(self._pending) == 1 else torch.stack(self._pending).tolist() if self._pending else []
        self._pending = []
        for value in values:
            self.steps += 1
            if not math.isfinite(value):
                raise NotFiniteError(
                    f"the loss is {value} in epoch {self.epoch}, step {self.steps}: lower the learning rate (or look for values in the "
                    "data that are not finite)"
                )
            self.total += value
            self.last = value


class EpochEnd(TrainerCallback):
    """Closes each epoch: loss, evaluation, the best weights, the decision to stop, and the wish for a checkpoint."""

    def __init__(self, trainer: ModuleTrainer) -> None:
        self.trainer = trainer
        self.started = 0.0

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock and the loss."""
        self.started = time.perf_counter()
        self.trainer.model_wrapped.train()  # here and not each step: it visits every submodule
        self.trainer.meter.start(self.trainer.run_state.epoch + 1)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take the weights into their average; end an epoch that would go past the time limit, to be judged as it stands."""
        if self.trainer.run_state.average:
            self.trainer.run_state.average.update(state.global_step)
        if self.trainer.config.max_seconds and agreed(self.trainer.run_state.overtime(time.perf_counter() - self.started)):
            control.should_training_stop = True

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Judge the epoch."""
        trainer, run_state = self.trainer, self.trainer.run_state
        loss = trainer.mean_over_processes(trainer.meter.mean())
        entry = run_state.finish_epoch(loss, agreed(time.perf_counter() - self.started))
        # The prefix is the Trainer's: loggers file such figures under evaluation.
        figures = {f"eval_{name}": value for name, value in entry.metrics.items()}
        trainer.log({"loss": entry.loss, "learning_rate": trainer.rate, **figures})
        control.should_training_stop = control.should_training_stop or run_state.finished
        control.should_save = trainer.checkpoints is not None


class ModuleTrainer(Trainer):
    """Trains ``module(**batch)["loss"]``."""

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        module: nn.Module,
        args: TrainingArguments,
        dataset: Any,
        collate: Callable[[Any], dict[str, Tensor]],
        *,
        config: TrainConfig,
        run_state: TrainingState,
        checkpoints: Path | None,
        identity: dict[str, Any],
    ) -> None:
        super().__init__(module, args, data_collator=collate, train_dataset=dataset)
        self.module = module
        self.remove_callback(PrinterCallback)
        self.add_callback(EpochEnd(self))
        self.config, self.run_state, self.checkpoints, self.identity = config, run_state, checkpoints, identity
        self.meter = LossMeter(1 if args.device.type == "cpu" else _STEPS_A_CHECK)
        run_state.average = WeightAverage(module, config.average) if config.average else None  # here, where the module is on its device

    def get_train_dataloader(self) -> EpochLoader:
        """Return the loader whose order depends on seed and epoch alone."""
        config, shared = self.config, {"rank": self.args.process_index, "world": self.args.world_size}
        sampler = EpochBatches(self.train_dataset, config.batch_size, config.seed, accumulate=config.accumulate, **shared)
        return EpochLoader(self.train_dataset, sampler, self.data_collator, pinned=self.args.device.type == "cuda")

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Return AdamW over the groups of encoder and rest, with and without decay."""
        if self.optimizer is None:
            groups = parameter_groups(self.module, self.config)
            # One kernel per group: a loop over parameters is the larger part of a short step on a CPU.
            fused = all(p.is_floating_point() and p.device.type in _FUSED for group in groups for p in group["params"])
            kind = torch.optim.AdamW if self.args.fp16 else PlainAdamW  # fp16 scales its loss, which takes the wrapper
            self.optimizer = kind(groups, lr=self.config.learning_rate, fused=fused)
        return self.optimizer

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *_: Any, **__: Any) -> Tensor:
        """Return the loss, which must be a scalar."""
        outputs = model(**inputs)
        loss = outputs.get("loss") if isinstance(outputs, dict) else None
        if not isinstance(loss, Tensor) or loss.ndim:
            raise ModelError(f'{type(self.module).__name__} must return {{"loss": scalar tensor}} in training')
        return loss

    def training_step(self, model: nn.Module, inputs: dict[str, Any] | list[dict[str, Any]], num_items_in_batch: Any = None) -> Tensor:
        """Compute one step's gradients, of a batch or of its parts one by one, and note its loss."""
        if isinstance(inputs, dict):
            loss = self._gradients(model, inputs)
        else:
            *first, last = inputs
            with self.accelerator.no_sync(model):  # processes add up their gradients once a step
                losses = []
                for part in first:
                    losses.append(self._gradients(model, part))
                    merge_rows(self._optimised())
            loss = torch.stack([*losses, self._gradients(model, last)]).sum()
        self.meter.add(loss)
        return loss

    def _gradients(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        inputs = self._prepare_inputs(inputs)
        share = inputs.pop(SHARE, None)
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, inputs)
            loss = loss if share is None else loss * share
        self.accelerator.backward(loss)
        return loss.detach()

    def _prepare_input(self, data: Any) -> Any:
        """Move a pinned tensor to the GPU without waiting for it; all else as the Trainer does."""
        if isinstance(data, Tensor) and data.is_pinned():
            return data.to(self.args.device, non_blocking=True)
        return super()._prepare_input(data)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return 0: nobody reads it, and counting parameters takes time each step."""
        return 0

    def mean_over_processes(self, value: float) -> float:
        """Return the mean of a figure that each process has its own of."""
        if self.args.world_size == 1:
            return value
        return float(self.accelerator.reduce(torch.tensor(value, device=self.args.device), "mean").item())

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        if self.args.fp16 or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return super()._clip_grad_norm(model)
        return clip_gradients(self._optimised(), self.args.max_grad_norm)

    @property
    def rate(self) -> float:
        """Learning rate of the parameters that are not the encoder's (of the encoder's, where there are no others)."""
        assert self.optimizer is not None
        return float(self.optimizer.param_groups[0]["lr"])

    def _optimised(self) -> list[Tensor]:
        assert self.optimizer is not None
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _get_grad_norm(self, model: nn.Module, grad_norm: Tensor | None = None) -> Tensor | None:
        return grad_norm  # a norm that is not clipped to is not worth computing

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Write the resume state under a temporary name and rename it; then drop older ones.

        Raises:
            BertrecError: the disk is full; older checkpoints are as they were.
        """
        assert self.checkpoints is not None
        target = checkpoint_folder(self.checkpoints, self.run_state.epoch)
        with ExitStack() as stack:
            shared: list[Path | None] = [stack.enter_context(atomic_folder(target)) if self.args.should_save else None]
            if self.args.world_size > 1:
                torch.distributed.broadcast_object_list(shared, src=0)
            assert shared[0] is not None
            try:
                self._write_checkpoint(shared[0])
            except RuntimeError as error:  # what torch makes of a full disk
                raise BertrecError(f"cannot write {target}: {_first_line(error)}; what was there before is unchanged") from error
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                mark_complete(shared[0])
        if self.args.should_save:
            prune(self.checkpoints)

    def _write_checkpoint(self, folder: Path) -> None:
        if self.args.should_save:
            safetensors.torch.save_file(snapshot(self.module), folder / "model.safetensors")
            if self.run_state.best_state is not None and self.run_state.best_epoch != self.run_state.epoch:
                safetensors.torch.save_file(self.run_state.best_state, folder / "best.safetensors")
            if self.run_state.average is not None:
                safetensors.torch.save_file(self.run_state.average.state(), folder / "average.safetensors")
            self.state.save_to_json(str(folder / "trainer_state.json"))
            write_json(folder / "progress.json", {**self.run_state.to_dict(), "identity": self.identity})
        self._save_optimizer_and_scheduler(str(folder))
        self._save_scaler(str(folder))
        self._save_rng_state(str(folder))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        restore(self.module, safetensors.torch.load_file(Path(resume_from_checkpoint) / "model.safetensors"))
        if self.run_state.average is not None:
            self.run_state.average.load(safetensors.torch.load_file(Path(resume_from_checkpoint) / "average.safetensors"))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]

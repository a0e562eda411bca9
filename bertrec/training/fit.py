"""Train any module that returns a loss: one call, resumable after a kill at any moment with the same final weights."""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import transformers
from torch import Tensor, nn
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from bertrec.core.devices import chosen_device
from bertrec.core.errors import ConfigError, DataError, ModelError, unknown_name
from bertrec.core.files import sha256_text
from bertrec.core.processes import world
from bertrec.training.batches import EpochBatches, Weighed
from bertrec.training.checkpoints import check_intact, complete_checkpoints, prune, read_progress, start_afresh
from bertrec.training.config import TrainConfig
from bertrec.training.log import TrainLog
from bertrec.training.optimizer import learns_by_rows
from bertrec.training.parameters import encoder_parameter_ids, parameter_groups, restore, trainable_tensors
from bertrec.training.precision import choose_precision
from bertrec.training.progress import ProgressBar, shows_progress
from bertrec.training.randomness import preserved_randomness
from bertrec.training.state import Evaluate, TrainingState
from bertrec.training.trainer import ModuleTrainer

FREE_SETTINGS = frozenset({"epochs", "patience", "max_seconds", "device", "loggers", "save_every_epoch", "gradient_cache"})
"""Settings that may differ between a run and its continuation."""
_SETTINGS_SINCE = {"average": 0.0, "warmup_epochs": 0.0, "accumulate": 1, "sparse_ids": "off"}
"""What checkpoints of versions without these settings were made with."""

logger = logging.getLogger(__name__)


def fit_module(
    module: nn.Module,
    dataset: Any,
    collate: Callable[[Any], dict[str, Tensor]],
    config: TrainConfig,
    *,
    evaluate: Evaluate | None = None,
    run_dir: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    callbacks: Sequence[TrainerCallback] = (),
) -> TrainLog:
    """Train ``module`` in place and leave it with the weights of its best epoch, in the mode (train, eval) it came in.

    Everything is seeded with ``config.seed``; the caller's global random states are as before when it returns.

    Args:
        module: ``module(**batch)`` returns ``{"loss": scalar}``. A method ``encoder_parameters()`` names the parameters that
            take the encoder's learning rate and decay. Buffers with ``persistent=False`` are taken for constants.
        dataset: has ``__len__`` and ``__getitem__``; with ``batches(epoch, batch_size, seed)`` it groups its own items, and
            with ``__getitems__(indices)`` it fetches a batch at once. A true ``whole_batches`` says that no batch may be cut;
            ``targets(indices)`` says over how many targets the loss of rows is a mean, which ``accumulate`` needs.
        collate: makes of the items of a batch the keyword arguments of ``module``.
        config: the settings.
        evaluate: returns validation figures, higher is better; called with the module in eval mode, without gradients. Every
            process of a distributed run calls it.
        run_dir: checkpoints go to ``run_dir/checkpoints``, loggers' files beside them; without it nothing is written.
        resume: continue from the newest complete checkpoint, or start where there is none.
        progress: show a progress line, where standard error is a terminal.
        callbacks: called by the Hugging Face Trainer at its events; an epoch's end is after its evaluation. One that
            sets ``control.should_training_stop`` ends the training.

    Returns:
        What happened, the parts before a resume included.

    Raises:
        DataError: the dataset is empty.
        ConfigError: a device, precision, logger or metric that is not there; a callback that is none; ``resume`` without
            ``run_dir``; batches that are to be cut and may not be.
        ModelError: the loss is not finite, nothing can be trained, or the checkpoint is of another run or damaged.
        BertrecError: the disk is full; older checkpoints are unchanged.
    """
    checkpoints = _checkpoints(config, run_dir, resume)
    _check_callbacks(callbacks)
    if not len(dataset):
        raise DataError("there is no training sequence: the dataset is empty")
    _check_cuts(dataset, config)
    if config.sparse_ids == "on" and not learns_by_rows(module):
        raise ConfigError("train.sparse_ids=on: there is no table of ID vectors here that learns by rows: leave it at auto")
    parameter_groups(module, config)
    was_training = module.training
    run_state = TrainingState(config, module, evaluate)
    with preserved_randomness(), _quiet(), tempfile.TemporaryDirectory() as scratch:
        identity = _identity(module, dataset, config)
        arguments = _arguments(module, config, Path(run_dir) if run_dir else Path(scratch), steps_per_epoch=identity["steps_per_epoch"])
        start = _resume(run_state, checkpoints, identity) if resume else None
        if checkpoints and arguments.should_save:  # the first process alone
            start_afresh(checkpoints) if not resume else prune(checkpoints)
        if not run_state.finished:
            trainer = ModuleTrainer(
                module, arguments, dataset, collate, config=config, run_state=run_state, checkpoints=checkpoints, identity=identity
            )
            for callback in callbacks:
                trainer.add_callback(callback)
            _train(trainer, start, show=shows_progress(progress))
    if run_state.best_state is not None:
        restore(module, run_state.best_state)
    module.train(was_training)
    return _log(run_state, arguments, identity["steps_per_epoch"])


def _train(trainer: ModuleTrainer, start: Path | None, *, show: bool) -> None:
    module = trainer.module
    own_forward = module.__dict__.get("forward")
    bar = ProgressBar(trainer.run_state, trainer.meter)
    if show and trainer.is_world_process_zero():
        trainer.add_callback(bar)
    if trainer.args.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(trainer.args.device)
    transformers.set_seed(trainer.config.seed)
    try:
        trainer.train(resume_from_checkpoint=str(start) if start else None)
    finally:
        bar.close()
        _take_back_forward(module, own_forward)


def _take_back_forward(module: nn.Module, own_forward: Any) -> None:
    """Undo autocast's replacement of ``module.forward``, which would outlive the run (and cannot be pickled)."""
    module.__dict__.pop("_original_forward", None)
    module.__dict__.pop("forward", None)
    if own_forward is not None:
        module.__dict__["forward"] = own_forward


def _checkpoints(config: TrainConfig, run_dir: str | Path | None, resume: bool) -> Path | None:
    if run_dir is None and resume:
        raise ConfigError("resume needs the folder of the run to continue: pass run_dir")
    if run_dir is None and config.loggers:
        raise ConfigError("loggers need a folder to write to: pass run_dir")
    return Path(run_dir) / "checkpoints" if run_dir is not None and config.save_every_epoch else None


def _check_loggers(names: Sequence[str]) -> None:
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise ConfigError(unknown_name("logger", name, INTEGRATION_TO_CALLBACK))
        try:
            INTEGRATION_TO_CALLBACK[name]()
        except (RuntimeError, ImportError) as error:  # what they raise where their package is absent
            raise ConfigError(f"logger {name} cannot be used here: {' '.join(str(error).split())}") from error


def _check_cuts(dataset: Any, config: TrainConfig) -> None:
    """See that batches may be cut where they are to be: the parts have to make one loss of the whole."""
    whole = "rows of a batch are told from one another, so that no batch is cut"
    if world() > 1 and getattr(dataset, "whole_batches", False):
        raise ConfigError(f"{whole}: train in one process, without torchrun")
    if config.accumulate > 1 and getattr(dataset, "whole_batches", False):
        raise ConfigError(f"{whole}: set train.accumulate to 1")
    if config.accumulate > 1 and not isinstance(dataset, Weighed):
        raise ConfigError("how much a row counts for in a batch's loss is not known here: set train.accumulate to 1")


def _check_callbacks(callbacks: Sequence[TrainerCallback]) -> None:
    for callback in callbacks:
        if not isinstance(callback, TrainerCallback):
            given = f"the class {callback.__name__}" if isinstance(callback, type) else f"a {type(callback).__name__}"
            raise ConfigError(f"callbacks are objects derived from transformers.TrainerCallback, not {given}")


def _arguments(module: nn.Module, config: TrainConfig, folder: Path, *, steps_per_epoch: int) -> TrainingArguments:
    """Translate the settings; whatever costs time each step and is not needed is switched off.

    Args:
        module: what is trained.
        config: the settings.
        folder: for loggers' files.
        steps_per_epoch: as many in each process, which takes its part of every batch.
    """
    _check_loggers(config.loggers)
    device = chosen_device(config.device)
    precision = choose_precision(config.precision, tunes_encoder=bool(encoder_parameter_ids(module)), device=device.type)
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant_with_warmup" if config.schedule == "constant" else config.schedule,
        warmup_steps=config.warmup_share,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        use_cpu=device.type == "cpu",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        report_to=list(config.loggers) or "none",
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        log_level="error",
        dataloader_pin_memory=False,
        skip_memory_metrics=True,
        remove_unused_columns=False,
        label_names=[],
        ddp_broadcast_buffers=False,  # constants, the table of text vectors among them, are the same in each process
        ddp_find_unused_parameters=False,
    )
    if config.warmup_epochs:
        arguments.warmup_steps = max(1, round(config.warmup_epochs * steps_per_epoch))
    if device.type == "cuda":
        _take_gpu(arguments, device)
    return arguments


def _take_gpu(arguments: TrainingArguments, device: torch.device) -> None:
    """Train on this GPU: the Trainer takes the first, and all of them by DataParallel, which is slower than one."""
    arguments._n_gpu = 1
    torch.cuda.set_device(device)
    arguments.__dict__["_setup_devices"] = device  # a cached property


def _identity(module: nn.Module, dataset: Any, config: TrainConfig) -> dict[str, Any]:
    """Return what must be the same when a run goes on: settings, data and the shapes of what is trained."""
    settings = {name: value for name, value in config.to_dict().items() if name not in FREE_SETTINGS}
    shapes = "\0".join(f"{name} {tuple(tensor.shape)}" for name, tensor in trainable_tensors(module).items())
    return {
        **settings,
        "sparse_ids": "on" if learns_by_rows(module) else "off",  # auto depends on the device, which may be another one
        "sequences": len(dataset),
        "steps_per_epoch": len(EpochBatches(dataset, config.batch_size, config.seed, accumulate=config.accumulate)),
        "data": getattr(dataset, "content_hash", None),
        "model": getattr(module, "identity", None),
        "parameters": sha256_text(type(module).__name__, shapes),
    }


def _resume(run_state: TrainingState, checkpoints: Path | None, identity: dict[str, Any]) -> Path | None:
    """Set ``run_state`` to where the newest complete checkpoint left it, and return that checkpoint."""
    found = complete_checkpoints(checkpoints) if checkpoints else []
    if not found:
        logger.warning("there is no complete checkpoint in %s: training starts from the beginning", checkpoints)
        return None
    check_intact(found[0])
    values = read_progress(found[0])
    was = _SETTINGS_SINCE | values["identity"]
    for name, value in identity.items():
        if was.get(name) != value:
            raise ModelError(
                f"{found[0]} is of another run: {name} was {was.get(name)} and is {value} now; "
                "resume with the settings, data and model of that run, or train anew without resume"
            )
    run_state.resume(values, _best_state(found[0]))
    return found[0]


def _best_state(checkpoint: Path) -> dict[str, Tensor]:
    """Read the weights of the best epoch so far; where it is the checkpoint's own, they stand with the others."""
    best, average = checkpoint / "best.safetensors", checkpoint / "average.safetensors"
    if best.exists():
        return safetensors.torch.load_file(best)
    state = safetensors.torch.load_file(checkpoint / "model.safetensors")
    return state | safetensors.torch.load_file(average) if average.exists() else state


def _log(run_state: TrainingState, arguments: TrainingArguments, steps_per_epoch: int) -> TrainLog:
    return TrainLog(
        epochs=tuple(run_state.history),
        best_epoch=run_state.best_epoch,
        stopped_early=run_state.stopped_early,
        steps=run_state.epoch * steps_per_epoch,
        seconds=sum(entry.seconds for entry in run_state.history),
        peak_mib=_peak_mib(arguments.device),
        precision="bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32",
        device=arguments.device.type,
    )


def _peak_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what transformers and accelerate say about defaults that are not the user's."""
    verbosity = transformers.logging.get_verbosity()
    with warnings.catch_warnings():
        for library in ("transformers", "accelerate"):
            warnings.filterwarnings("ignore", module=library)
        transformers.logging.set_verbosity_error()
        try:
            yield
        finally:
            transformers.logging.set_verbosity(verbosity)

"""What of a module is optimised, how, and what of it changes in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bertrec.core.errors import ModelError
from bertrec.training.config import TrainConfig


def encoder_parameter_ids(module: nn.Module) -> set[int]:
    """Return the ``id`` of each trainable parameter that ``module.encoder_parameters()`` yields; empty without that method."""
    parameters = getattr(module, "encoder_parameters", None)
    return {id(p) for p in parameters() if p.requires_grad} if callable(parameters) else set()


def parameter_groups(module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Return optimizer groups: encoder or not, with weight decay or not.

    Biases, norms and embedding tables do not decay: they are few or sparse, and a row that no batch touches would shrink.

    Raises:
        ModelError: every parameter is frozen.
    """
    encoder, tables = encoder_parameter_ids(module), _parameters_without_decay(module)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and id(parameter) not in tables
            groups.setdefault((id(parameter) in encoder, decays), []).append(parameter)
    if not groups:
        raise ModelError(f"{type(module).__name__} has nothing to train: every parameter is frozen")
    return [_group(config, parameters, encoder=tuned, decays=decays) for (tuned, decays), parameters in sorted(groups.items())]


def trainable_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return what training changes, by name: trainable parameters and persistent buffers (not copied).

    A buffer registered with ``persistent=False`` is taken for a constant, e.g. a table of frozen text vectors.
    """
    kept = module.state_dict(keep_vars=True)
    changing: dict[str, Tensor] = {name: p for name, p in module.named_parameters() if p.requires_grad}
    changing.update((name, b) for name, b in module.named_buffers() if name in kept)
    return changing


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy on the CPU of what training changes."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in trainable_tensors(module).items()}


@torch.no_grad()
def restore(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy a ``snapshot`` back into ``module``.

    Raises:
        ModelError: names or shapes differ, so that the state is not of this module.
    """
    tensors = trainable_tensors(module)
    wrong = set(tensors).symmetric_difference(state)
    wrong |= {name for name in tensors.keys() & state.keys() if tensors[name].shape != state[name].shape}
    if wrong:
        raise ModelError(f"the saved state does not fit {type(module).__name__}: it differs in {', '.join(sorted(wrong)[:3])}")
    for name, tensor in tensors.items():
        tensor.copy_(state[name])


def _parameters_without_decay(module: nn.Module) -> set[int]:
    exempt: set[int] = set()
    for owner in module.modules():
        table = isinstance(owner, nn.Embedding | nn.EmbeddingBag) or "norm" in type(owner).__name__.lower()
        for name, parameter in owner.named_parameters(recurse=False):
            if table or "embedding" in name or name.endswith("bias"):
                exempt.add(id(parameter))
    return exempt


def _group(config: TrainConfig, parameters: list[nn.Parameter], *, encoder: bool, decays: bool) -> dict[str, Any]:
    rate = config.encoder_learning_rate if encoder else config.learning_rate
    decay = config.encoder_weight_decay if encoder else config.weight_decay
    return {"params": parameters, "lr": rate, "weight_decay": decay if decays else 0.0}

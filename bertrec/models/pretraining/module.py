"""What is trained: the model's network by way of its item source, and the tasks' own weights."""

from __future__ import annotations

import json

import torch
from torch import Tensor, nn

from bertrec.core.files import sha256_text
from bertrec.models.pretraining.config import TASKS, PretrainingConfig
from bertrec.models.pretraining.domains import Domains
from bertrec.models.pretraining.sources import ItemSource
from bertrec.models.pretraining.tasks import Task
from bertrec.models.pretraining.view import View
from bertrec.training.randomness import preserved_randomness


class Pretraining(nn.Module):
    """The weighted sum of the tasks' losses over a batch.

    Args:
        source: gives item vectors, and has the network.
        domains: the data sets.
        config: all settings.
    """

    of_item: Tensor

    def __init__(self, source: ItemSource, domains: Domains, config: PretrainingConfig) -> None:
        super().__init__()
        self.source = source
        with preserved_randomness():  # a task's own weights are the same in every run of a seed
            torch.manual_seed(config.train.seed)
            self.tasks: nn.ModuleList = nn.ModuleList(_task(name, config, domains) for name in config.pretrain.tasks)
        self.register_buffer("of_item", torch.from_numpy(domains.of_item), persistent=False)
        self.whole = any(task.whole for task in self.tasks)
        self.identity = sha256_text(source.network.identity, json.dumps(config.pretrain.to_dict(), sort_keys=True))

    @property
    def alters(self) -> bool:
        """Whether a task asks for altered items."""
        return any(task.alters for task in self.tasks)

    def forward(self, inputs: Tensor, targets: Tensor, places: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``{"loss": scalar}``; shapes are those of `bertrec.models.pretraining.sequences.MixedSequences.collate`."""
        view = View(self.source, inputs, targets, self.of_item, self.whole, places)
        return {"loss": torch.stack([task.weight * task(view) for task in self.tasks]).sum()}


def examine(config: PretrainingConfig, domains: Domains) -> list[str]:
    """Let each task look at the data before anything is computed; return what a user should know, one line each.

    Raises:
        ConfigError: a setting asks for what the data lack.
        DataError: the data have nothing for a task.
    """
    return [line for name in config.pretrain.tasks for line in TASKS.find(name).examine(config.pretrain, domains)]


def _task(name: str, config: PretrainingConfig, domains: Domains) -> Task:
    task: Task = TASKS.find(name)(config.pretrain, domains)
    task.build(config.item.width)
    return task

"""A run so small that it takes a fraction of a second, with dropout, so that random states matter."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bertrec.core.ragged import Ragged
from bertrec.training.config import TrainConfig
from bertrec.training.sequences import SequenceDataset

N_ITEMS = 12
CONFIG = TrainConfig(
    batch_size=8, epochs=6, patience=3, learning_rate=0.03, warmup_share=0.1, schedule="cosine", precision="fp32", device="cpu", seed=5
)


class Tiny(nn.Module):
    """Predicts the next item from the present one; ``hook(step)`` is called in each training step."""

    def __init__(self, hook=None):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.items = nn.Embedding(N_ITEMS + 1, 6)
        self.norm = nn.LayerNorm(6)
        self.out = nn.Linear(6, N_ITEMS + 1)
        self.register_buffer("mean_norm", torch.zeros(()))
        self.drop = nn.Dropout(0.3)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
        self.hook, self.steps = hook, 0

    def forward(self, inputs, targets):
        self.steps += 1
        if self.hook:
            self.hook(self.steps)
        states = self.norm(self.items(inputs))
        self.mean_norm.mul_(0.9).add_(0.1 * states.detach().norm())
        logits = self.out(self.drop(states))
        return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0)}


def sequences():
    """60 users who mostly walk through the catalogue in order."""
    rng = np.random.default_rng(1)
    rows = [(rng.integers(N_ITEMS) + np.arange(length)) % N_ITEMS + 1 for length in rng.integers(3, 9, 60)]
    return SequenceDataset(Ragged.from_rows(rows), 10)


def rises_then_falls(module):
    """A validation figure with its best in epoch 3 that also draws from the global generators, as an evaluation may."""
    figures = iter([0.1, 0.2, 0.5, 0.4, 0.45, 0.3])

    def evaluate():
        assert not module.training
        assert not torch.is_grad_enabled()
        torch.rand(3)
        return {"NDCG@10": next(figures)}

    return evaluate


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def pseudo_random_figure(module):
    """A validation figure that depends on every bit of the weights, so that its best epoch is anywhere."""

    def evaluate():
        total = sum(float(parameter.double().sum()) for parameter in module.parameters())
        return {"NDCG@10": (total * 997) % 1}

    return evaluate

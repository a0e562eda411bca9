"""A training that is out of time ends in mid-epoch, is judged as it stands, and begins no epoch that would end too late."""

from __future__ import annotations

import time

import pytest
import torch

from bertrec.training.config import TrainConfig
from bertrec.training.fit import fit_module


class Slow(torch.nn.Module):
    """Takes a known time for each step."""

    def __init__(self, seconds):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seconds, self.steps = seconds, 0

    def forward(self, x):
        self.steps += self.training
        time.sleep(self.seconds)
        return {"loss": (self.weight - x).square().mean()}


def train(seconds_a_step, *, steps, epochs, max_seconds, **settings):
    module = Slow(seconds_a_step)
    config = TrainConfig(batch_size=1, epochs=epochs, patience=0, max_seconds=max_seconds, **settings)
    log = fit_module(
        module, [torch.ones(1)] * steps, lambda rows: {"x": torch.stack(rows)}, config, evaluate=lambda: {"NDCG@10": 0.5}, progress=False
    )
    return log, module


def test_an_epoch_that_would_never_end_is_cut_and_judged():
    log, module = train(0.05, steps=200, epochs=3, max_seconds=0.5)
    assert len(log.epochs) == 1
    assert 5 <= module.steps < 60
    assert log.epochs[0].metrics == {"NDCG@10": 0.5}
    assert log.best_epoch == 1


def test_an_epoch_that_is_cut_leaves_the_mean_of_its_steps():
    """Adam moves the weight by the learning rate in each step, as the gradient keeps its sign: after n steps the plain mean is at half."""
    log, module = train(0.05, steps=200, epochs=3, max_seconds=0.5, average=1.0, learning_rate=1e-4, warmup_share=0.0, weight_decay=0.0)
    assert (len(log.epochs), log.best_epoch) == (1, 1)
    assert module.weight.item() == pytest.approx(1e-4 * (module.steps + 1) / 2, rel=0.01)


def test_no_epoch_is_begun_that_would_end_too_late():
    log, module = train(0.04, steps=10, epochs=20, max_seconds=1.0)
    assert 1 <= len(log.epochs) <= 2
    assert module.steps == 10 * len(log.epochs)


@pytest.mark.parametrize("limit", [0.0, 60.0])
def test_without_need_all_epochs_are_run(limit):
    log, _ = train(0.0, steps=3, epochs=4, max_seconds=limit)
    assert len(log.epochs) == 4

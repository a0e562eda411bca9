"""Gradients added up over several batches give the step of one large batch."""

from __future__ import annotations

import pytest
import torch
from tiny_run import CONFIG, Tiny, pseudo_random_figure, same, sequences, weights
from torch import nn

from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.models.graph import Pairs
from bertrec.training.fit import fit_module

LARGE = CONFIG.updated({"batch_size": 24, "epochs": 4, "patience": 0})  # 60 sequences: the last batch is half a batch


def train(config, folder=None, *, resume=False, dropout=0.0, dataset=None, evaluate=False, module=None):
    module, dataset = module or Tiny(), dataset or sequences()
    module.drop.p = dropout
    figure = pseudo_random_figure(module) if evaluate else None
    log = fit_module(module, dataset, dataset.collate, config, run_dir=folder, resume=resume, progress=False, evaluate=figure)
    return module, log


@pytest.mark.parametrize(("size", "accumulate"), [(8, 3), (12, 2), (1, 24), (6, 4)])
@pytest.mark.parametrize("settings", [{}, {"average": 0.5, "max_grad_norm": 0.05}])
def test_the_result_is_that_of_one_large_batch(size, accumulate, settings):
    whole, expected = train(LARGE.updated(settings))
    module, log = train(LARGE.updated({**settings, "batch_size": size, "accumulate": accumulate}))
    assert log.steps == expected.steps == 4 * 3
    assert module.steps == 4 * (accumulate * 2 + min(accumulate, 12))  # forward passes: the last batch of 12 is read in as many parts
    assert [entry.loss for entry in log.epochs] == pytest.approx([entry.loss for entry in expected.epochs], rel=1e-5)
    for name, tensor in module.state_dict().items():
        if name != "mean_norm":  # a running figure of forward passes, of which there are more
            torch.testing.assert_close(tensor, whole.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_one_large_batch_differs_from_its_parts_stepped_apart():
    """What the other tests compare would differ without adding up."""
    whole, _ = train(LARGE)
    apart, _ = train(LARGE.updated({"batch_size": 8}))
    assert not torch.allclose(whole.items.weight, apart.items.weight, rtol=1e-3, atol=1e-3)


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path):
    config = LARGE.updated({"batch_size": 8, "accumulate": 3})
    expected, log = train(config, tmp_path / "whole", dropout=0.3, evaluate=True)

    class Killed(Exception):
        pass

    def hook(step):
        if step == 20:  # a part of the third epoch
            raise Killed

    with pytest.raises(Killed):
        train(config, tmp_path / "killed", dropout=0.3, evaluate=True, module=Tiny(hook))
    module, resumed = train(config, tmp_path / "killed", resume=True, dropout=0.3, evaluate=True)
    assert same(weights(module), weights(expected))
    assert [entry.loss for entry in resumed.epochs] == [entry.loss for entry in log.epochs]
    assert resumed.steps == log.steps
    with pytest.raises(ModelError, match="accumulate was 3 and is 4 now"):
        train(config.updated({"accumulate": 4}), tmp_path / "killed", resume=True)


def test_rows_that_are_told_from_one_another_are_not_cut():
    dataset = sequences()
    dataset.whole_batches = True
    with pytest.raises(ConfigError, match=r"no batch is cut: set train\.accumulate to 1"):
        train(LARGE.updated({"accumulate": 2}), dataset=dataset)


def test_rows_of_unknown_weight_are_refused():

    with pytest.raises(ConfigError, match=r"how much a row counts for .* set train\.accumulate to 1"):
        fit_module(nn.Linear(1, 1), [1, 2, 3], lambda rows: {"x": torch.tensor(rows)}, LARGE.updated({"accumulate": 2}), progress=False)


def test_pairs_count_one_each():
    assert Pairs(Ragged.from_rows([[1, 2], [3]])).targets([0, 2]) == 2

"""Gradients added up over several batches give the step of one large batch."""

from __future__ import annotations

import pytest
import torch
from tiny_run import CONFIG, Tiny, pseudo_random_figure, same, sequences, weights
from torch import nn

from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.models.bert4rec import BERT4Rec
from bertrec.models.graph import Pairs
from bertrec.training.batches import EpochBatches
from bertrec.training.fit import fit_module
from bertrec.training.optimizer import merge_rows

from together import walks  # isort: skip

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
    assert module.steps == 4 * (accumulate * 2 + -(-12 // size))  # forward passes: the last batch of 12 is read in as few as it fits
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


def test_pairs_are_read_in_parts_of_the_size_that_was_asked():
    """AlphaRec's; the second batch is one read."""
    pairs = Pairs(Ragged.from_rows([[1, 2, 3], [4, 5, 6], [7, 8]]))
    batches = EpochBatches(pairs, 2, 0, accumulate=3)
    read = [[part.indices.tolist() for part in parts] for parts in batches]
    assert len(batches) == 2
    assert [[len(part) for part in parts] for parts in read] == [[2, 2, 2], [2]]
    assert sorted(index for parts in read for part in parts for index in part) == list(range(8))
    assert [[part.share for part in parts] for parts in batches] == [pytest.approx([1 / 3] * 3), [1.0]]


def test_masked_targets_are_refused():
    with pytest.raises(ConfigError, match=r"loss\.kind=masked masks at random, .* set train\.accumulate to 1"):
        BERT4Rec(BERT4Rec.default_config().updated({"item.input": "id", "train.accumulate": 2})).fit(walks().train)


def test_entries_of_parts_do_not_pile_up():
    """A table of 3 rows: what backward passes appended is added up before it is longer than the table for long."""
    table = nn.Embedding(3, 2, sparse=True)
    for _ in range(5):
        table(torch.tensor([0, 2, 2])).sum().backward()
        merge_rows([table.weight])
        assert table.weight.grad._nnz() <= 3
    assert table.weight.grad.to_dense().tolist() == [[5, 5], [0, 0], [10, 10]]

"""The running mean of the weights: its arithmetic, that it is what is judged and kept, and that training does not notice it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_resume import cut_short
from tiny_run import CONFIG, Tiny, pseudo_random_figure, rises_then_falls, same, sequences, weights
from transformers import TrainerCallback

from bertrec.core.errors import ModelError
from bertrec.training.averaging import WeightAverage
from bertrec.training.checkpoints import complete_checkpoints
from bertrec.training.fit import fit_module

CONSTANT = CONFIG.updated({"schedule": "constant", "warmup_epochs": 0.5, "patience": 0, "epochs": 4})
AVERAGED = CONSTANT.updated({"average": 0.25})


class Watch(TrainerCallback):
    """Notes weights (float64) and learning rate of each step."""

    def __init__(self, module):
        self.module, self.weights, self.rates, self.rate = module, [], [], 0.0

    def on_step_end(self, args, state, control, **_):
        self.weights.append({name: tensor.double() for name, tensor in weights(self.module).items()})

    def on_pre_optimizer_step(self, args, state, control, optimizer, **_):
        self.rates.append(optimizer.param_groups[0]["lr"])


def train(config, *, module=None, evaluate=None, **options):
    module, dataset = module or Tiny(), sequences()
    watch = Watch(module)
    judge = evaluate(module) if evaluate else None
    log = fit_module(module, dataset, dataset.collate, config, evaluate=judge, progress=False, callbacks=[watch], **options)
    return module, log, watch


def mean_by_hand(steps, share):
    mean = steps[0]
    for number, step in enumerate(steps, start=1):
        part = min(1.0, 1.0 / (share * number))
        mean = {name: (1 - part) * mean[name] + part * step[name] for name in step}
    return mean


@pytest.mark.parametrize("share", [0.1, 0.25, 1.0])
def test_the_mean_is_that_of_a_loop_in_float64_and_buffers_are_as_they_are(share):
    module, log, watch = train(CONSTANT.updated({"average": share}))
    assert len(watch.weights) == log.steps == 4 * 8
    expected = mean_by_hand(watch.weights, share)
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=1e-5, atol=1e-6)
        assert not torch.allclose(parameter.double(), watch.weights[-1][name], rtol=1e-3, atol=1e-4)
    assert torch.equal(module.mean_norm.double(), watch.weights[-1]["mean_norm"])


def test_a_share_of_one_is_the_plain_mean():
    module, _, watch = train(CONSTANT.updated({"average": 1.0}))
    plain = torch.stack([step["out.weight"] for step in watch.weights]).mean(0)
    torch.testing.assert_close(module.out.weight.double(), plain, rtol=1e-5, atol=1e-6)


def test_a_share_reaches_back_about_so_far():
    """The age of the weights in a mean with share s is s / (1 + s) of the steps: by a parameter that counts the steps."""
    for share in (0.1, 0.5):
        module = torch.nn.Linear(1, 1, bias=False)
        average = WeightAverage(module, share)
        for step in range(1, 5001):
            module.weight.data.fill_(step)
            average.update(step)
        assert 1 - average.state()["weight"].item() / 5000 == pytest.approx(share / (1 + share), abs=1e-3)


def test_training_goes_on_from_the_weights_and_not_from_the_mean():
    _, plain, without = train(CONSTANT, evaluate=pseudo_random_figure)
    _, averaged, within = train(AVERAGED, evaluate=pseudo_random_figure)
    assert [entry.loss for entry in plain.epochs] == [entry.loss for entry in averaged.epochs]
    assert all(same(a, b) for a, b in zip(without.weights, within.weights, strict=True))


def test_the_mean_is_judged_kept_and_its_best_epoch_ends_the_training():
    seen = []

    def evaluate(module):
        inner = rises_then_falls(module)

        def figures():
            seen.append(weights(module))
            return inner()

        return figures

    module, log, watch = train(AVERAGED.updated({"epochs": 40, "patience": 2}), evaluate=evaluate)
    assert (log.best_epoch, len(log.epochs), log.stopped_early) == (3, 5, True)
    assert same(weights(module), seen[2])
    expected = mean_by_hand(watch.weights[:24], AVERAGED.average)
    torch.testing.assert_close(module.out.weight.double(), expected["out.weight"], rtol=1e-5, atol=1e-6)


def test_what_is_frozen_has_no_mean():
    module = Tiny()
    module.out.requires_grad_(False)
    before = weights(module)
    assert set(WeightAverage(module, 0.5).state()) == {"items.weight", "norm.weight", "norm.bias"}
    train(AVERAGED, module=module)
    assert torch.equal(module.out.weight, before["out.weight"])


def test_weights_and_mean_change_places_and_back_though_the_block_fails():
    module = Tiny()
    average = WeightAverage(module, 1.0)
    start = weights(module)
    module.out.weight.data.mul_(3)
    moved = weights(module)

    def fail():
        with average.in_place():
            assert same(weights(module), start)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert same(weights(module), moved)
    assert torch.equal(average.state()["out.weight"], start["out.weight"])


@pytest.mark.parametrize("epochs", [2, 20])
def test_a_warm_up_in_epochs_does_not_depend_on_how_many_follow(epochs):
    _, _, watch = train(AVERAGED.updated({"epochs": epochs, "warmup_epochs": 0.5, "warmup_share": 0.9}))
    assert watch.rates[:16] == pytest.approx([0.03 * min(1.0, step / 4) for step in range(16)])


@pytest.mark.parametrize("judge", [None, pseudo_random_figure])
@pytest.mark.parametrize("step", [9, 17, 25])
def test_an_interrupted_run_goes_on_to_the_same_mean(tmp_path, step, judge):
    expected, whole, _ = train(AVERAGED, evaluate=judge)

    def interrupt(now):
        if now == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(AVERAGED, module=Tiny(interrupt), evaluate=judge, run_dir=tmp_path)
    again, log, _ = train(AVERAGED, evaluate=judge, run_dir=tmp_path, resume=True)
    assert same(weights(again), weights(expected))
    assert (log.best_epoch, [entry.metrics for entry in log.epochs]) == (whole.best_epoch, [entry.metrics for entry in whole.epochs])
    finished, _, watch = train(AVERAGED, evaluate=judge, run_dir=tmp_path, resume=True)
    assert watch.weights == []
    assert same(weights(finished), weights(expected))


def test_a_checkpoint_without_its_mean_is_passed_over(tmp_path):
    train(AVERAGED, run_dir=tmp_path)
    newest, older = complete_checkpoints(tmp_path / "checkpoints")
    (newest / "average.safetensors").unlink()
    assert complete_checkpoints(tmp_path / "checkpoints") == [older]


def older_version(folder):
    """Take out of the checkpoints what versions without an average did not write."""
    for checkpoint in complete_checkpoints(folder / "checkpoints"):
        progress = json.loads((checkpoint / "progress.json").read_text())
        del progress["identity"]["average"], progress["identity"]["warmup_epochs"]
        (checkpoint / "progress.json").write_text(json.dumps(progress))
        sizes = {path.name: path.stat().st_size for path in checkpoint.iterdir() if path.name != "COMPLETE"}
        (checkpoint / "COMPLETE").write_text(json.dumps(sizes))


def test_a_checkpoint_of_a_version_without_an_average_is_gone_on_with_or_refused(tmp_path):
    cut_short(tmp_path)
    older_version(tmp_path)
    with pytest.raises(ModelError, match=r"another run: average was 0.0 and is 0.25 now; resume with the settings"):
        train(CONFIG.updated({"average": 0.25}), evaluate=pseudo_random_figure, run_dir=tmp_path, resume=True)
    whole, _, _ = train(CONFIG, evaluate=pseudo_random_figure)
    again, _, _ = train(CONFIG, evaluate=pseudo_random_figure, run_dir=tmp_path, resume=True)
    assert same(weights(again), weights(whole))


def test_a_mean_of_another_model_is_refused():
    with pytest.raises(ModelError, match="not of this model"):
        WeightAverage(torch.nn.Linear(2, 2), 0.5).load({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)})


def test_two_processes_keep_the_same_mean(tmp_path):
    script = Path(__file__).parent / "two_processes.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script), str(tmp_path)]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for name in dict(Tiny().named_parameters()):  # a buffer is each process's own
        assert torch.equal(first["kept"][name], second["kept"][name])
    steps = [{name: tensor.double() for name, tensor in step.items()} for step in first["steps"]]
    assert len(steps) == 4 * 8  # each process takes its part of every batch
    expected = mean_by_hand(steps, AVERAGED.average)
    for name in dict(Tiny().named_parameters()):
        torch.testing.assert_close(first["kept"][name].double(), expected[name], rtol=1e-5, atol=1e-6)

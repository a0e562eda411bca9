from __future__ import annotations

import io
import json
import math
import random
import sys
import time
import warnings

import numpy as np
import pytest
import torch
import transformers
from tiny_run import CONFIG, N_ITEMS, Tiny, rises_then_falls, same, sequences, weights
from torch import nn

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.training.config import TrainConfig
from bertrec.training.fit import fit_module
from bertrec.training.log import TrainLog

LONG = CONFIG.updated({"epochs": 3, "patience": 0})


def fit(module=None, config=LONG, *, dataset=None, collate=None, **options):
    module, dataset = module or Tiny(), sequences() if dataset is None else dataset
    log = fit_module(module, dataset, collate or dataset.collate, config, progress=False, **options)
    return module, log


def test_a_fixed_rule_is_learned():
    module, log = fit(config=CONFIG.updated({"epochs": 25, "patience": 0, "learning_rate": 0.1}))
    module.eval()
    items = torch.arange(1, N_ITEMS + 1)
    guesses = module.out(module.norm(module.items(items))).argmax(1)
    assert guesses.tolist() == (items % N_ITEMS + 1).tolist()
    assert log.epochs[-1].loss < log.epochs[0].loss / 2
    assert log.steps == 25 * 8


def test_one_step_is_adamw_on_the_clipped_gradient():
    """The same arithmetic as a hand-written loop, dropout aside."""
    config = TrainConfig(
        batch_size=100, epochs=3, learning_rate=0.02, weight_decay=0.3, warmup_share=0.0, max_grad_norm=0.5, device="cpu", schedule="linear"
    )
    module, bare = Tiny(), Tiny()
    module.drop.p = bare.drop.p = 0.0
    fit(module, config)
    dataset = sequences()
    batch = dataset.collate(dataset.chunks)
    plain = [parameter for name, parameter in bare.named_parameters() if name != "out.weight"]
    optimizer = torch.optim.AdamW([{"params": [bare.out.weight], "weight_decay": 0.3}, {"params": plain, "weight_decay": 0.0}], lr=0.02)
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (1 - step / 3)
        optimizer.zero_grad()
        bare(**batch)["loss"].backward()
        nn.utils.clip_grad_norm_(bare.parameters(), 0.5)
        optimizer.step()
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, bare.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_the_best_epoch_is_restored_and_patience_stops():
    module = Tiny()
    seen = []
    inner = rises_then_falls(module)

    def evaluate():
        seen.append(weights(module))
        return inner()

    _, log = fit(module, CONFIG.updated({"patience": 2}), evaluate=evaluate)
    assert (log.best_epoch, len(log.epochs), log.stopped_early) == (3, 5, True)
    assert [entry.metrics["NDCG@10"] for entry in log.epochs] == [0.1, 0.2, 0.5, 0.4, 0.45]
    assert same(weights(module), seen[2])
    assert not same(seen[2], seen[4])


def test_without_patience_all_epochs_run_and_the_best_is_still_restored():
    module = Tiny()
    _, log = fit(module, CONFIG.updated({"patience": 0}), evaluate=rises_then_falls(module))
    assert (log.best_epoch, len(log.epochs), log.stopped_early) == (3, 6, False)


def test_evaluating_less_often_always_judges_the_last_epoch():
    module = Tiny()
    _, log = fit(module, CONFIG.updated({"epochs": 5, "evaluate_every": 2}), evaluate=rises_then_falls(module))
    assert [bool(entry.metrics) for entry in log.epochs] == [False, True, False, True, True]
    assert log.best_epoch == 5


def test_how_often_a_run_is_evaluated_does_not_change_what_it_learns():
    a, b = Tiny(), Tiny()
    draw = iter(range(9))

    def evaluate():
        torch.rand(7)
        np.random.rand(3)
        return {"NDCG@10": next(draw)}

    fit(a, evaluate=evaluate)
    fit(b)
    assert same(weights(a), weights(b))


def test_a_seed_repeats_a_run_whatever_the_global_state_which_stays_as_it_was():
    module = Tiny()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state()
    first, _ = fit(module)
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.random.get_rng_state(), before[2])
    torch.manual_seed(99)
    second, _ = fit()
    third, _ = fit(config=LONG.updated({"seed": 6}))
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(third))


def test_global_states_come_back_after_an_error_too():
    module = Tiny()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    with pytest.raises(ModelError):
        fit(module, evaluate=lambda: {"NDCG@10": math.nan})
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_names_epoch_step_and_mend(bad):
    class Broken(Tiny):
        def forward(self, inputs, targets):
            factor = bad if self.steps + 1 == 11 else 1.0
            return {"loss": super().forward(inputs, targets)["loss"] * factor}

    with pytest.raises(ModelError, match=r"in epoch 2, step 3: lower the learning rate"):
        fit(Broken())


class Listed(torch.utils.data.Dataset):
    """A dataset without `batches`; it notes what is asked for."""

    def __init__(self, n):
        self.n, self.asked = n, []

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.asked.append(int(index))
        return index % N_ITEMS + 1


def as_batch(items):
    items = torch.tensor(items)[:, None]
    return {"inputs": items, "targets": items % N_ITEMS + 1}


def test_a_plain_dataset_is_shuffled_anew_each_epoch_by_seed_and_epoch():
    first, second = Listed(20), Listed(20)
    fit(dataset=first, collate=as_batch, config=LONG.updated({"epochs": 2}))
    fit(dataset=second, collate=as_batch, config=LONG.updated({"epochs": 2, "learning_rate": 0.5}))
    assert sorted(first.asked[:20]) == sorted(first.asked[20:]) == list(range(20))
    assert first.asked[:20] != first.asked[20:]
    assert first.asked == second.asked


def test_a_dataset_must_make_as_many_batches_in_each_epoch():
    class Uneven(Listed):
        def batches(self, epoch, batch_size, seed):
            return [[0], [1]] if epoch == 0 else [[0, 1]]

    with pytest.raises(ModelError, match="made 1 batches in epoch 2 and 2 in the first"):
        fit(dataset=Uneven(2), collate=as_batch)


def test_the_encoder_has_its_own_rate_and_only_trainable_parameters_move():
    class WithEncoder(Tiny):
        def encoder_parameters(self):
            return self.items.parameters()

    module = WithEncoder()
    module.norm.requires_grad_(False)
    before = weights(module)
    config = LONG.updated({"encoder_learning_rate": 1e-6, "warmup_share": 0.0, "epochs": 1})
    fit(module, config)
    moved = {name: float((tensor - before[name]).abs().max()) for name, tensor in module.state_dict().items()}
    assert 0 < moved["items.weight"] < 1e-4  # eight steps of at most 1e-6, give or take
    assert moved["out.weight"] > 1e-2
    assert moved["norm.weight"] == moved["norm.bias"] == 0


def test_bf16_autocast_trains_and_leaves_the_module_as_it_was():
    module = Tiny()
    seen = []
    module.out.register_forward_hook(lambda *parts: seen.append(parts[2].dtype))
    _, log = fit(module, LONG.updated({"precision": "bf16"}))
    assert set(seen) == {torch.bfloat16}
    assert (log.precision, log.device) == ("bf16", "cpu")
    assert "forward" not in module.__dict__
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert module.out(torch.ones(1, 6)).dtype == torch.float32


def test_the_mode_of_the_module_is_kept():
    assert fit(Tiny().eval())[0].training is False
    assert fit(Tiny().train())[0].training is True


def test_the_log_is_json_and_comes_back():
    module = Tiny()
    _, log = fit(module, CONFIG, evaluate=rises_then_falls(module))
    assert TrainLog.from_dict(json.loads(json.dumps(log.to_dict(), allow_nan=False))) == log
    assert log.peak_mib > 1
    assert log.seconds == sum(entry.seconds for entry in log.epochs)
    assert all(entry.seconds >= entry.evaluation_seconds >= 0 for entry in log.epochs)


def test_nothing_is_printed_and_library_settings_come_back(capfd):
    verbosity = transformers.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit()
    assert transformers.logging.get_verbosity() == verbosity
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_epoch_loss_figure_and_time_left(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    module, dataset = Tiny(hook=lambda step: time.sleep(0.03)), sequences()
    fit_module(module, dataset, dataset.collate, LONG, evaluate=rises_then_falls(module))
    text = terminal.getvalue()
    assert "epoch 3/3" in text
    assert "24/24" in text
    assert "NDCG@10 0.5000, best 0.5000" in text
    assert "loss" in text
    shown = len(text)
    fit_module(Tiny(), dataset, dataset.collate, LONG, progress=False)
    assert len(terminal.getvalue()) == shown


class Mute(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.weight, self.output = nn.Parameter(torch.ones(2)), output

    def forward(self, inputs, targets):
        return self.output(self.weight)


@pytest.mark.parametrize("output", [lambda w: {"loss": w}, lambda w: {"score": w.sum()}, lambda w: w.sum()])
def test_a_module_without_a_scalar_loss_is_named(output):
    with pytest.raises(ModelError, match="Mute must return"):
        fit(Mute(output))


def test_wrong_use_is_named(tmp_path):
    with pytest.raises(DataError, match="empty"):
        fit(dataset=Listed(0), collate=as_batch)
    with pytest.raises(ModelError, match="every parameter is frozen"):
        fit(Tiny().requires_grad_(False))
    with pytest.raises(ConfigError, match=r"unknown logger 'tensorbord': did you mean 'tensorboard'\?"):
        fit(config=LONG.updated({"loggers": ["tensorbord"]}), run_dir=tmp_path)
    with pytest.raises(ConfigError, match="loggers need a folder"):
        fit(config=LONG.updated({"loggers": ["tensorboard"]}))
    with pytest.raises(ConfigError, match=r"unknown validation metric 'NDCG@10': did you mean 'NDCG@1'\?"):
        fit(evaluate=lambda: {"NDCG@1": 0.1})
    with pytest.raises(ModelError, match=r"NDCG@10 is nan after epoch 1"):
        fit(evaluate=lambda: {"NDCG@10": math.nan})
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="device cuda is not available here"):
            fit(config=LONG.updated({"device": "cuda"}))

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch import nn

from bertrec.core.errors import ConfigError, ModelError
from bertrec.training import precision
from bertrec.training.batches import EpochBatches
from bertrec.training.config import TrainConfig
from bertrec.training.parameters import parameter_groups, restore, snapshot
from bertrec.training.precision import choose_precision


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 3).requires_grad_(False))
        self.items = nn.Embedding(5, 3)
        self.position_embedding = nn.Parameter(torch.zeros(4, 3))
        self.out = nn.Linear(3, 2)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("texts", torch.zeros(5, 3), persistent=False)

    def encoder_parameters(self):
        return self.encoder.parameters()


def test_groups_have_the_rates_and_decays_of_their_parameters():
    module = Parts()
    config = TrainConfig(learning_rate=0.1, encoder_learning_rate=0.2, weight_decay=0.3, encoder_weight_decay=0.4)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    groups = {
        (group["lr"], group["weight_decay"]): {names[id(parameter)] for parameter in group["params"]}
        for group in parameter_groups(module, config)
    }
    assert groups == {
        (0.1, 0.0): {"items.weight", "position_embedding", "out.bias"},
        (0.1, 0.3): {"out.weight"},
        (0.2, 0.0): {"encoder.0.bias", "encoder.1.weight", "encoder.1.bias"},
        (0.2, 0.4): {"encoder.0.weight"},
    }


def test_a_snapshot_is_a_copy_of_what_changes_and_nothing_else():
    module = Parts()
    state = snapshot(module)
    assert "mean" in state
    assert not {"texts", "encoder.2.weight"} & set(state)
    kept = state["out.weight"].clone()
    with torch.no_grad():
        module.out.weight.add_(1)
        module.mean.add_(1)
    assert torch.equal(state["out.weight"], kept)
    restore(module, state)
    assert torch.equal(module.out.weight, kept)
    assert module.mean.tolist() == [0, 0, 0]
    with pytest.raises(ModelError, match=r"differs in out\.bias"):
        restore(module, {name: tensor for name, tensor in state.items() if name != "out.bias"})
    with pytest.raises(ModelError, match=r"differs in mean"):
        restore(module, {**state, "mean": torch.zeros(4)})


@pytest.mark.parametrize(
    ("setting", "tunes", "hardware", "expected"),
    [
        ("auto", True, True, "bf16"),
        ("auto", True, False, "fp32"),
        ("auto", False, True, "fp32"),
        ("fp32", True, True, "fp32"),
        ("bf16", False, False, "bf16"),
    ],
)
def test_precision_is_bf16_only_where_an_encoder_gains_from_it(monkeypatch, setting, tunes, hardware, expected):
    monkeypatch.setattr(precision, "computes_bf16", lambda device: hardware)
    assert choose_precision(setting, tunes_encoder=tunes, device="cpu") == expected


def test_fp16_needs_cuda():
    with pytest.raises(ConfigError, match="fp16 needs a CUDA device"):
        choose_precision("fp16", tunes_encoder=True, device="cpu")
    assert choose_precision("fp16", tunes_encoder=True, device="cuda") == "fp16"


def test_processes_share_every_batch_and_take_the_same_number_of_steps():
    shards = [[list(part) for (part,) in EpochBatches(range(50), 7, 1, rank=rank, world=3)] for rank in range(3)]
    whole = [batch.tolist() for batch in EpochBatches(range(50), 7, 1)]
    assert [len(shard) for shard in shards] == [len(whole)] * 3
    for number, batch in enumerate(whole[:-1]):
        assert sorted(chain.from_iterable(shard[number] for shard in shards)) == sorted(batch)
    assert sorted(chain.from_iterable(whole)) == list(range(50))


@pytest.mark.parametrize(
    ("name", "value"), [("learning_rate", 0), ("epochs", 0), ("warmup_share", 1.0), ("schedule", "step"), ("device", "gpu"), ("seed", -1)]
)
def test_values_out_of_range_are_named(name, value):
    with pytest.raises(ConfigError, match=f"setting '{name}'"):
        TrainConfig.from_dict({name: value})

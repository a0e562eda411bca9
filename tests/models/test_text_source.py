"""Text vectors of an encoder in training: gradient caching, old vectors of negatives, and how many tokens a fit may read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_encoders import tiny_bert
from torch import Tensor, nn

from bertrec.core.errors import ConfigError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder
from bertrec.models.morec import MoRec
from bertrec.models.sequential.text_source import TunedText
from bertrec.training import gradient_cache
from bertrec.training.sequences import SequenceDataset

N_ITEMS, LAYERS = 30, 3
TEXTS = [" ".join(f"word{(7 * item + n) % 40}" for n in range(2 + item % 11)) for item in range(N_ITEMS)]
ROWS = torch.tensor([0, 3, 9, 1, 27, 14, 30])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("layers"), TEXTS, layers=LAYERS)


def source(folder: str, tune: str = "full", *, encoder: dict[str, Any] | None = None, **options: Any) -> TunedText:
    config = EncoderConfig(name=folder, tune=tune, precision="fp32", max_length=20, **(encoder or {}))
    text = TextEncoder.from_config(config)
    return TunedText(text, text.tokenize(TEXTS), None, **options).train()


def gradients(text: TunedText, weight: Tensor) -> Tensor:
    torch.manual_seed(3)
    text.zero_grad()
    (text(ROWS) * weight).sum().backward()
    return torch.cat([p.grad.flatten() for p in text.parameters() if p.grad is not None])


@pytest.mark.parametrize("tune", ["full", "last:2", "lora"])
@pytest.mark.parametrize("dropout", [False, True])
def test_cached_gradients_equal_those_of_one_pass(folder: str, tune: str, dropout: bool) -> None:
    """Small batches draw other dropout than one large batch would, so the batches are the same ones on both sides."""
    encoder = {"dropout": dropout, "lora_dropout": 0.2 * dropout, "batch_tokens": 24}
    plain, cached = (source(folder, tune, encoder=encoder, gradient_cache=setting) for setting in ("off", "on"))
    cached.load_state_dict(plain.state_dict())
    weight = torch.randn(len(ROWS), plain.dim, generator=torch.Generator().manual_seed(1))
    expected, found = gradients(plain, weight), gradients(cached, weight)
    assert expected.abs().sum() > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_cached_gradients_keep_no_activations_until_the_backward_pass(folder: str) -> None:
    kept = {}
    for setting in ("off", "on"):
        text, sizes = source(folder, gradient_cache=setting), []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor):  # noqa: B023
            text(torch.arange(N_ITEMS + 1))
        kept[setting] = sum(sizes)
    assert kept["on"] < kept["off"] / 20


def test_small_batches_are_encoded_one_by_one(folder: str) -> None:
    text = source(folder, gradient_cache="on", encoder={"batch_tokens": 40})
    with layer_cells() as passes:
        text(torch.arange(N_ITEMS + 1)).sum().backward()
    assert max(passes.cells) <= 40
    assert passes.total == dict.fromkeys(range(LAYERS), 2 * sum(passes.cells) // (2 * LAYERS))


def test_auto_runs_twice_only_what_goes_beyond_the_limit(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = source(folder, encoder={"batch_tokens": 40})
    assert text.encoder is not None
    monkeypatch.setattr(gradient_cache, "_ACTIVATIONS_AT_ONCE", gradient_cache.activation_bytes(text.encoder, 80))
    everything, weight = torch.arange(N_ITEMS + 1), torch.randn(N_ITEMS + 1, text.dim)
    with layer_cells() as forward:
        loss = (text(everything) * weight).sum()
    with layer_cells() as again:
        loss.backward()
    assert 0 < len(again.cells) < len(forward.cells)
    assert sum(forward.cells) - sum(again.cells) <= 80 * LAYERS


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="gradient_cache"):
        MoRec.default_config().updated({"train.gradient_cache": "sometimes"})
    with pytest.raises(ConfigError, match="refresh_every"):
        MoRec.default_config().updated({"train.refresh_every": -1})


def test_old_vectors_serve_what_was_not_asked_for_as_fresh(folder: str) -> None:
    text = source(folder, refresh_every=2)
    encoder = text.encoder
    assert encoder is not None
    fresh, seen = torch.tensor([0, 3, 14]), torch.isin(ROWS, torch.tensor([3, 14]))
    versions = []
    for _ in range(4):
        versions.append(text._vectors(ROWS).detach())
        torch.testing.assert_close(text(ROWS, fresh)[seen], versions[-1][seen])
        old = text(ROWS, fresh)[~seen]  # the second of the two steps that a table serves
        torch.testing.assert_close(old, versions[-1][~seen])
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.add_(0.01)
    text._forget_table()
    text(ROWS, fresh)
    with torch.no_grad():
        next(encoder.model.encoder.layer.parameters()).add_(0.5)
    stale = text(ROWS, fresh)
    now = text._vectors(ROWS)
    torch.testing.assert_close(stale[seen], now[seen])
    assert not torch.allclose(stale[~seen][1:], now[~seen][1:], atol=1e-3)
    torch.testing.assert_close(text(ROWS, fresh), text._vectors(ROWS))
    assert torch.equal(text.eval()(ROWS, fresh), text._vectors(ROWS))


def test_old_vectors_carry_no_gradient_and_an_epoch_begins_anew(folder: str) -> None:
    text = source(folder, refresh_every=100)
    vectors = text(ROWS, torch.tensor([3]))
    vectors[2:].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in text.parameters())
    assert text._table is not None
    assert text.train()._table is None


class LayerCells:
    """How many cells (tokens and padding) went through each transformer layer."""

    def __init__(self) -> None:
        self.total: Counter[int] = Counter()
        self.cells: list[int] = []
        self._numbers: dict[int, int] = {}

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if type(module).__name__ == "BertEncoder":
            self._numbers.update((id(layer), number) for number, layer in enumerate(module.layer))
        if type(module).__name__ == "BertLayer":
            number = self._numbers[id(module)]
            self.cells.append(inputs[0].shape[0] * inputs[0].shape[1])
            self.total[number] += self.cells[-1]


@contextmanager
def layer_cells() -> Iterator[LayerCells]:
    counted = LayerCells()
    handle = torch.nn.modules.module.register_module_forward_pre_hook(counted)
    try:
        yield counted
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def train() -> Interactions:
    rng = np.random.default_rng(4)
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": [f"i{n}" for n in range(N_ITEMS)], "title": TEXTS}))
    rows = [(f"u{user}", f"i{item}", step) for user in range(24) for step, item in enumerate(rng.integers(0, N_ITEMS, 5))]
    return Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), catalog)


@pytest.mark.parametrize(("tune", "tuned"), [("full", LAYERS), ("last:1", 1)])
def test_a_fit_reads_each_distinct_item_once_a_step_and_lower_layers_once(folder: str, train: Interactions, tune: str, tuned: int) -> None:
    """The catalogue goes through all layers for whitening and at the end, and ``last:K`` once more through the lower ones."""
    settings = {"encoder.name": folder, "encoder.batch_tokens": 64, "item.width": 8, "head.layers": 1, "loss.kind": "in-batch"}
    settings |= {"train.epochs": 2, "train.batch_size": 3, "train.precision": "fp32", "encoder.precision": "fp32"}
    model = MoRec(MoRec.default_config(tune=tune).updated(settings))
    with layer_cells() as passes:
        model.fit(train, progress=False)
    lengths = model.encoder().tokenize(TEXTS).lengths
    dataset = SequenceDataset(train.sequences, model.config.head.max_history)
    steps = [np.unique(dataset.chunks.take(rows).values) for epoch in range(2) for rows in dataset.batches(epoch, 3, 0)]
    in_steps = sum(int(lengths[items - 1].sum()) for items in steps)
    catalogue = int(lengths.sum())
    wanted = {layer: 2 * catalogue + (in_steps if layer >= LAYERS - tuned else catalogue) for layer in range(LAYERS)}
    assert passes.total.keys() == wanted.keys()
    for layer, tokens in wanted.items():
        assert tokens <= passes.total[layer] <= 1.2 * tokens, layer

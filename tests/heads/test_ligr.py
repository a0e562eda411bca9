"""LiGR blocks against their formulas, written apart in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from bertrec.heads.config import HeadConfig
from bertrec.heads.ligr import LiGRBlock, LiGRHead
from bertrec.heads.users import make_head

Array = npt.NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def linear(x: Array, layer: nn.Linear) -> Array:
    bias = 0.0 if layer.bias is None else layer.bias.detach().double().numpy()
    return np.asarray(x @ layer.weight.detach().double().numpy().T + bias)


def norm(x: Array, layer: nn.LayerNorm) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    return np.asarray(scaled * layer.weight.detach().numpy() + layer.bias.detach().numpy())


def attention(x: Array, layer: nn.MultiheadAttention) -> Array:
    """Each head by itself; position t over positions 0…t, one at a time."""
    length, width = x.shape
    weight, bias = (part.detach().double().numpy() for part in (layer.in_proj_weight, layer.in_proj_bias))
    query, key, value = (x @ w.T + b for w, b in zip(np.split(weight, 3), np.split(bias, 3), strict=True))
    out, size = np.zeros_like(x), width // layer.num_heads
    for head in range(layer.num_heads):
        own = slice(head * size, (head + 1) * size)
        for t in range(length):
            logits = key[: t + 1, own] @ query[t, own] / np.sqrt(size)
            shares = np.exp(logits - logits.max())
            out[t, own] = shares / shares.sum() @ value[: t + 1, own]
    return linear(out, layer.out_proj)


def block_by_formula(x: Array, block: LiGRBlock) -> Array:
    mixed = x + attention(norm(x, block.norm1), block.attention) * sigmoid(linear(x, block.gate1))
    read = norm(mixed, block.norm2)
    opened = linear(read, block.feed_forward.gate)
    fed = linear(opened * sigmoid(opened) * linear(read, block.feed_forward.value), block.feed_forward.out)
    return mixed + fed * sigmoid(linear(mixed, block.gate2))


@pytest.mark.parametrize(("layers", "inner", "heads"), [(1, 0, 1), (2, 12, 2), (3, 5, 4)])
def test_the_head_equals_the_formula(layers: int, inner: int, heads: int) -> None:
    torch.manual_seed(0)
    head = make_head(8, HeadConfig(kind="ligr", layers=layers, inner=inner, heads=heads)).eval()
    assert isinstance(head, LiGRHead)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=0.5)
    items = torch.randn(2, 5, 8)
    with torch.no_grad():
        found = head(items).numpy()
    for row in range(2):
        states = items[row].double().numpy() + head.positions[:5].detach().double().numpy()
        for block in head.blocks:
            assert isinstance(block, LiGRBlock)
            states = block_by_formula(states, block)
        np.testing.assert_allclose(found[row], norm(states, head.norm), rtol=1e-3, atol=1e-4)


def test_closed_gates_leave_the_input_alone() -> None:
    head = make_head(8, HeadConfig(kind="ligr", layers=2)).eval()
    assert isinstance(head, LiGRHead)
    with torch.no_grad():
        for block in head.blocks:
            for gate in (block.gate1, block.gate2):
                gate.weight.zero_()
                gate.bias.fill_(-100.0)
        items = torch.randn(1, 3, 8)
        torch.testing.assert_close(head(items), head.norm(items + head.positions[:3]))


def test_inner_width_of_zero_is_the_item_width() -> None:
    head = make_head(8, HeadConfig(kind="ligr", layers=1))
    assert isinstance(head, LiGRHead)
    shapes = {name: tuple(weight.shape) for name, weight in head.blocks[0].feed_forward.named_parameters()}
    assert shapes == {"gate.weight": (8, 8), "value.weight": (8, 8), "out.weight": (8, 8)}

"""HSTU's layers against their formulas, written apart in numpy; buckets of times by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import NO_TIME
from bertrec.heads.config import HeadConfig
from bertrec.heads.hstu import HSTUHead, HSTULayer, time_buckets
from bertrec.heads.users import make_head

Array = npt.NDArray[np.float64]
UNKNOWN = 80


def head_of(seed: int = 0, **settings: int) -> HSTUHead:
    torch.manual_seed(seed)
    head = make_head(8, HeadConfig(kind="hstu", max_history=6, **settings)).eval()
    assert isinstance(head, HSTUHead)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(std=0.5)
    return head


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def numbers(weight: torch.Tensor) -> Array:
    return np.asarray(weight.detach().double().numpy())


def norm(x: Array, layer: nn.LayerNorm) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps) * numbers(layer.weight) + numbers(layer.bias))


def layer_by_formula(x: Array, times: list[int] | None, layer: HSTULayer) -> Array:
    """One position and one item read at a time."""
    length, width = x.shape
    gate, value, query, key = np.split(silu(norm(x, layer.norm1) @ numbers(layer.project.weight).T), 4, axis=-1)
    read, size = np.zeros_like(x), width // layer.heads
    for own in (slice(head * size, (head + 1) * size) for head in range(layer.heads)):
        for i in range(length):
            for j in range(i + 1):
                bucket = UNKNOWN if times is None else min(79, math.floor(math.log(max(1, abs(times[i] - times[j]))) / 0.301))
                bias = numbers(layer.places)[i - j] + numbers(layer.times)[bucket]
                read[i, own] += silu(query[i, own] @ key[j, own] + bias) * value[j, own] / (i + 1)
    return x + (norm(read, layer.norm2) * gate) @ numbers(layer.out.weight).T + numbers(layer.out.bias)


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (2, 2), (3, 4)])
def test_the_head_equals_the_formula(layers: int, heads: int, timed: bool) -> None:
    head = head_of(layers=layers, heads=heads)
    items, times = torch.randn(2, 5, 8), [[0, 1, 40, 90_000, 90_000], [5, 5, 6, 3_000_000, 2_000_000_000]]
    with torch.no_grad():
        found = head(items, torch.tensor(times) if timed else None).numpy()
    for row in range(2):
        states = numbers(items[row]) + numbers(head.positions)[:5]
        for layer in head.layers:
            assert isinstance(layer, HSTULayer)
            states = layer_by_formula(states, times[row] if timed else None, layer)
        np.testing.assert_allclose(found[row], norm(states, head.norm), rtol=1e-3, atol=1e-4)


def test_buckets_by_hand() -> None:
    """0 and 1 s are bucket 0; ln 2 / .301 = 2.3, ln 60 / .301 = 13.6, ln 86400 / .301 = 37.8; one day before 1970 counts as well."""
    buckets = time_buckets(torch.tensor([[0, 1, 2, 60, -86_400, NO_TIME]]))[0]
    assert buckets[0].tolist() == [0, 0, 2, 13, 37, UNKNOWN]
    assert torch.equal(buckets, buckets.T)
    assert buckets[5].tolist() == [UNKNOWN] * 6
    assert time_buckets(torch.tensor([[-(2**60), 2**60]]))[0, 0, 1] == UNKNOWN - 1


def test_times_that_are_not_known_are_as_none_at_all() -> None:
    head, items = head_of(), torch.randn(2, 5, 8)
    with torch.no_grad():
        torch.testing.assert_close(head(items, torch.full((2, 5), NO_TIME)), head(items))
        mixed = head(items, torch.tensor([[NO_TIME] * 5, [0, 10, 10_000, 10_000, 9_000_000]]))
        torch.testing.assert_close(mixed[0], head(items)[0])
        assert not torch.allclose(mixed[1], head(items)[1])


def test_only_time_between_items_counts_not_the_date() -> None:
    head, items, times = head_of(), torch.randn(2, 5, 8), torch.tensor([[0, 10, 500, 4000, 5000]] * 2)
    with torch.no_grad():
        torch.testing.assert_close(head(items, times + 1_700_000_000), head(items, times))


def test_later_items_and_times_and_padding_change_nothing() -> None:
    head, items, times = head_of(), torch.randn(1, 5, 8), torch.tensor([[0, 10, 500, 4000, 5000]])
    other, later_times = items.clone(), torch.tensor([[0, 10, 500, 90_000, 0]])
    other[:, 3:] = 100.0
    with torch.no_grad():
        torch.testing.assert_close(head(items, times)[:, :3], head(other, later_times)[:, :3])
        torch.testing.assert_close(head(items, times)[:, :3], head(items[:, :3], times[:, :3]))
        torch.testing.assert_close(head.newest(other, torch.tensor([3]), later_times), head(items, times)[:, 2])


def test_some_histories_are_trained_without_their_times() -> None:
    """A tenth of them: of 2,000, 200 ± 4.5 standard deviations of 13.4."""
    head, times = head_of().train(), torch.tensor([[0, 5000]]).repeat(2000, 1)
    torch.manual_seed(1)
    buckets = head._buckets(torch.zeros(2000, 2, 8), times)
    without = (buckets == UNKNOWN).all(dim=(1, 2))
    assert 140 < int(without.sum()) < 260
    assert not (buckets[~without] == UNKNOWN).any()


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match=r"setting 'head.heads': 3 does not divide item.width 8"):
        make_head(8, HeadConfig(kind="hstu", heads=3))

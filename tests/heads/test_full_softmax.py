"""The full softmax beside its formula, in value and gradients, whatever the block and tile."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bertrec.heads import full_softmax as module
from bertrec.heads.full_softmax import full_softmax
from bertrec.heads.repeats import Repeats


def softmax_by_hand(user: Tensor, items: Tensor, target: int, candidates: list[int], extra: dict[int, float] | None = None) -> float:
    extra = extra or {}
    logits = {item: float(user @ items[item]) + extra.get(item, 0.0) for item in candidates}
    return -(logits[target] - math.log(sum(math.exp(value) for value in logits.values())))


def plain(
    user: Tensor, items: Tensor, targets: Tensor, *, candidates: Tensor, pairs: tuple[Tensor, Tensor], bias: Tensor, smoothing: float
) -> Tensor:
    """The whole matrix of logits, left to autograd."""
    logits = (user @ items.T).index_put(pairs, bias.expand(len(pairs[0])), accumulate=True)
    log_share = logits.masked_fill(~candidates, -math.inf).log_softmax(dim=1)
    loss = -(1 - smoothing) * log_share.gather(1, targets[:, None]).mean()
    return loss - smoothing * log_share[:, candidates].mean()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    user = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    items = torch.randn(8, 4, generator=generator, dtype=torch.float64)
    return user, items, torch.tensor([1, 7, 3, 3, 5])


def test_it_is_the_mean_over_real_items_only(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    user, items, targets = batch
    expected = sum(softmax_by_hand(user[i], items, int(targets[i]), list(range(1, 8))) for i in range(5)) / 5
    assert float(full_softmax(user, items, targets)) == pytest.approx(expected, rel=1e-6)


def test_items_that_training_never_sees_get_no_gradient(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    user, items, targets = batch
    items = items.clone().requires_grad_()
    candidates = torch.tensor([False, True, True, True, False, True, True, True])
    loss = full_softmax(user, items, targets, candidates=candidates, smoothing=0.1)
    loss.backward()
    assert items.grad is not None
    assert items.grad[0].abs().sum() == 0
    assert items.grad[4].abs().sum() == 0
    assert items.grad[2].abs().sum() > 0


def test_label_smoothing_equals_torch_over_the_candidates(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    user, items, targets = batch
    expected = torch.nn.functional.cross_entropy((user @ items[1:].T).float(), targets - 1, label_smoothing=0.2)
    torch.testing.assert_close(full_softmax(user, items, targets, smoothing=0.2).float(), expected)


def test_the_bias_of_repeats_is_added_before_the_softmax(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    user, items, targets = batch
    repeats = Repeats(torch.tensor([0, 0]), torch.tensor([2, 4]), torch.tensor(-3.0))
    expected = softmax_by_hand(user[0], items, 1, list(range(1, 8)), {2: -3.0, 4: -3.0})
    assert float(full_softmax(user[:1], items, targets[:1], repeats=repeats)) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    positions=st.integers(1, 9),
    n_items=st.integers(2, 14),
    cells=st.integers(1, 60),
    tile=st.integers(1, 16),
    smoothing=st.sampled_from([0.0, 0.3]),
    scale=st.sampled_from([0.1, 3.0, 40.0]),
)
def test_value_and_gradients_equal_the_plain_formula(
    seed: int, positions: int, n_items: int, cells: int, tile: int, smoothing: float, scale: float
) -> None:
    """Any mask, any repeats (of masked items and of targets too), any block and tile, logits far beyond what ``exp`` can hold."""
    draw = torch.Generator().manual_seed(seed)
    user = torch.randn(positions, 3, generator=draw, dtype=torch.float64) * scale
    items = torch.randn(n_items + 1, 3, generator=draw, dtype=torch.float64) * scale
    candidates = torch.rand(n_items + 1, generator=draw) < 0.7
    candidates[0], candidates[int(torch.randint(1, n_items + 1, (), generator=draw))] = False, True
    choice = candidates.nonzero(as_tuple=True)[0]
    targets = choice[torch.randint(len(choice), (positions,), generator=draw)]
    pairs = (torch.rand(positions, n_items + 1, generator=draw) < 0.4).nonzero(as_tuple=True)
    bias = torch.randn((), generator=draw, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in (user, items, bias)]
    expected = plain(user, items, targets, candidates=candidates, pairs=pairs, bias=bias, smoothing=smoothing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CPU_CELLS", cells)
        patch.setattr(module, "_FEWEST_ROWS", 1)
        patch.setattr(module, "_CPU_TILE", tile)
        found = full_softmax(user, items, targets, candidates=candidates, repeats=Repeats(*pairs, bias), smoothing=smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    for mine, theirs in zip(torch.autograd.grad(3 * found, leaves), torch.autograd.grad(3 * expected, leaves), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-8 * scale)


def test_gradients_against_finite_differences(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    user, items, targets = batch
    pairs, bias = (torch.tensor([0, 1, 4]), torch.tensor([2, 3, 5])), torch.tensor(-0.7, dtype=torch.float64)
    leaves = tuple(tensor.clone().requires_grad_() for tensor in (user, items, bias))

    def loss(user: Tensor, items: Tensor, bias: Tensor) -> Tensor:
        return full_softmax(user, items, targets, repeats=Repeats(*pairs, bias), smoothing=0.2)

    assert torch.autograd.gradcheck(loss, leaves, eps=1e-6, atol=1e-6, rtol=1e-6)


def test_half_precision_and_autocast_are_computed_in_single(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    user, items, targets = (part.bfloat16() if part.is_floating_point() else part for part in batch)
    expected = full_softmax(user.float(), items.float(), targets)
    leaf = user.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = full_softmax(leaf, items, targets)
    found.backward()
    assert torch.equal(found, expected)
    assert leaf.grad is not None
    assert leaf.grad.dtype == torch.bfloat16


def test_without_gradients_none_are_computed(batch: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    user, items, targets = batch
    items = items.clone().requires_grad_()
    expected = float(full_softmax(user, items, targets).detach())
    monkeypatch.delattr(module._Sums, "gradients")
    with torch.no_grad():
        assert float(full_softmax(user, items, targets)) == pytest.approx(expected, rel=1e-12)


def test_memory_is_that_of_a_block_and_not_of_all_logits() -> None:
    """1,000 positions × 20,000 items would be 80 MB of logits; a block is 64 rows of them here."""
    user, items = torch.randn(1000, 4), torch.randn(20_001, 4, requires_grad=True)
    sums = module._Sums(user, items.detach(), torch.zeros(()), torch.zeros(20_001), 0.0, True)
    assert sums.cells.numel() <= max(module._CPU_CELLS, module._FEWEST_ROWS * 20_001)


def test_repeats_are_the_items_read_so_far_each_once() -> None:
    inputs = torch.tensor([[5, 6, 5], [7, 0, 0]])
    used = torch.tensor([[True, True, True], [True, False, False]])
    repeats = Repeats.of_sequences(inputs, used, torch.tensor(2.0))
    assert sorted(zip(repeats.row.tolist(), repeats.item.tolist(), strict=True)) == [(0, 5), (1, 5), (1, 6), (2, 5), (2, 6), (3, 7)]


def test_of_no_position_the_loss_is_no_number_and_no_error():
    user = torch.zeros(0, 4, requires_grad=True)
    assert full_softmax(user, torch.randn(5, 4), torch.zeros(0, dtype=torch.long)).isnan()

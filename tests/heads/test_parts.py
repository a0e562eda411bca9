"""Adaptors, user heads and the item tower."""

from __future__ import annotations

import pytest
import torch

from bertrec.core.errors import ConfigError
from bertrec.heads.adaptors import MoEAdaptor, make_adaptor
from bertrec.heads.config import HeadConfig, ItemConfig
from bertrec.heads.items import ItemTower
from bertrec.heads.users import make_head

HEADS = ["self-attention", "ligr", "hstu", "gru", "mean", "dssm"]


def test_moe_adaptor_equals_the_formula() -> None:
    torch.manual_seed(0)
    adaptor = MoEAdaptor(5, 3, experts=4).eval()
    with torch.no_grad():
        for parameter in adaptor.parameters():
            parameter.normal_()
    x = torch.randn(6, 5)
    gates = (x @ adaptor.gate).softmax(-1)
    expected = sum(gates[:, k : k + 1] * ((x - adaptor.shift[k]) @ adaptor.weight[k]) for k in range(4))
    torch.testing.assert_close(adaptor(x), expected, rtol=1e-4, atol=1e-4)


def test_moe_gates_start_uniform_and_are_noisy_in_training_only() -> None:
    adaptor = MoEAdaptor(5, 3, experts=4)
    x = torch.randn(2, 5)
    torch.testing.assert_close(adaptor.eval().gates(x), torch.full((2, 4), 0.25))
    noisy = adaptor.train().gates(x)
    assert not torch.allclose(noisy, torch.full((2, 4), 0.25))
    torch.testing.assert_close(noisy.sum(-1), torch.ones(2))


@pytest.mark.parametrize("adaptor", ["linear", "gelu", "mlp", "moe"])
def test_adaptors_have_the_item_width(adaptor: str) -> None:
    config = ItemConfig(width=7, adaptor=adaptor, hidden=9, experts=2)
    assert make_adaptor(5, config)(torch.randn(3, 5)).shape == (3, 7)


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_never_reads_the_future(kind: str) -> None:
    torch.manual_seed(0)
    head = make_head(8, HeadConfig(kind=kind, heads=2, layers=2)).eval()
    items = torch.randn(2, 6, 8)
    changed = items.clone()
    changed[:, 4:] = torch.randn(2, 2, 8)
    with torch.no_grad():
        before, after = head(items), head(changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize("kind", HEADS)
def test_padding_on_the_right_changes_nothing_and_is_finite(kind: str) -> None:
    torch.manual_seed(0)
    head = make_head(8, HeadConfig(kind=kind, heads=2)).eval()
    items = torch.randn(1, 3, 8)
    padded = torch.cat([items, torch.zeros(1, 4, 8)], dim=1)
    with torch.no_grad():
        out = head(padded)
        torch.testing.assert_close(out[:, :3], head(items), rtol=1e-4, atol=1e-5)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("length", [1, 6])
def test_the_newest_state_is_that_of_the_whole_pass(kind: str, layers: int, length: int) -> None:
    torch.manual_seed(0)
    head = make_head(8, HeadConfig(kind=kind, heads=2, layers=layers, inner=12)).eval()
    items, lengths = torch.randn(4, length, 8), torch.tensor([length, 1, max(1, length - 2), length])
    with torch.no_grad():
        whole = head(items)
        for item in range(4):  # what stands after a row's end says nothing
            items[item, lengths[item] :] = 100.0
        found = head.newest(items, lengths)
    torch.testing.assert_close(found, whole[torch.arange(4), lengths - 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["self-attention", "ligr"])
def test_the_newest_state_has_gradients_and_dropout_too(kind: str) -> None:
    torch.manual_seed(0)
    head = make_head(8, HeadConfig(kind=kind, heads=2, layers=2, dropout=0.0)).train()
    items, lengths, weight = torch.randn(3, 5, 8, requires_grad=True), torch.tensor([5, 2, 3]), torch.randn(3, 8)
    found, whole = head.newest(items, lengths), head(items)[torch.arange(3), lengths - 1]
    of_found, of_whole = (torch.autograd.grad((each * weight).sum(), items)[0] for each in (found, whole))
    torch.testing.assert_close(of_found, of_whole, rtol=1e-4, atol=1e-5)
    dropping = make_head(8, HeadConfig(kind=kind, heads=2, layers=2, dropout=0.5)).train()
    assert not torch.equal(dropping.newest(items, lengths), dropping.newest(items, lengths))


def test_mean_head_is_the_running_mean() -> None:
    items = torch.tensor([[[2.0], [4.0], [9.0]]])
    torch.testing.assert_close(make_head(1, HeadConfig(kind="mean"))(items), torch.tensor([[[2.0], [3.0], [5.0]]]))


@pytest.mark.parametrize("kind", ["self-attention", "ligr"])
def test_heads_must_divide_the_width(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"head\.heads.*3 does not divide.*8"):
        make_head(8, HeadConfig(kind=kind, heads=3))


def test_an_item_without_training_has_its_text_alone() -> None:
    torch.manual_seed(0)
    tower = ItemTower(ItemConfig(width=4), n_items=3, text_dim=2)
    tower.trained.copy_(torch.tensor([False, True, False, True]))
    text = torch.randn(4, 2)
    vectors = tower(text, None)
    assert tower.id is not None
    assert tower.adaptor is not None
    torch.testing.assert_close(vectors[2], tower.adaptor(text[2]))
    torch.testing.assert_close(vectors[1], tower.adaptor(text[1]) + tower.id.weight[1])
    torch.testing.assert_close(tower(text[[3, 2]], torch.tensor([3, 2])), vectors[[3, 2]])


def test_id_dropout_is_for_training_only() -> None:
    torch.manual_seed(0)
    tower = ItemTower(ItemConfig(width=4, input="id", id_dropout=0.5), n_items=200, text_dim=None)
    tower.trained[1:] = True
    dropped = (tower(None, None)[1:].abs().sum(1) == 0).float().mean()
    assert 0.35 < float(dropped) < 0.65
    assert (tower.eval()(None, None)[1:].abs().sum(1) > 0).all()


@pytest.mark.parametrize("kind", ["self-attention", "ligr", "hstu", "gru"])
def test_a_frozen_head_maps_as_it_did_but_for_a_norm_of_its_inputs(kind):
    torch.manual_seed(0)
    head = make_head(8, HeadConfig(kind=kind, layers=1, heads=2, dropout=0.0))
    head.freeze()
    left = {name for name, parameter in head.named_parameters() if parameter.requires_grad}
    assert left == ({"norm.weight", "norm.bias"} if kind == "self-attention" else set())

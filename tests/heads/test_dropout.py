import math

import pytest
import torch
from torch import nn

from bertrec.heads.config import HeadConfig
from bertrec.heads.dropout import Dropout, with_quick_dropout
from bertrec.heads.users import make_head


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.999])
def test_as_many_are_dropped_as_asked_for_and_the_others_scaled(p):
    torch.manual_seed(0)
    count = 401 * 499  # no multiple of four
    out = Dropout(p)(torch.ones(401, 499))
    dropped = round(p * 65536) / 65536
    share = (out == 0).float().mean().item()
    assert abs(share - dropped) < 5 * math.sqrt(dropped * (1 - dropped) / count)
    assert out.max().item() == pytest.approx(1 / (1 - dropped))
    assert set(out.unique().tolist()) == {0.0, out.max().item()}


def test_neighbours_are_dropped_independently():
    torch.manual_seed(1)
    kept = (Dropout(0.5)(torch.ones(400_000)) > 0).float() - 0.5
    for lag in (1, 2, 3, 4, 64):  # four components share a word
        assert abs((kept[:-lag] * kept[lag:]).mean().item()) < 5 * 0.25 / math.sqrt(400_000)


def test_the_seed_decides_and_gradients_take_the_same_mask():
    layer, values = Dropout(0.4), torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(3)
    out = layer(values)
    torch.manual_seed(3)
    assert torch.equal(out, layer(values))
    out.sum().backward()
    assert torch.equal(values.grad * values, out)


def test_it_does_nothing_outside_training_or_without_a_probability():
    values = torch.randn(9)
    assert Dropout(0.5).eval()(values) is values
    assert torch.equal(Dropout(0.0)(values), values)
    assert torch.equal(Dropout(1.0)(values), torch.zeros(9))


def test_every_dropout_of_a_head_is_replaced_and_it_evaluates_as_before():
    head = make_head(8, HeadConfig(heads=2, dropout=0.3))
    kinds = {type(part) for part in head.modules() if isinstance(part, nn.Dropout)}
    assert kinds == {Dropout}
    plain = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)))
    quick = with_quick_dropout(plain)
    assert [part.p for part in quick.modules() if isinstance(part, Dropout)] == [0.2, 0.1]

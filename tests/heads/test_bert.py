"""BERT4Rec's head reads both ways and never its own target; the masked loss is a cross-entropy at masked places."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bertrec.core.errors import ConfigError
from bertrec.heads.bert import BERTHead
from bertrec.heads.config import HeadConfig, LossConfig
from bertrec.heads.masked import MaskedSoftmax, masked_places
from bertrec.heads.objectives import make_loss
from bertrec.heads.repeats import Repeats
from bertrec.heads.users import make_head


def head_of(layers: int = 2) -> BERTHead:
    torch.manual_seed(0)
    head = make_head(8, HeadConfig(kind="bert", layers=layers, max_history=6)).eval()
    assert isinstance(head, BERTHead)
    with torch.no_grad():
        head.mask.normal_()
    return head


def places(*chosen: int, length: int = 5) -> Tensor:
    return torch.tensor([[place in chosen for place in range(length)]])


@pytest.mark.parametrize("layers", [1, 3])
def test_a_target_never_reaches_its_prediction(layers: int) -> None:
    """Whatever stands at a masked place changes nothing anywhere; what stands at another one, on either side, changes the prediction."""
    head, items = head_of(layers), torch.randn(1, 5, 8)
    for place in range(5):
        with torch.no_grad():
            before = head(items, places(place))
            other = items.clone()
            other[0, place] = 100.0
            torch.testing.assert_close(head(other, places(place)), before)
            for read in {0, 1, 2, 3, 4} - {place}:
                changed = items.clone()
                changed[0, read] += torch.randn(8)
                assert not torch.allclose(head(changed, places(place))[0, place], before[0, place])


def test_other_masked_targets_are_not_read_either() -> None:
    head, items = head_of(), torch.randn(1, 5, 8)
    other = items.clone()
    other[0, 3] = 100.0
    with torch.no_grad():
        torch.testing.assert_close(head(other, places(1, 3)), head(items, places(1, 3)))


def test_padding_changes_nothing() -> None:
    head, items = head_of(), torch.randn(2, 3, 8)
    padded = torch.cat([items, torch.full((2, 2, 8), 50.0)], dim=1)
    masked = torch.tensor([[False, True, False], [True, False, False]])
    with torch.no_grad():
        found = head(padded, torch.nn.functional.pad(masked, (0, 2)), torch.tensor([3, 3]))
        torch.testing.assert_close(found[:, :3], head(items, masked), rtol=1e-4, atol=1e-5)


def test_users_are_a_masked_place_after_their_newest_item() -> None:
    """Of the longest history too, and whatever stands after a row's end."""
    head, items, lengths = head_of(), torch.randn(3, 6, 8), torch.tensor([6, 1, 4])
    for row, length in enumerate(lengths.tolist()):
        items[row, length:] = 100.0
    with torch.no_grad():
        found = head.newest(items, lengths)
        for row, length in enumerate(lengths.tolist()):
            longer = torch.cat([items[row : row + 1, :length], torch.zeros(1, 1, 8)], dim=1)
            wanted = head(longer, places(length, length=length + 1))[0, length]
            torch.testing.assert_close(found[row], wanted, rtol=1e-4, atol=1e-5)


@given(lengths=st.lists(st.integers(2, 9), min_size=1, max_size=6), share=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_some_items_of_each_sequence_are_masked_and_never_all(lengths: list[int], share: float, seed: int) -> None:
    torch.manual_seed(seed)
    real = torch.arange(9) < torch.tensor(lengths)[:, None]
    masked = masked_places(real, share)
    assert not (masked & ~real).any()
    assert masked.any(dim=1).all()
    assert (real & ~masked).any(dim=1).all()


def test_how_many_are_masked() -> None:
    """Four fifths of 4,000 sequences of 50 have a fifth of their items masked, the others their last one: (.8 × 10 + .2) / 50 = .164."""
    torch.manual_seed(0)
    masked = masked_places(torch.ones(4000, 50, dtype=torch.bool), 0.2)
    assert masked.float().mean().item() == pytest.approx(0.164, abs=0.004)
    alone = (masked.sum(dim=1) == 1) & masked[:, -1]
    assert alone.float().mean().item() == pytest.approx(0.2, abs=0.03)


class Plain:
    """Vectors chosen by hand; what fills a masked place is the sum of what is visible."""

    counts = torch.tensor([0, 3, 2, 2, 1, 0])
    bias: Tensor | None = None
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.5], [-1.0, 2.0], [0.3, 0.3], [2.0, -1.0], [9.0, 9.0]])

    @property
    def repeat_bias(self):
        return self.bias

    def item_vectors(self, rows=None, fresh=None):
        self.fresh = set(fresh.tolist())
        return self.vectors

    def filled_states(self, items, sequences, masked):
        self.masked = masked
        visible = items[sequences].masked_fill(masked[:, :, None], 0.0)
        return visible.sum(dim=1, keepdim=True).expand(-1, sequences.shape[1], -1)

    def scaled_users(self, states):
        return 2 * states

    def scaled_items(self, items):
        return items


@pytest.mark.parametrize("bias", [None, -1.5])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_cross_entropy_at_masked_places(bias: float | None, smoothing: float) -> None:
    """Item 5 was in no training sequence and is no candidate."""
    torch.manual_seed(3)
    model, whole = Plain(), [[1, 2, 1, 3, 4], [4, 2, 3, 0, 0]]
    model.bias = None if bias is None else torch.tensor(bias)
    loss = make_loss(LossConfig(kind="masked", label_smoothing=smoothing, mask_share=0.4))
    assert isinstance(loss, MaskedSoftmax)
    value = loss(model, torch.tensor([[1, 2, 1, 3], [4, 2, 0, 0]]), torch.tensor([[2, 1, 3, 4], [2, 3, 0, 0]]))
    vectors, terms = model.vectors.double().numpy(), []
    for row, places_of_row in zip(whole, model.masked.tolist(), strict=True):
        shown = [item for item, hidden in zip(row, places_of_row, strict=True) if item and not hidden]
        user = 2 * vectors[shown].sum(axis=0)
        for item in (item for item, hidden in zip(row, places_of_row, strict=True) if hidden):
            logits = np.array([user @ vectors[one] + (bias or 0.0) * (one in shown) for one in range(1, 5)])
            logs = logits - np.log(np.exp(logits).sum())
            terms.append(-(1 - smoothing) * logs[item - 1] - smoothing * logs.mean())
    assert len(terms) >= 2
    assert value.item() == pytest.approx(np.mean(terms), rel=1e-5)
    assert model.fresh == {0, 1, 2, 3, 4}


def test_repeats_are_the_other_items_of_a_sequence_each_once() -> None:
    visible = torch.tensor([[1, 0, 1, 3, 0]])
    found = Repeats.of_visible(visible, torch.tensor([[False, True, False, False, True]]), torch.tensor(1.0))
    assert list(zip(found.row.tolist(), found.item.tolist(), strict=True)) == [(0, 1), (0, 3), (1, 1), (1, 3)]


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match=r"setting 'head.heads': 3 does not divide item.width 8"):
        make_head(8, HeadConfig(kind="bert", heads=3))

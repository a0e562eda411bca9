"""Draws by counts: each place among the counts leads to its item, so that even places make the shares."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from bertrec.heads.draws import ItemDraw


@given(some.lists(some.integers(0, 5), min_size=1, max_size=20).filter(any))
def test_every_item_is_drawn_for_as_many_places_as_it_counts(counts):
    draw = ItemDraw(torch.tensor([0, *counts]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randint", lambda high, size, **_: torch.arange(high))
        drawn = draw.by_share(1)
        assert torch.bincount(drawn, minlength=len(counts) + 1).tolist() == [0, *counts]
        assert draw.evenly([1]).tolist() == [item for item, count in enumerate(counts, 1) if count]


def test_shares_of_items_without_a_count_are_as_if_they_had_one():
    draw = ItemDraw(torch.tensor([0, 3, 0, 5]))
    torch.testing.assert_close(draw.log_share(torch.tensor([[1, 2], [3, 3]])).exp(), torch.tensor([[3, 1], [5, 5]]) / 8)


def test_draws_have_the_shape_asked_for():
    draw = ItemDraw(torch.tensor([0, 3, 0, 5]))
    assert draw.by_share(7).shape == (7,)
    assert draw.evenly((2, 4)).shape == (2, 4)
    assert set(draw.evenly((50,)).tolist()) == {1, 3}

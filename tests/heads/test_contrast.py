"""Views of histories keep what they promise; InfoNCE of views against the formula; what the contrasts compare."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bertrec.core.errors import ConfigError
from bertrec.heads.config import LossConfig
from bertrec.heads.contrast import CL4SRec, DuoRec, make_contrast
from bertrec.heads.losses import info_nce_of_views
from bertrec.heads.views import crop, mask, random_view, reorder

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=8)
WIDTH = 12


def drawn(seed: int, lengths: list[int]) -> Tensor:
    torch.manual_seed(seed)
    return torch.tensor(lengths)


@given(lengths=LENGTHS, seed=st.integers(0, 1000))
def test_a_crop_is_neighbouring_items_and_never_empty(lengths: list[int], seed: int) -> None:
    view = crop(drawn(seed, lengths), WIDTH)
    for row, length in enumerate(lengths):
        kept = view.places[row, : view.lengths[row]].tolist()
        assert len(kept) == max(1, math.floor(0.6 * length + 1e-6))
        assert kept == list(range(kept[0], kept[0] + len(kept)))
        assert kept[-1] < length
        assert view.moments[row].tolist() == view.places[row].tolist()
        assert not view.masked[row].any()


@given(lengths=LENGTHS, seed=st.integers(0, 1000))
def test_a_mask_hides_its_share_and_moves_nothing(lengths: list[int], seed: int) -> None:
    view = mask(drawn(seed, lengths), WIDTH)
    assert view.lengths.tolist() == lengths
    for row, length in enumerate(lengths):
        assert view.places[row].tolist() == list(range(WIDTH))
        assert view.masked[row, :length].sum() == math.floor(0.3 * length + 1e-6)
        assert not view.masked[row, length:].any()


@given(lengths=LENGTHS, seed=st.integers(0, 1000))
def test_a_reordering_permutes_one_window(lengths: list[int], seed: int) -> None:
    view = reorder(drawn(seed, lengths), WIDTH)
    assert view.lengths.tolist() == lengths
    assert not view.masked.any()
    for row, length in enumerate(lengths):
        places = view.places[row].tolist()
        assert sorted(places) == list(range(WIDTH))
        moved = [place for place in range(WIDTH) if places[place] != place]
        assert not moved or (moved[-1] - moved[0] < math.floor(0.6 * length + 1e-6) and moved[-1] < length)
        assert view.moments[row].tolist() == list(range(WIDTH))  # what moves takes the times that are there


def test_windows_and_orders_are_all_drawn() -> None:
    """Of 6,000 histories of 5 items: 3 kept from 3 places; 3 moved from 3 places in 6 orders; 1 of 5 masked."""
    lengths = drawn(0, [5] * 6000)
    starts = torch.bincount(crop(lengths, 5).places[:, 0], minlength=3)
    assert starts.tolist() == pytest.approx([2000] * 3, abs=180)
    orders, counts = reorder(lengths, 5).places.unique(dim=0, return_counts=True)
    # The window at 0, 1 or 2: 6 orders each, of which those that two windows give are one.
    assert len(orders) == len({tuple(order) for start in range(3) for order in _orders(start)})
    assert counts.min() > 250  # each is 1/18 of them or more: 333
    hidden = mask(lengths, 5).masked
    assert hidden.sum(dim=0).tolist() == pytest.approx([1200] * 5, abs=150)


def _orders(start: int):
    import itertools

    for window in itertools.permutations(range(start, start + 3)):
        yield [*range(start), *window, *range(start + 3, 5)]


def test_each_history_is_viewed_by_one_of_the_three() -> None:
    view = random_view(drawn(0, [10] * 3000), 10)
    cropped, masked = view.lengths == 6, view.masked.any(dim=1)
    moved = (view.places != torch.arange(10)).any(dim=1) & ~cropped
    assert not (masked & (cropped | moved)).any()
    assert [int(part.sum()) for part in (cropped, masked)] == pytest.approx([1000, 1000], abs=130)
    assert int(moved.sum()) == pytest.approx(1000, abs=130)


def by_formula(left, right, masked, temperature):
    both = [row / np.linalg.norm(row) for row in (*left, *right)]
    rows, total = len(left), 0.0
    for i in range(2 * rows):
        positive = (i + rows) % (2 * rows)
        negatives = [j for j in range(2 * rows) if j % rows != i % rows and not masked[i % rows, j % rows]]
        terms = {j: math.exp(both[i] @ both[j] / temperature) for j in [positive, *negatives]}
        total -= math.log(terms[positive] / sum(terms.values()))
    return total / (2 * rows)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_info_nce_of_views_is_the_formula(temperature, share):
    rng = np.random.default_rng(0)
    left, right, masked = rng.normal(size=(5, 4)), rng.normal(size=(5, 4)), rng.random((5, 5)) < share
    masked = masked | masked.T | np.eye(5, dtype=bool)
    found = info_nce_of_views(torch.tensor(left), torch.tensor(right), masked=torch.tensor(masked), temperature=temperature)
    assert found.item() == pytest.approx(by_formula(left, right, masked, temperature), rel=1e-9)


def test_two_rows_by_hand() -> None:
    """Cosines of 1 with the positive and 0 with the two negatives: ln(1 + 2 e^-2) at a temperature of one half."""
    found = info_nce_of_views(torch.eye(2), 3 * torch.eye(2), temperature=0.5)
    assert found.item() == pytest.approx(math.log1p(2 * math.exp(-2)), rel=1e-6)
    alone = info_nce_of_views(torch.eye(2), torch.eye(2), masked=torch.ones(2, 2, dtype=torch.bool), temperature=0.5)
    assert alone.item() == 0.0


class Sums:
    """A model whose user is the sum of the vectors read, and which keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[list[int]], list[int], list[list[int]] | None]] = []

    def item_vectors(self, rows=None, fresh=None):
        self.rows = rows.tolist()
        return torch.stack([torch.tensor([float(one), one % 3, 1.0]) for one in self.rows])

    def newest_states(self, items, inputs, lengths, times=None):
        self.asked.append((inputs.tolist(), lengths.tolist(), None if times is None else times.tolist()))
        read = torch.arange(inputs.shape[1]) < lengths[:, None]
        return (items[inputs] * read[:, :, None]).sum(dim=1)


INPUTS, TARGETS = (
    torch.tensor([[1, 2, 3, 4, 5], [7, 8, 0, 0, 0], [9, 2, 4, 0, 0]]),
    torch.tensor([[2, 3, 4, 5, 6], [8, 6, 0, 0, 0], [2, 4, 1, 0, 0]]),
)


def test_cl4srec_compares_two_views_of_each_history() -> None:
    torch.manual_seed(0)
    contrast, model = make_contrast(LossConfig(contrast="cl4srec", contrast_weight=0.5, contrast_temperature=0.2), 3), Sums()
    assert isinstance(contrast, CL4SRec)
    times = INPUTS * 100
    value = contrast(model, INPUTS, TARGETS, times)
    assert len(model.asked) == 2
    vectors = torch.cat([model.item_vectors(torch.tensor(sorted({0, *INPUTS.flatten().tolist()}))), contrast.mask[None]])
    views = []
    for inputs, lengths, when in model.asked[:2]:
        assert when is not None
        users = []
        for row, length in enumerate(lengths):
            own = [model.rows.index(one) for one in INPUTS[row].tolist() if one]
            assert set(inputs[row][:length]) <= {*own, len(model.rows)}  # nobody else's items, and the mask
            assert set(when[row][:length]) <= set(times[row].tolist())
            assert when[row][:length] == sorted(when[row][:length], key=times[row].tolist().index)
            users.append(vectors[inputs[row][:length]].sum(dim=0))
        views.append(torch.stack(users))
    torch.testing.assert_close(value, 0.5 * info_nce_of_views(*views, temperature=0.2))


def test_duorec_compares_histories_that_led_to_the_same_item() -> None:
    """The first two histories led to item 6, so that neither is a negative of the other."""
    contrast, model = make_contrast(LossConfig(contrast="duorec", contrast_weight=2.0, contrast_temperature=0.5), 3), Sums()
    assert isinstance(contrast, DuoRec)
    partners = torch.tensor([[7, 8], [1, 3], [9, 2]])
    value = contrast(model, INPUTS, TARGETS, None, partners=partners)
    vector = {one: torch.tensor([float(one), one % 3, 1.0]) for one in range(1, 10)}
    left, right = (torch.stack([sum(vector[one] for one in row if one) for row in rows.tolist()]) for rows in (INPUTS, partners))
    same = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    torch.testing.assert_close(value, 2 * info_nce_of_views(left, right, masked=same, temperature=0.5))
    negative = info_nce_of_views(left, right, temperature=0.5)
    assert not torch.allclose(value, 2 * negative)


def test_bad_settings_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"contrast_weight.*greater than or equal to 0"):
        LossConfig.from_dict({"contrast_weight": -0.1})
    with pytest.raises(ConfigError, match=r"contrast_temperature.*greater than 0"):
        LossConfig.from_dict({"contrast_temperature": 0})
    with pytest.raises(ConfigError, match="'none', 'cl4srec' or 'duorec'"):
        LossConfig.from_dict({"contrast": "duo"})
    with pytest.raises(ConfigError, match="mask_share"):
        LossConfig.from_dict({"mask_share": 1})


def test_hashes_of_models_without_a_contrast_are_what_they_were() -> None:
    assert set(LossConfig().identity()) == {"kind", "similarity", "temperature", "negatives", "calibration", "label_smoothing"}
    assert LossConfig(contrast="duorec").identity()["contrast"] == "duorec"

from __future__ import annotations

import numpy as np
import pytest

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import Ragged
from bertrec.data.swaps import swapped

ROWS = Ragged.from_rows([[1, 2, 3, 4, 5, 6], [], [7], [8, 9], *[[1, 2, 3, 4, 5, 6, 7, 8, 9]] * 50])
LABELS = Ragged.from_rows([[], [0], [0], [0, 1], [1], [1], [2], [2], [], []])  # items 8 and 9 have none


def test_nothing_is_swapped_at_probability_0():
    same = swapped(ROWS, 0.0, labels=LABELS, seed=1)
    assert same.values.tolist() == ROWS.values.tolist()


def test_without_labels_neighbours_change_places_and_nothing_else():
    found = swapped(ROWS, 0.2, seed=1)
    assert found.offsets.tolist() == ROWS.offsets.tolist()
    moved = 0
    for old, new in zip(ROWS, found, strict=True):
        assert sorted(new.tolist()) == sorted(old.tolist())
        place = {item: at for at, item in enumerate(new.tolist())}
        assert all(abs(place[item] - at) <= 1 for at, item in enumerate(old.tolist()))
        moved += sum(old != new)
    assert 0.15 < moved / len(ROWS.values) < 0.45  # a swap moves two


def test_a_replaced_item_shares_a_label_and_one_without_labels_stays():
    single = Ragged.from_rows([[item] for item in range(1, 10)] * 200)  # no neighbours: replacement alone
    found = swapped(single, 0.5, labels=LABELS, seed=2)
    shared = {(old, new) for old, new in zip(single.values.tolist(), found.values.tolist(), strict=True) if old != new}
    expected = {(a, b) for a in range(1, 10) for b in range(1, 10) if a != b and set(LABELS[a].tolist()) & set(LABELS[b].tolist())}
    assert shared == expected
    assert 0.25 < np.mean(single.values[single.values <= 7] != found.values[single.values <= 7]) < 0.5


def test_the_seed_decides_and_times_stay():
    timed = Ragged(ROWS.values, ROWS.offsets, np.arange(len(ROWS.values)))
    one, again, other = (swapped(timed, 0.3, labels=LABELS, seed=seed) for seed in ([0, 1], [0, 1], [0, 2]))
    assert one.values.tolist() == again.values.tolist() != other.values.tolist()
    assert one.times.tolist() == timed.times.tolist()


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_outside_its_range_is_refused(probability):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        swapped(ROWS, probability, seed=0)

"""Times of ragged rows go wherever the values go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.ragged import NO_TIME, Ragged

ROWS = st.lists(st.lists(st.integers(1, 9), max_size=5), min_size=1, max_size=6)


def timed(rows: list[list[int]]) -> Ragged:
    """Each value's time is a hundred times its place among all, and itself."""
    plain = Ragged.from_rows(rows)
    return Ragged(plain.values, plain.offsets, 100 * np.arange(len(plain.values)) + plain.values)


@given(rows=ROWS, count=st.integers(1, 6), data=st.data())
def test_every_part_keeps_the_times_of_its_values(rows: list[list[int]], count: int, data: st.DataObject) -> None:
    whole = timed(rows)
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8))
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(whole.values), max_size=len(whole.values))), dtype=bool)
    start = data.draw(st.integers(0, len(rows)))
    parts = [whole.take(picked), whole.last(count), whole.where(keep), whole.slice(start, len(rows)), whole.without_empty()]
    plain = Ragged(whole.values, whole.offsets)
    same = [plain.take(picked), plain.last(count), plain.where(keep), plain.slice(start, len(rows)), plain.without_empty()]
    for part, untimed in zip(parts, same, strict=True):
        assert part.times is not None
        assert untimed.times is None
        assert part.values.tolist() == untimed.values.tolist()
        assert part.offsets.tolist() == untimed.offsets.tolist()
        assert (part.times % 100).tolist() == part.values.tolist()
    assert (whole.take(picked).times // 100).tolist() == [place for row in picked for place in range(*whole.offsets[row : row + 2])]
    assert (whole.where(keep).times // 100).tolist() == np.flatnonzero(keep).tolist()


def test_times_are_padded_as_values_are() -> None:
    rows = timed([[1, 2, 3], [4]])
    assert rows.padded_times().tolist() == [[1, 102, 203], [304, 0, 0]]
    assert rows.padded_times(2).tolist() == [[102, 203], [304, 0]]
    assert Ragged(rows.values, rows.offsets).padded_times() is None


def test_rows_of_which_some_have_times() -> None:
    found = Ragged.with_times([[1, 2], np.array([3]), []], [[10, 20], None, []])
    assert found.times.tolist() == [10, 20, NO_TIME]
    assert Ragged.with_times([[1], [2, 3]], [None, None]).times is None


def test_as_many_times_as_values() -> None:
    with pytest.raises(ValueError, match="1 times for 2 values"):
        Ragged(np.array([1, 2]), np.array([0, 2]), np.array([5]))

"""Sums of lifts against a table filled by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core import lifts as lifts_module
from bertrec.core.lifts import Lifts
from bertrec.core.ragged import Ragged

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(-8, 8)), max_size=30)


@settings(max_examples=100, deadline=None)
@given(PAIRS, st.sampled_from([0, 1 << 15]))
def test_summed_lifts_are_those_of_a_table(pairs, few):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifts_module, "FEW_PAIRS", few)  # sorted, or added up by SciPy
        check_sums(pairs)


def check_sums(pairs):
    rows, items, values = (np.array([pair[column] for pair in pairs], np.int64) for column in range(3))
    table = np.zeros((5, 10))
    np.add.at(table, (rows, items), values)
    lifts = Lifts.summed(rows, items, values.astype(np.float32), 5)
    scores = np.ones((5, 10), np.float32)
    lifts.add_to(scores)
    assert (scores == table + 1).all()
    every = np.divmod(np.arange(50), 10)
    assert lifts.of(*every).tolist() == table.reshape(-1).tolist()
    assert lifts.of(np.array([0, 1]), np.array([99, 10**9])).tolist() == [0, 0]
    assert all((np.diff(row) > 0).all() for row in lifts.items)
    part = lifts.slice(1, 4)
    assert part.of(*np.divmod(np.arange(30), 10)).tolist() == table[1:4].reshape(-1).tolist()
    kept = lifts.where(lifts.values > 0)
    assert kept.of(*every).tolist() == np.maximum(table, 0).reshape(-1).tolist()


def test_constant_lifts_count_an_item_once():
    lifts = Lifts.constant(Ragged.from_rows([[3, 1, 3], [], [2]]), -0.5)
    assert [row.tolist() for row in lifts.items] == [[1, 3], [], [2]]
    assert lifts.values.tolist() == [-0.5] * 3

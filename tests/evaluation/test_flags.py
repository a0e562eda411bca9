"""Flags counted eight at a time, and where ragged values stand in a table, against counting them one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.ragged import Ragged
from bertrec.evaluation.flags import cells_of, count_flags, flag_at_least, padded


@given(st.integers(1, 5), st.sampled_from([1, 8, 9, 2040, 2041, 4080, 4100]), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_counts_are_numpys(rows, width, share, seed):
    flags = np.zeros((rows, padded(width)), bool)
    flags[:, :width] = np.random.default_rng(seed).random((rows, width)) < share
    assert flags.shape[1] % 8 == 0
    assert 0 <= flags.shape[1] - width < 8
    assert count_flags(flags).tolist() == np.count_nonzero(flags, axis=1).tolist()


def test_comparing_leaves_numpys_buffer_as_it_was():
    before = np.getbufsize()
    scores, limits = np.array([[1.0, 2.0, np.nan], [-np.inf, 5.0, 3.0]]), np.array([[2.0], [3.0]])
    flags = np.zeros((2, 8), bool)
    flag_at_least(scores, limits, flags[:, :3])
    assert flags[:, :3].tolist() == [[False, True, False], [False, True, True]]
    assert not flags[:, 3:].any()
    assert np.getbufsize() == before


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_cells_are_where_the_values_stand(rows, data):
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    expected = [(row - start) * 12 + value for row in range(start, stop) for value in rows[row]]
    assert cells_of(Ragged.from_rows(rows), start, stop, 12).tolist() == expected

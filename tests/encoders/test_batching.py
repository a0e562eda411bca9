from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.ragged import Ragged
from bertrec.encoders.batching import padded_tokens, token_budget_batches


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 40))
def test_batches_hold_every_row_once_within_the_budget(lengths, budget):
    lengths = np.array(lengths, dtype=np.int64)
    batches = list(token_budget_batches(lengths, budget))
    order = np.concatenate([np.zeros(0, np.int64), *batches])
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert (np.diff(lengths[order]) <= 0).all()
    assert all(len(batch) == 1 or len(batch) * lengths[batch].max() <= budget for batch in batches)


@given(st.lists(st.lists(st.integers(1, 99), max_size=6), min_size=1, max_size=8))
def test_padding_restores_to_the_rows(rows):
    ids, mask = padded_tokens(Ragged.from_rows(rows), np.arange(len(rows)), 7)
    assert [ids[i][mask[i] == 1].tolist() for i in range(len(rows))] == rows
    assert (ids[mask == 0] == 7).all()

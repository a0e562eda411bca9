from __future__ import annotations

from collections import Counter
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.ragged import Ragged
from bertrec.training.sequences import SequenceDataset

ROWS = st.lists(st.lists(st.integers(1, 50), max_size=30), max_size=20)


def rows_of(dataset):
    return [row.tolist() for row in dataset.chunks]


def test_a_long_row_is_cut_from_its_end_into_chunks_that_overlap_by_one():
    dataset = SequenceDataset(Ragged.from_rows([[1, 2, 3, 4, 5, 6], [7], [], [8, 9], [1, 2, 3, 4]]), 3)
    assert rows_of(dataset) == [[1, 2, 3], [3, 4, 5, 6], [8, 9], [1, 2, 3, 4]]
    assert dataset.source_rows.tolist() == [0, 0, 3, 4]
    assert dataset.dropped == 2
    assert dataset.n_targets == 5 + 1 + 3


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, max_length=st.integers(1, 9))
def test_every_position_but_the_first_is_a_target_exactly_once_after_its_true_predecessor(rows, max_length):
    unique = [[100 * number + place for place in range(1, len(row) + 1)] for number, row in enumerate(rows)]  # each id once
    long_enough = [row for row in unique if len(row) >= 2]
    if not long_enough:
        with pytest.raises(DataError, match="two items"):
            SequenceDataset(Ragged.from_rows(unique), max_length)
        return
    dataset = SequenceDataset(Ragged.from_rows(unique), max_length)
    pairs = Counter((before, after) for row in rows_of(dataset) for before, after in pairwise(row))
    assert pairs == Counter((before, after) for row in long_enough for before, after in pairwise(row))
    assert dataset.chunks.lengths.max() <= max_length + 1
    assert dataset.dropped == sum(len(row) < 2 for row in unique)


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(2, 12), min_size=1, max_size=300), batch_size=st.integers(1, 40), seed=st.integers(0, 5))
def test_each_sequence_is_in_one_batch_an_epoch(lengths, batch_size, seed):
    dataset = SequenceDataset(Ragged.from_lengths(np.ones(sum(lengths), np.int64), np.array(lengths)), 20)
    batches = [batch.tolist() for batch in dataset.batches(3, batch_size, seed)]
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    sizes = sorted(map(len, batches), reverse=True)
    assert len(batches) == -(-len(lengths) // batch_size)
    assert all(size == batch_size for size in sizes[:-1])
    assert batches == [batch.tolist() for batch in dataset.batches(3, batch_size, seed)]


def test_batches_depend_on_seed_and_epoch_and_pad_little():
    lengths = np.random.default_rng(0).integers(2, 51, 4000)
    dataset = SequenceDataset(Ragged.from_lengths(np.ones(lengths.sum(), np.int64), lengths), 50)
    orders = [np.concatenate(list(dataset.batches(epoch, 64, seed))).tolist() for epoch, seed in [(0, 0), (1, 0), (0, 1)]]
    assert orders[0] != orders[1]
    assert orders[0] != orders[2]
    width = [lengths[batch].max() * len(batch) for batch in dataset.batches(0, 64, 0)]
    assert sum(width) < 1.05 * lengths.sum()  # unsorted batches would pad to 1.9 times
    means = np.array([lengths[batch].mean() for batch in dataset.batches(0, 64, 0)])
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.5  # not short ones first


def test_collate_pads_inputs_and_targets_on_the_right():
    dataset = SequenceDataset(Ragged.from_rows([[1, 2, 3, 4], [8, 9]]), 10)
    expected = {"inputs": [[1, 2, 3], [8, 0, 0]], "targets": [[2, 3, 4], [9, 0, 0]]}
    for items in ([dataset[0], dataset[1]], dataset.__getitems__([0, 1])):
        batch = dataset.collate(items)
        assert {name: tensor.tolist() for name, tensor in batch.items()} == expected
        assert {str(tensor.dtype) for tensor in batch.values()} == {"torch.int64"}


def test_content_hash_knows_the_data():
    base = SequenceDataset(Ragged.from_rows([[1, 2, 3]]), 5).content_hash
    assert base == SequenceDataset(Ragged.from_rows([[1, 2, 3], [4]]), 5).content_hash  # what is dropped teaches nothing
    assert base != SequenceDataset(Ragged.from_rows([[1, 2, 4]]), 5).content_hash
    assert base != SequenceDataset(Ragged.from_rows([[1, 2, 3]]), 1).content_hash


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match="max_length is 0"):
        SequenceDataset(Ragged.from_rows([[1, 2]]), 0)
    with pytest.raises(DataError, match="none of the 2"):
        SequenceDataset(Ragged.from_rows([[1], []]), 5)

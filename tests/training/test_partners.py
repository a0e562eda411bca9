"""Each training sequence with another one that led to the same item."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.ragged import Ragged
from bertrec.training.partners import PartnerDataset


def pairs_of(dataset: PartnerDataset, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    torch.manual_seed(seed)
    found = dataset.__getitems__(np.arange(len(dataset)))
    return [(row.tolist(), partner.tolist()) for row, partner in zip(found.rows, found.partners, strict=True)]


def test_partners_by_hand() -> None:
    """Item 5 is the last target of the first row, and a target within the second; 9 is nobody else's."""
    dataset = PartnerDataset(Ragged.from_rows([[1, 2, 5], [3, 5, 4], [4, 9], [7]]), 10)
    assert pairs_of(dataset) == [([1, 2, 5], [3]), ([3, 5, 4], [3, 5]), ([4, 9], [4])]


@given(rows=st.lists(st.lists(st.integers(1, 4), min_size=2, max_size=7), min_size=1, max_size=8), seed=st.integers(0, 500))
def test_a_partner_led_to_the_same_item_elsewhere_if_anything_did(rows: list[list[int]], seed: int) -> None:
    dataset = PartnerDataset(Ragged.from_rows(rows), 3)
    chunks = [chunk.tolist() for chunk in dataset.chunks]
    for number, (row, partner) in enumerate(pairs_of(dataset, seed)):
        others = [
            chunk[:place]
            for other, chunk in enumerate(chunks)
            for place in range(1, len(chunk))
            if chunk[place] == row[-1] and (other, place) != (number, len(row) - 1)
        ]
        assert partner in (others or [row[:-1]])


def test_long_partners_are_cut_to_the_length_of_the_batch() -> None:
    """To ten items beside short sequences, to twelve beside one with twelve inputs."""
    long = [*range(1, 16), 90]
    dataset = PartnerDataset(Ragged.from_rows([[80, 90], long, [*range(20, 32), 91]]), 50)
    assert dataset.__getitems__([0]).partners[0].tolist() == list(range(6, 16))
    assert dataset.__getitems__([0, 2]).partners[0].tolist() == list(range(4, 16))


def test_every_partner_is_as_likely() -> None:
    dataset = PartnerDataset(Ragged.from_rows([[1, 9], [2, 9], [3, 9], [4, 9]]), 5)
    torch.manual_seed(0)
    found = dataset.__getitems__(np.array([1] * 3000 + [3] * 3000)).partners.values.reshape(2, 3000)
    for row, others in zip(found, ([1, 3, 4], [1, 2, 3]), strict=True):
        values, counts = np.unique(row, return_counts=True)
        assert values.tolist() == others
        assert abs(counts - 1000).max() < 130


def test_batches_hold_both_with_their_times() -> None:
    sequences = Ragged.from_rows([[1, 2, 5], [3, 5]])
    dataset = PartnerDataset(Ragged(sequences.values, sequences.offsets, np.array([10, 20, 30, 40, 50])), 10)
    batch = dataset.collate(dataset.__getitems__([0, 1]))
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "inputs": [[1, 2], [3, 0]],
        "targets": [[2, 5], [5, 0]],
        "times": [[10, 20, 30], [40, 50, 0]],
        "partners": [[3, 0], [1, 2]],
        "partner_times": [[40, 0], [10, 20]],
    }
    plain = PartnerDataset(sequences, 10)
    assert set(plain.collate(plain.__getitems__([0]))) == {"inputs", "targets", "partners"}

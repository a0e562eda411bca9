"""Codes of behaviour: an SVD of users and items, cut into bins."""

from __future__ import annotations

import numpy as np
import pytest

from bertrec.core.ragged import Ragged
from bertrec.models.sequential.behaviour_codes import bin_centres, binned, folded_in, item_components


def random_histories(users: int = 30, items: int = 12) -> tuple[Ragged, np.ndarray]:
    taken = np.random.default_rng(0).random((users, items + 1)) < 0.4
    taken[:, 0] = False
    rows = [np.flatnonzero(row) for row in taken]
    return Ragged.from_rows([[*row, *row[:1]] for row in rows]), taken.astype(np.float64)  # one item of each user twice


@pytest.mark.parametrize("count", [4, 12, 20])  # the last is beyond the rank
def test_components_are_those_of_numpys_svd_but_for_the_sign(count: int) -> None:
    histories, matrix = random_histories()
    _, values, right = np.linalg.svd(matrix, full_matrices=False)
    found = item_components(histories, 12, count)
    wanted = np.zeros((13, count))
    rank = min(count, len(values))
    wanted[:, :rank] = (values[:rank, None] * right[:rank]).T
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-4)
    assert not found[0].any()


def test_quantiles_hold_as_many_items_each_and_ranges_are_of_one_width() -> None:
    values = np.array([[0.0], [1], [2], [3], [4], [100]], np.float32)
    rng = np.random.default_rng(0)
    assert binned(values, 3, "quantiles", rng)[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert binned(values, 4, "range", rng)[:, 0].tolist() == [0, 0, 0, 0, 0, 3]


def test_equal_values_are_parted_by_noise_alone() -> None:
    values = np.zeros((1000, 2), np.float32)
    codes = binned(values, 4, "quantiles", np.random.default_rng(0))
    assert np.bincount(codes[:, 0]).tolist() == [250] * 4
    assert not np.array_equal(codes[:, 0], codes[:, 1])
    assert np.array_equal(codes, binned(values, 4, "quantiles", np.random.default_rng(0)))


def test_a_bin_stands_for_the_mean_of_its_values() -> None:
    values, codes = np.array([[1.0], [3], [10]], np.float32), np.array([[0], [0], [2]], np.uint8)
    assert bin_centres(values, codes, 4).tolist() == [[2.0, 2.0, 10.0, 10.0]]


def test_codes_recover_planted_blocks() -> None:
    """Users take items of their own block of four alone: the leading codes of a block's items are alike, of two blocks not."""
    rng, blocks = np.random.default_rng(1), np.arange(40) // 10
    rows = [rng.choice(np.flatnonzero(blocks == user % 4), 6 - user % 4, replace=False) + 1 for user in range(400)]
    vectors = item_components(Ragged.from_rows(rows), 40, 4)[1:]
    codes = binned(vectors, 4, "range", rng)
    within = [len(np.unique(codes[blocks == block], axis=0)) for block in range(4)]
    names = {tuple(codes[blocks == block][0]) for block in range(4)}
    assert max(within) <= 4
    assert len(names) == 4
    assert not {tuple(row) for row in codes[blocks == 0].tolist()} & {tuple(row) for row in codes[blocks == 1].tolist()}


def test_new_items_get_the_codes_of_items_with_their_components() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 3)).astype(np.float32)
    codes = (binned(vectors, 10, "range", rng) + 1).astype(np.uint8)
    known = codes.copy()
    known[50:] = 0
    found = folded_in(known, vectors, 10)
    assert np.array_equal(found[:50], codes[:50])
    assert np.abs(found[50:].astype(int) - codes[50:]).max() <= 1
    assert folded_in(known, vectors * 100, 10).max() <= 10

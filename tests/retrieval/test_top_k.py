from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.ragged import Ragged
from bertrec.retrieval.exact import top_k

NEVER = -np.inf


def test_best_unseen_items_come_first_and_padding_never() -> None:
    scores = np.array([[99, 1, 4, 3, 2], [99, 5, 5, 9, 5]], dtype=np.float32)
    items, best = top_k(scores, 2, seen=Ragged.from_rows([[2], [3, 0]]))
    assert items.tolist() == [[3, 4], [1, 2]]  # ties by lower inner id
    assert best.tolist() == [[3, 2], [5, 5]]
    assert items.dtype == np.int64
    assert best.dtype == np.float32


def test_scores_are_left_as_they_are() -> None:
    scores = np.ones((1, 4), dtype=np.float32)
    top_k(scores, 1, seen=Ragged.from_rows([[1]]))
    assert (scores == 1).all()


def test_fewer_items_than_k_are_padded_with_zero() -> None:
    items, best = top_k(np.array([[7.0, 1.0, NEVER, 2.0]]), 5, seen=Ragged.from_rows([[1]]))
    assert items.tolist() == [[3, 0, 0, 0, 0]]
    assert best.tolist() == [[2.0, NEVER, NEVER, NEVER, NEVER]]


def test_no_rows_give_no_rows() -> None:
    items, best = top_k(np.zeros((0, 5)), 3)
    assert items.shape == best.shape == (0, 3)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), rows=st.integers(1, 5), items=st.integers(1, 12), k=st.integers(1, 15))
def test_equals_sorting_each_row(data: st.DataObject, rows: int, items: int, k: int) -> None:
    value = st.one_of(st.integers(-2, 2), st.just(NEVER))
    scores = np.array(data.draw(st.lists(st.lists(value, min_size=items + 1, max_size=items + 1), min_size=rows, max_size=rows)))
    seen = data.draw(st.lists(st.lists(st.integers(0, items), max_size=items), min_size=rows, max_size=rows))
    found, best = top_k(scores, k, seen=Ragged.from_rows(seen))
    for row in range(rows):
        left = [i for i in range(1, items + 1) if i not in seen[row] and scores[row, i] != NEVER]
        expected = sorted(left, key=lambda i: (-scores[row, i], i))[:k]
        assert found[row].tolist() == expected + [0] * (k - len(expected))
        assert best[row, : len(expected)].tolist() == [scores[row, i] for i in expected]
        assert np.isneginf(best[row, len(expected) :]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_an_error(bad: float) -> None:
    with pytest.raises(DataError, match=r"NaN or \+inf"):
        top_k(np.array([[0.0, 1.0, bad]]), 1)


def test_what_stands_in_the_padding_column_does_not_matter() -> None:
    assert top_k(np.array([[np.nan, 1.0, 2.0]]), 1)[0].tolist() == [[2]]


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_k_must_be_a_whole_number_from_one(k: object) -> None:
    with pytest.raises(ConfigError, match="k must be a whole number of at least 1"):
        top_k(np.zeros((1, 3)), k)  # type: ignore[arg-type]


def test_seen_must_fit_the_scores() -> None:
    with pytest.raises(DataError, match="2 rows, scores for 1"):
        top_k(np.zeros((1, 3)), 1, seen=Ragged.from_rows([[1], [2]]))
    with pytest.raises(DataError, match="inner ids from 0 to 2"):
        top_k(np.zeros((1, 3)), 1, seen=Ragged.from_rows([[3]]))
    with pytest.raises(DataError, match="shape"):
        top_k(np.zeros(3), 1)

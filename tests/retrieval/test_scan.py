"""Exact search: equal to sorting every pair's own score, in float32 and through bfloat16, whatever the blocks and groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.products import pair_scores
from bertrec.core.ragged import Ragged
from bertrec.retrieval import scan
from bertrec.retrieval.scan import search_vectors


def by_sorting(queries, vectors, k, alive, banned):
    rows, columns = np.divmod(np.arange(len(queries) * len(vectors)), len(vectors))
    scores = pair_scores(queries, vectors, rows, columns).reshape(len(queries), -1)
    positions, best = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, np.float32)
    for row in range(len(queries)):
        left = [i for i in range(len(vectors)) if alive[i] and i not in banned[row]]
        order = sorted(left, key=lambda i: (-scores[row, i], i))[:k]
        positions[row, : len(order)], best[row, : len(order)] = order, scores[row, order]
    return positions, best


@st.composite
def searches(draw):
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count, items, dim = draw(st.integers(1, 9)), draw(st.integers(1, 90)), draw(st.integers(1, 8))
    if draw(st.booleans()):  # many ties, zeros among them
        queries, vectors = (generator.integers(-1, 2, (n, dim)).astype(np.float32) for n in (count, items))
    else:
        queries = generator.standard_normal((count, dim)).astype(np.float32)
        vectors = generator.standard_normal((items, dim)).astype(np.float32)[generator.integers(0, items, items)]
        vectors += np.float32(draw(st.sampled_from([-1, 0, 2])))
    banned = Ragged.from_rows([generator.permutation(items)[: generator.integers(0, items + 1)] for _ in range(count)])
    return queries, vectors, draw(st.integers(1, 12)), generator.random(items) < draw(st.sampled_from([0.5, 1.0])), banned


@given(searches(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_equals_sorting_all_scores(case, half):
    queries, vectors, k, alive, banned = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_half_is_fast", lambda: half)
        patch.setattr(scan, "_WORTH_HALF", 2)
        patch.setattr(scan, "_FEWEST_QUERIES", 3)
        patch.setattr(scan, "_SCORES_AT_ONCE", 1)
        norm = float(np.linalg.norm(vectors, axis=1).max())
        positions, scores = search_vectors(queries, vectors, k, alive=alive, banned=banned, largest_norm=norm)
    wanted, values = by_sorting(queries, vectors, k, alive, banned)
    assert positions.tolist() == wanted.tolist()
    assert scores.tolist() == values.tolist()


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_bfloat16_finds_what_float32_finds(monkeypatch, shift):
    """Vectors that all point the same way or the other are the hard case: scores lie close together, or are all negative."""
    generator = np.random.default_rng(3)
    queries = generator.standard_normal((200, 32)).astype(np.float32) + np.float32(abs(shift))
    vectors = generator.standard_normal((3000, 32)).astype(np.float32) + np.float32(shift)
    norm = float(np.linalg.norm(vectors, axis=1).max())
    nothing = Ragged.from_rows([[]] * 200)
    found, products, real = [], [], torch.mm

    def counted(*args, out):
        products.append(out.dtype)
        return real(*args, out=out)

    monkeypatch.setattr(torch, "mm", counted)
    for half in (True, False):
        monkeypatch.setattr(scan, "_half_is_fast", lambda half=half: half)
        found.append(search_vectors(queries, vectors, 10, alive=np.ones(3000, bool), banned=nothing, largest_norm=norm))
    assert torch.bfloat16 in products
    assert found[0][0].tolist() == found[1][0].tolist()
    assert found[0][1].tolist() == found[1][1].tolist()


def test_lengths_beyond_what_bfloat16_can_multiply_are_searched_in_float32(monkeypatch):
    monkeypatch.setattr(scan, "_half_is_fast", lambda: True)
    monkeypatch.setattr(scan, "_WORTH_HALF", 1)
    vectors = np.array([[1e-18], [3e-18], [2e-18]], np.float32)
    found = search_vectors(
        np.ones((1, 1), np.float32), vectors, 2, alive=np.ones(3, bool), banned=Ragged.from_rows([[]]), largest_norm=3e-18
    )
    assert found[0].tolist() == [[1, 2]]


def test_no_queries_and_no_vectors_give_nothing():
    one, none = np.ones((1, 2), np.float32), np.ones((0, 2), np.float32)
    found = search_vectors(one, none, 2, alive=np.ones(0, bool), banned=Ragged.from_rows([[]]), largest_norm=0)
    assert found[0].tolist() == [[-1, -1]]
    assert search_vectors(none, one, 2, alive=np.ones(1, bool), banned=Ragged.from_rows([]), largest_norm=1)[1].shape == (0, 2)

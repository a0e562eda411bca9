"""The three losses of rankers beside their formulas, pair by pair."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertrec.rankers.losses import rank_loss

PLACES = st.tuples(st.floats(-6, 6), st.sampled_from([-1, 0, 1]))
LISTS = st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(PLACES, min_size=width, max_size=width), min_size=1, max_size=4))


def by_hand(rows: list[list[tuple[float, int]]], kind: str) -> float:
    terms = []
    for row in rows:
        clicks, others = [s for s, label in row if label == 1], [s for s, label in row if label == 0]
        if kind == "pointwise":
            terms += [log(1 + exp(-s)) for s in clicks] + [log(1 + exp(s)) for s in others]
        elif kind == "pairwise":
            terms += [log(1 + exp(low - high)) for high in clicks for low in others]
        else:
            terms += [log(sum(exp(s) for s in clicks + others)) - high for high in clicks]
    return sum(terms) / max(len(terms), 1)


@pytest.mark.parametrize("kind", ["pairwise", "listwise"])
@given(rows=LISTS)
def test_lists_are_compared_as_the_formula_says(rows: list[list[tuple[float, int]]], kind: str) -> None:
    scores = torch.tensor([[score for score, _ in row] for row in rows], dtype=torch.float64)
    labels = torch.tensor([[label for _, label in row] for row in rows])
    assert float(rank_loss(scores, labels, kind)) == pytest.approx(by_hand(rows, kind), abs=1e-9)


@given(rows=LISTS.filter(lambda rows: any(label >= 0 for row in rows for _, label in row)))
def test_pairs_are_judged_one_by_one(rows: list[list[tuple[float, int]]]) -> None:
    scores = torch.tensor([[score for score, _ in row] for row in rows], dtype=torch.float64)
    labels = torch.tensor([[label for _, label in row] for row in rows])
    assert float(rank_loss(scores, labels, "pointwise")) == pytest.approx(by_hand(rows, "pointwise"), rel=1e-5)


@pytest.mark.parametrize("kind", ["pairwise", "listwise"])
def test_a_batch_without_a_click_has_a_gradient_of_zero(kind: str) -> None:
    scores = torch.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
    rank_loss(scores * 2, torch.tensor([[0, 0], [0, -1]]), kind).backward()
    assert scores.grad.tolist() == [[0, 0], [0, 0]]

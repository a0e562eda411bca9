"""The contrastive loss against the formula, written once more in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bertrec.heads.losses import symmetric_info_nce


def by_formula(left, right, masked, temperature):
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (left, right)]
    total = 0.0
    for direction, (anchors, others) in enumerate((unit, unit[::-1])):
        for row in range(len(anchors)):
            terms = [
                math.exp(anchors[row] @ others[column] / temperature)
                for column in range(len(others))
                if column == row or not masked[direction, row, column]
            ]
            total -= math.log(math.exp(anchors[row] @ others[row] / temperature) / sum(terms))
    return total / (2 * len(left))


@pytest.mark.parametrize("temperature", [0.05, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_it_is_the_formula(temperature, share):
    rng = np.random.default_rng(0)
    left, right, masked = rng.normal(size=(6, 5)), rng.normal(size=(6, 5)), rng.random((2, 6, 6)) < share
    loss = symmetric_info_nce(torch.tensor(left), torch.tensor(right), masked=torch.tensor(masked), temperature=temperature)
    assert loss.item() == pytest.approx(by_formula(left, right, masked, temperature), rel=1e-9)


def test_two_pairs_by_hand():
    # Cosines 1 on the diagonal and 0 beside it: each of the four terms is log(1 + exp(-1 / 0.5)).
    loss = symmetric_info_nce(torch.eye(2), 3 * torch.eye(2), temperature=0.5)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-2)), rel=1e-6)


def test_a_masked_negative_has_no_gradient_and_a_lone_pair_no_loss():
    left, right = torch.eye(3)[:2].requires_grad_(), torch.eye(3)[1:].clone().requires_grad_()
    loss = symmetric_info_nce(left, right, masked=torch.ones(2, 2, 2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert not left.grad.any()
    assert not right.grad.any()


def test_half_precision_is_computed_in_single():
    rng = np.random.default_rng(1)
    left, right = (torch.tensor(rng.normal(size=(4, 8)), dtype=torch.bfloat16) for _ in range(2))
    assert symmetric_info_nce(left, right).item() == pytest.approx(symmetric_info_nce(left.float(), right.float()).item(), rel=1e-6)

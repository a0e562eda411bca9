"""Each loss beside its formula written out in loops."""

from __future__ import annotations

import math

import pytest
import torch

from bertrec.heads import losses
from bertrec.heads.similarity import scaled


def test_in_batch_softmax_equals_the_sum_over_slots() -> None:
    """Users [1, 2, 3] and [4, 3, 5]: six slots; the user's own items but the target, and the target's other slots, are masked."""
    generator = torch.Generator().manual_seed(2)
    table = torch.randn(6, 3, generator=generator)
    user = torch.randn(4, 3, generator=generator)
    sequences, slots_in_order = [[1, 2, 3], [4, 3, 5]], [1, 2, 3, 4, 3, 5]
    share = torch.tensor([1.0, 0.1, 0.2, 0.3, 0.25, 0.15])
    wanted, owner = [2, 3, 3, 5], [0, 0, 1, 1]
    expected = 0.0
    for position, target in enumerate(wanted):
        own = set(sequences[owner[position]]) - {target}
        terms = [
            float(user[position] @ table[item]) - math.log(share[item]) for item in slots_in_order if item not in own and item != target
        ]
        right = float(user[position] @ table[target]) - math.log(share[target])
        expected -= right - math.log(math.exp(right) + sum(math.exp(term) for term in terms))
    own_mask = torch.zeros(2, 6, dtype=torch.bool)
    for row, sequence in enumerate(sequences):
        own_mask[row, [0, *sequence]] = True
    loss = losses.in_batch_softmax(
        user,
        table,
        torch.tensor(wanted),
        log_q=share.log(),
        slots=torch.tensor([1.0, 1, 1, 2, 1, 1]),
        owner=torch.tensor(owner),
        own=own_mask,
    )
    assert float(loss) == pytest.approx(expected / 4, rel=1e-5)


def test_a_masked_candidate_adds_exactly_nothing() -> None:
    """The published code set such logits to 0 before the exponential, so that each counted 1."""
    user, items = torch.zeros(1, 2), torch.zeros(3, 2)
    own = torch.tensor([[True, False, True]])
    loss = losses.in_batch_softmax(
        user, items, torch.tensor([1]), log_q=torch.zeros(3), slots=torch.ones(3), owner=torch.tensor([0]), own=own
    )
    assert float(loss) == 0.0


def test_sampled_softmax_by_hand() -> None:
    user, positive = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    negative = torch.tensor([[1.0, 1.0], [2.0, 5.0], [0.5, 0.0]])
    loss = losses.sampled_softmax(
        user,
        positive,
        negative,
        target_ids=torch.tensor([9]),
        negative_ids=torch.tensor([3, 9, 4]),
        log_q_positive=torch.tensor([math.log(0.5)]),
        log_q_negative=torch.tensor([math.log(0.2), math.log(0.5), math.log(0.1)]),
    )
    right, wrong = 2 - math.log(0.5), [1 - math.log(0.2), 0.5 - math.log(0.1)]
    assert float(loss) == pytest.approx(-(right - math.log(math.exp(right) + sum(map(math.exp, wrong)))), rel=1e-6)


def test_gbce_without_calibration_is_binary_cross_entropy() -> None:
    right, wrong = torch.tensor([0.3, -1.0]), torch.tensor([[0.1, 2.0], [-0.5, 0.0]])
    probability = torch.sigmoid(right), torch.sigmoid(wrong)
    expected = -(probability[0].log() + (1 - probability[1]).log().sum(1)).mean()
    torch.testing.assert_close(losses.gbce(right, wrong, n_items=11, calibration=0.0), expected)


def test_gbce_fully_calibrated_scales_the_positive_by_the_sampling_rate() -> None:
    right, wrong = torch.tensor([0.3]), torch.tensor([[-math.inf, -math.inf]])
    expected = -(2 / 10) * torch.sigmoid(right).log().mean()
    torch.testing.assert_close(losses.gbce(right, wrong, n_items=11, calibration=1.0), expected)


def test_bpr_ignores_negatives_that_must_not_count() -> None:
    right, wrong = torch.tensor([1.0, 2.0]), torch.tensor([[0.0, -math.inf], [1.5, 1.0]])
    expected = -torch.log(torch.sigmoid(torch.tensor([1.0, 0.5, 1.0]))).mean()
    torch.testing.assert_close(losses.bpr(right, wrong), expected)


def test_scaled_cosine_and_dot() -> None:
    vectors = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(scaled(vectors, "cosine", 0.5), torch.tensor([[1.2, 1.6]]))
    assert scaled(vectors, "dot", 0.5) is vectors

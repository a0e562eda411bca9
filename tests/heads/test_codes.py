"""Vectors of codes, their mean, and a permutation that is hard forward and soft backward."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from bertrec.heads.codes import CodeTable, CodeTower, semi_synthetic
from bertrec.heads.config import ItemConfig
from bertrec.heads.permutation import SlotPermutation, best_assignment, sinkhorn


def test_an_item_is_the_sum_of_the_vectors_of_its_codes_over_the_root_of_their_number() -> None:
    table = CodeTable(2, 3, 2)
    with torch.no_grad():
        table.embeddings.copy_(torch.tensor([[1.0, 0], [2, 0], [3, 0], [0, 10], [0, 20], [0, 30]]))
    vectors = table(torch.tensor([[0, 0], [2, 1], [1, 2]], dtype=torch.uint8))
    torch.testing.assert_close(vectors, torch.tensor([[1.0, 10], [3, 20], [2, 30]]) / 2**0.5)


def tower(**item: object) -> CodeTower:
    """Three items: two codes of text, one of behaviour; the third item is new."""
    made = CodeTower(ItemConfig(width=1, **item), n_items=3, text=(2, 2), behaviour=(1, 2))
    assert made.text is not None
    assert made.behaviour is not None
    with torch.no_grad():
        made.text.embeddings.copy_(torch.tensor([[3.0], [6], [30], [60]]))
        made.behaviour.embeddings.copy_(torch.tensor([[900.0], [300], [600]]))
        made.behaviour_codes.copy_(torch.tensor([[0], [1], [2], [0]]))
    return made


TEXTS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])


def test_all_slots_of_text_and_behaviour_count_alike() -> None:
    vectors = tower().eval()(TEXTS, None)
    torch.testing.assert_close(vectors[1:, 0], torch.tensor([3 + 60 + 300.0, 6 + 30 + 600, 6 + 60 + 900]) / 3**0.5)
    torch.testing.assert_close(tower().eval()(TEXTS[[3, 1]], torch.tensor([3, 1])), vectors[[3, 1]])


def test_in_training_some_items_are_as_if_nothing_were_known_of_their_behaviour() -> None:
    torch.manual_seed(0)
    made = CodeTower(ItemConfig(width=1, id_dropout=0.5), n_items=999, text=(1, 2), behaviour=(1, 2))
    made.behaviour_codes[:] = 1
    assert made.text is not None
    assert made.behaviour is not None
    with torch.no_grad():
        made.text.embeddings[:] = 0
        made.behaviour.embeddings.copy_(torch.tensor([[1.0], [2], [3]]) * 2**0.5)
    values = made(torch.zeros(1000, 1, dtype=torch.long), None)[:, 0]
    assert set(values.round(decimals=4).tolist()) == {1.0, 2.0}
    assert 0.4 < float((values < 1.5).float().mean()) < 0.6
    assert set(made.eval()(torch.zeros(1000, 1, dtype=torch.long), None)[:, 0].round(decimals=4).tolist()) == {2.0}


def test_vectors_begin_as_near_one_another_as_the_points_of_their_codes() -> None:
    torch.manual_seed(0)
    points = torch.randn(8, 16, 4)
    table = CodeTable(8, 16, 512)
    table.restart(points)
    codes = torch.randint(16, (50, 8))
    whole = (points - points.mean(dim=1, keepdim=True))[torch.arange(8), codes].flatten(1)
    wanted, found = (torch.corrcoef(one)[np.triu_indices(50, 1)] for one in (whole, table(codes).detach()))
    assert float(torch.corrcoef(torch.stack([wanted, found]))[0, 1]) > 0.9
    assert float(table(codes).detach().std()) == pytest.approx(0.02, rel=0.2)


def test_made_up_items_keep_a_part_of_their_codes() -> None:
    torch.manual_seed(0)
    codes = torch.full((400, 8), 200, dtype=torch.uint8)
    made = semi_synthetic(codes, 256, 0.75)
    assert made.dtype == codes.dtype
    assert float((made == 200).float().mean()) == pytest.approx(0.25 + 0.75 / 256, abs=0.03)
    assert torch.equal(semi_synthetic(codes, 256, 0.0), codes)


def test_sinkhorn_gives_rows_and_columns_that_sum_to_one() -> None:
    torch.manual_seed(0)
    matrices = sinkhorn(torch.randn(3, 7, 7) * 2, rounds=200)
    assert (matrices > 0).all()
    for dim in (-1, -2):
        torch.testing.assert_close(matrices.sum(dim), torch.ones(3, 7), atol=1e-4, rtol=0)


def test_the_assignment_is_the_best_of_all_permutations() -> None:
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 5, 5)))
    for one, found in zip(weights, best_assignment(weights), strict=True):
        sums = {order: float(one[range(5), order].sum()) for order in itertools.permutations(range(5))}
        assert tuple(found.tolist()) == max(sums, key=lambda order: sums[order])


def test_the_forward_pass_is_a_permutation_also_where_rows_want_the_same() -> None:
    permutation = SlotPermutation(2, 3)
    with torch.no_grad():
        permutation.logits.copy_(torch.tensor([[9.0, 0, 0], [8, 1, 0], [7, 0, 2]]))  # the best of each row is column 0
    vectors = torch.arange(12.0).view(2, 3, 2)
    for module in (permutation.train(), permutation.eval()):
        given = module(vectors)
        assert [sorted(slot[:, 0].round().tolist()) for slot in given] == [[0, 2, 4], [6, 8, 10]]
    slots = torch.arange(2)[:, None]
    torch.testing.assert_close(permutation.eval()(vectors), vectors[slots, permutation.order()])


def test_the_gradient_arrives_at_the_logits_and_brings_the_right_order() -> None:
    torch.manual_seed(0)
    permutation, vectors = SlotPermutation(2, 4), torch.randn(2, 4, 8)
    right = torch.stack([torch.randperm(4) for _ in range(2)])
    wanted = vectors[torch.arange(2)[:, None], right]

    def loss() -> Tensor:
        return (permutation(vectors) - wanted).pow(2).sum()

    loss().backward()
    assert permutation.logits.grad is not None
    assert float(permutation.logits.grad.abs().max()) > 1e-3
    optimizer = torch.optim.Adam(permutation.parameters(), lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert torch.equal(permutation.order(), right)


def test_a_kept_permutation_serves_what_the_learned_one_did() -> None:
    torch.manual_seed(0)
    table, codes = CodeTable(3, 5, 4), torch.randint(5, (20, 3))
    table.start_permutation()
    assert table.permutation is not None
    with torch.no_grad():
        table.permutation.logits.normal_()
    before = table.eval()(codes)
    table.keep_permutation()
    assert table.permutation is None
    torch.testing.assert_close(table(codes), before)

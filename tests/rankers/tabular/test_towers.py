"""The formulas of DIN, DCN and CTRL beside loops over single numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from bertrec.rankers.tabular.config import CTRLConfig, DCNConfig, DINConfig
from bertrec.rankers.tabular.ctrl import Alignment
from bertrec.rankers.tabular.towers import ActivationUnit, CrossLayer, DCNTower, DINTower, make_tower


@pytest.fixture
def parts():
    """History ``[2, 3, 4]`` with a mask, candidates ``[2, 2, 4]`` and side features ``[2, 2, 5]``."""
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    return torch.randn(2, 3, 4), mask, torch.randn(2, 2, 4), torch.randn(2, 2, 5)


def test_din_weighs_by_an_mlp_of_both_their_difference_and_product(parts):
    history, _, candidates, _ = parts
    unit = ActivationUnit(4, (6, 3))
    found = unit(history, candidates)
    assert found.shape == (2, 2, 3)
    for row in range(2):
        for place in range(2):
            for past in range(3):
                q, k = candidates[row, place], history[row, past]
                expected = unit.rest(unit.first(torch.cat([q, k, q - k, q * k])[None]))
                assert found[row, place, past].item() == pytest.approx(expected.item(), abs=1e-5)


def test_dins_interest_is_a_sum_that_no_softmax_normalises_and_padding_does_not_move(parts):
    history, mask, candidates, side = parts
    tower = DINTower(4, 5, DINConfig(attention_hidden=(6,), hidden=(7,))).eval()
    found = tower(history, mask, candidates, side)
    weights = tower.attention(history, candidates)
    for place in range(2):
        interest = sum(weights[0, place, past] * history[0, past] for past in range(2))
        alone = tower.deep(torch.cat([side[0, place], candidates[0, place], interest]))
        assert torch.allclose(found[0, place], alone, atol=1e-6)
        nothing = tower.deep(torch.cat([side[1, place], candidates[1, place], torch.zeros(4)]))
        assert torch.allclose(found[1, place], nothing, atol=1e-6)
    twice = tower(history[:1, [0, 1, 0, 1]], torch.ones(1, 4, dtype=torch.bool), candidates[:1], side[:1])
    double = tower.deep(torch.cat([side[0, 0], candidates[0, 0], 2 * (weights[0, 0, :2, None] * history[0, :2]).sum(dim=0)]))
    assert torch.allclose(twice[0, 0], double, atol=1e-5)  # with a softmax it would be as before


def test_a_cross_layer_multiplies_each_number_with_all_others():
    torch.manual_seed(0)
    layer, start, now = CrossLayer(3), torch.randn(3), torch.randn(3)
    weight, bias = layer.linear.weight, layer.linear.bias
    for place in range(3):
        crossed = sum(weight[place, other].item() * now[other].item() for other in range(3)) + bias[place].item()
        expected = start[place].item() * crossed + now[place].item()
        assert layer(start, now)[place].item() == pytest.approx(expected, abs=1e-6)


def test_dcn_crosses_its_input_again_and_again_beside_an_mlp(parts):
    history, mask, candidates, side = parts
    tower = DCNTower(4, 5, DCNConfig(cross_layers=2, hidden=(7,))).eval()
    found = tower(history, mask, candidates, side)
    assert (found.shape, tower.dim) == ((2, 2, 20), 20)
    start = torch.cat([side[0, 1], candidates[0, 1], history[0, :2].mean(dim=0)])
    first = start * tower.cross[0].linear(start) + start
    second = start * tower.cross[1].linear(first) + first
    assert torch.allclose(found[0, 1], torch.cat([second, tower.deep(start)]), atol=1e-5)
    empty = torch.cat([side[1, 0], candidates[1, 0], torch.zeros(4)])
    assert torch.allclose(found[1, 0, 13:], tower.deep(empty), atol=1e-6)


def test_ctrl_takes_the_tower_that_its_settings_name():
    kinds = [type(make_tower(4, 5, config)) for config in (DINConfig(), DCNConfig(), CTRLConfig(), CTRLConfig(tower="dcn"))]
    assert kinds == [DINTower, DCNTower, DINTower, DCNTower]


class Given(torch.nn.Module):
    """Stands for a network: the vectors of pairs are given."""

    def __init__(self, vectors):
        super().__init__()
        self.vectors, self.tower = vectors, torch.nn.Identity()
        self.tower.dim = vectors.shape[-1]

    def pair_vectors(self, **batch):
        return self.vectors


def info_nce(left, right, temperature, counted):
    """Return the mean over rows of -log of the share of the own pair among those that count."""
    total = 0.0
    for row in range(len(left)):
        terms = {other: math.exp(float(left[row] @ right[other]) / temperature) for other in range(len(right)) if counted[row][other]}
        total -= math.log(terms[row] / sum(terms.values()))
    return total / len(left)


@torch.no_grad()
def test_the_alignment_is_info_nce_both_ways_over_all_pairs_and_texts_that_are_the_same_do_not_count():
    torch.manual_seed(0)
    texts = torch.cat([torch.zeros(1, 4), normalize(torch.randn(3, 4), dim=1)])
    histories, candidates = torch.tensor([[1, 2], [2, 0], [0, 0]]), torch.tensor([[3, 1], [2, 2], [1, 0]])
    module = Alignment(Given(torch.randn(3, 2, 6)), texts, CTRLConfig(align_width=5, temperature=0.3), whole=False)
    loss = module(labels=torch.tensor([[0, 1], [1, 0], [0, -1]]), pairs=None, histories=histories, candidates=candidates)["loss"]
    pairs = [(row, place) for row in range(3) for place in range(2) if candidates[row, place]]
    words, towers = [], []
    for row, place in pairs:
        read = [texts[item] for item in histories[row].tolist() if item]
        mean = sum(read) / len(read) if read else torch.zeros(4)
        words.append(normalize(module.of_text(torch.cat([mean, texts[candidates[row, place]]])), dim=0))
        towers.append(normalize(module.of_tower(module.network.vectors[row, place]), dim=0))
    counted = np.ones((5, 5), bool)
    counted[2, 3] = counted[3, 2] = False  # the second user is shown item 2 twice
    expected = (info_nce(towers, words, 0.3, counted) + info_nce(words, towers, 0.3, counted.T)) / 2
    assert loss.item() == pytest.approx(expected, abs=1e-5)

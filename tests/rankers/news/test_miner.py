"""Several interests: poly attention, its bias, how products are joined, and the penalty, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_impressions import KINDS, SAID, WORDS, catalog, impressions, same_kind
from tiny_encoders import tiny_bert
from torch.nn.functional import cosine_similarity, gelu, normalize

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data import IdMap, ItemCatalog
from bertrec.rankers import MINER, RANKERS, check_ranker
from bertrec.rankers.news.miner import PolyTower
from bertrec.rankers.news.towers import Past, Shown


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), SAID)


def miner(bert, **settings):
    train = {"train.epochs": 10, "train.batch_size": 16, "train.learning_rate": 3e-2, "dropout": 0.0, "negatives": 2, "interests": 4}
    return MINER.configured(settings={"encoder.name": bert, "encoder.max_length": 8, **train, **settings})


def made(together="weighted", disagreement=0.5):
    torch.manual_seed(0)
    tower = PolyTower(4, 3, 5, together, disagreement)
    with torch.no_grad():
        for weight in (tower.project.weight, tower.aware, tower.empty, *([tower.weigh.weight] if tower.weigh else [])):
            weight.normal_()
    return tower


@pytest.mark.parametrize("together", ["max", "mean", "weighted"])
@pytest.mark.parametrize("biased", [True, False])
def test_the_formulas_by_hand(together, biased):
    tower, items, shown = made(together), torch.randn(1, 3, 4), torch.randn(2, 4)
    topics, about = normalize(torch.randn(1, 3, 4), dim=-1), normalize(torch.randn(2, 4), dim=-1)
    past = Past(items, torch.tensor([[True, True, False]]), topics=topics if biased else None)
    found = tower.match(tower(past), past, torch.tensor([0, 0]), Shown(shown, about if biased else None))
    for place in range(2):
        like = tower.aware * cosine_similarity(topics[0, :2], about[place], dim=1) if biased else 0
        logits = [torch.stack([code @ torch.tanh(tower.project.weight @ item) for item in items[0, :2]]) for code in tower.codes]
        interests = torch.stack([((own + like).softmax(dim=0)[:, None] * items[0, :2]).sum(dim=0) for own in logits])
        products = interests @ shown[place]
        weights = (gelu(interests @ tower.weigh.weight.T) @ shown[place]).softmax(dim=0) if together == "weighted" else None
        expected = {"max": products.max(), "mean": products.mean(), "weighted": None if weights is None else weights @ products}
        assert found[place].item() == pytest.approx(expected[together].item(), abs=1e-5)


def test_the_penalty_is_the_mean_cosine_of_users_with_a_history():
    tower, items = made(), torch.randn(3, 2, 4)
    past = Past(items, torch.tensor([[True, True], [True, False], [False, False]]))
    logits = tower(past)
    vectors = tower.interests(logits, past.items, past.mask)
    assert torch.equal(vectors[2], tower.empty.expand(3, 4))
    cosines = [
        cosine_similarity(vectors[user, one], vectors[user, other], dim=0) for user in (0, 1) for one in range(3) for other in range(3)
    ]
    assert tower.penalty(logits, past).item() == pytest.approx(0.5 * torch.stack(cosines).mean().item(), abs=1e-6)


@pytest.mark.parametrize("together", ["max", "mean", "weighted"])
def test_untrained_every_interest_is_the_mean_of_the_history(together, bert):
    settings = {"together": together, "train.learning_rate": 1e-12, "train.epochs": 1}
    model = miner(bert, **settings).fit(same_kind(catalog(category=KINDS), 8), progress=False)
    vectors = model.trained.table().items
    found = model.score(Ragged.from_rows([[1, 7], []]), Ragged.from_rows([[3], [3]]))
    assert found == pytest.approx([float(vectors[[1, 7]].mean(dim=0) @ vectors[3]), 0.0], abs=1e-5)


def told_by_kind(count, seed=0):
    """Return users who met one word as sport and another as food, and click one of these; every word is there as both kinds."""
    draw = np.random.default_rng(seed)
    items = ItemCatalog(IdMap([f"n{k}" for k in range(8)]), {"title": [*WORDS[:4]] * 2, "category": ["sport"] * 4 + ["food"] * 4})
    rows = []
    for _ in range(count):
        one, other = draw.permutation(4)[:2] + 1
        rows.append(([one, other + 4], [one + 4, *([one] if draw.random() < 0.5 else [other + 4]), other], 1))
    return impressions(items, rows, [f"u{k}" for k in range(count)])


def test_the_bias_learns_what_only_the_category_tells(bert):
    fresh = told_by_kind(60, seed=1)
    aware = miner(bert, **{"train.epochs": 25}).fit(told_by_kind(120), progress=False)
    assert aware.trained.users.aware.item() > 0
    assert aware.figures(fresh)["AUC"] > 0.95
    blind = miner(bert, label_field="").fit(told_by_kind(120), progress=False)
    assert blind.trained.table().topics is None
    assert blind.figures(fresh)["AUC"] < 0.7


def test_the_penalty_moves_the_interests_apart(bert):
    alike = {}
    for weight in (0.0, 5.0):
        own = miner(bert, disagreement=weight).fit(told_by_kind(60), progress=False)
        tower, items = own.trained.users, own.trained.table().items[None, 1:]
        mask = torch.ones(1, 8, dtype=torch.bool)
        vectors = normalize(tower.interests(tower(Past(items, mask)), items, mask)[0], dim=-1)
        alike[weight] = (vectors @ vectors.T).mean().item()
    assert alike[5.0] < alike[0.0] - 0.01


@pytest.mark.parametrize("fields", [{}, {"category": ["", *KINDS[1:]]}])
def test_it_keeps_the_contract(bert, fields):
    train = {"train.epochs": 1, "train.batch_size": 4, "encoder.name": bert, "encoder.max_length": 8, "interests": 2}
    check_ranker(lambda: RANKERS.find("miner").configured(settings=train), same_kind(catalog(**fields), 6))


def test_a_field_that_is_not_there_is_said(bert):
    with pytest.raises(DataError, match="label_field names 'kind', and the items have title"):
        miner(bert, label_field="kind").fit(same_kind(catalog(), 4), progress=False)

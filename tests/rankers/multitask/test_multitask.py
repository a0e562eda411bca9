"""A chain whose probabilities are known, and the parts of the network by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_impressions import SAID, WORDS, catalog
from tiny_encoders import tiny_bert
from torch.nn.functional import binary_cross_entropy

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.ragged import Ragged
from bertrec.data import Dataset, IdMap, Impressions, Interactions
from bertrec.data.ratings import impressions_from_ratings
from bertrec.evaluation.labels import auc
from bertrec.rankers import RANKERS, Known, MultiTask, check_ranker
from bertrec.rankers.multitask.config import MultiTaskConfig
from bertrec.rankers.multitask.network import ChainTower, MixtureOfExperts, chain_loss, log_chain, pair_features, step_shares
from bertrec.rankers.multitask.ranker import _chain_of
from bertrec.rankers.news.towers import Past, Shown
from bertrec.rankers.runs import RankerPlan, _material

CLICK = np.array([[0.8, 0.2] * 4, [0.1, 0.6] * 4])  # of a history of item 1 or 2, for items 1 to 8
CART, PURCHASE = np.array([0.9, 0.3] * 4), np.array([0.2] * 4 + [0.8] * 4)  # after the step before, of items 1 to 8
KNOWN = np.stack([CLICK, CLICK * CART, CLICK * CART * PURCHASE], axis=2)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), SAID)


def multitask(bert, **settings):
    train = {"train.epochs": 20, "train.batch_size": 32, "train.learning_rate": 3e-3, "dropout": 0.0, "hidden": 16}
    return MultiTask.configured(settings={"encoder.name": bert, "encoder.max_length": 8, **train, **settings})


def planted(count, seed=0):
    """Return users with one item in their history, who were shown all eight, with how far they went."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(2, size=count)
    steps = np.stack([CLICK[kinds], np.tile(CART, (count, 1)), np.tile(PURCHASE, (count, 1))], axis=2)
    levels = (draw.random(steps.shape) < steps).cumprod(axis=2).sum(axis=2).astype(np.int8).ravel()
    names = [str(k) for k in range(count)]
    shown = Ragged.from_rows([range(1, 9)] * count)
    return Impressions(catalog(), names, names, Ragged.from_rows(kinds[:, None] + 1), shown, (levels > 0).astype(np.int8), levels=levels)


@pytest.fixture(scope="module")
def fitted(bert):
    train = {"train.batch_size": 128, "train.learning_rate": 2e-2, "train.schedule": "cosine"}
    return multitask(bert, **train).fit(planted(1600), progress=False)


def test_the_probabilities_of_the_chain_are_recovered(fitted):
    found = fitted.score_tasks(Ragged.from_rows([[1], [2]]), Ragged.from_rows([range(1, 9)] * 2)).reshape(2, 8, 3)
    assert np.abs(found - KNOWN).max() < 0.1
    assert np.abs(found - KNOWN).mean() < 0.03
    assert (np.diff(found, axis=2) <= 0).all()
    np.testing.assert_array_equal(fitted.score(Ragged.from_rows([[2]]), Ragged.from_rows([range(1, 9)])), found[1, :, 2])


def test_figures_are_those_of_each_task(fitted):
    shown = planted(300, seed=1)
    found = fitted.figures(shown)
    known = KNOWN[shown.histories.values - 1].reshape(-1, 3)
    for place, task in enumerate(("click", "cart", "purchase")):
        taken = (shown.levels > place).astype(float)
        loss = binary_cross_entropy(torch.from_numpy(known[:, place]), torch.from_numpy(taken)).item()
        assert found[f"logloss {task}"] == pytest.approx(loss, abs=0.03)
        assert found[f"AUC {task}"] > 0.7
    assert (found["AUC"], found["logloss"]) == (found["AUC purchase"], found["logloss purchase"])
    without = replace(shown, levels=np.minimum(shown.levels, 1))
    assert "AUC purchase" not in fitted.figures(without)
    assert fitted.figures(without)["AUC"] == fitted.figures(without)["AUC click"]
    with pytest.raises(DataError, match="needs both labels"):
        fitted.figures(replace(shown, labels=np.zeros_like(shown.labels), levels=np.zeros_like(shown.levels)))


def test_experts_gates_and_heads_by_hand():
    torch.manual_seed(0)
    tower = ChainTower(3, 2, experts=4, hidden=5, dropout=0.0)
    with torch.no_grad():
        for weight in (tower.heads, tower.mixture.gate.weight, tower.mixture.gate.bias, tower.bias):
            weight.normal_()
    u, v = torch.nn.functional.normalize(torch.randn(2, 2, 3), dim=-1)
    past = Past(u[:, None], torch.ones(2, 1, dtype=torch.bool))
    found = tower.match(tower(past), past, torch.tensor([1, 0]), Shown(v))
    a, b = u[1] * 3**0.5, v[0] * 3**0.5
    features = torch.cat([a, b, (a - b).abs(), a * b])
    layer, gate = tower.mixture.layer, tower.mixture.gate
    for task in range(2):
        weights = (gate.weight[4 * task : 4 * task + 4] @ features + gate.bias[4 * task : 4 * task + 4]).softmax(dim=0)
        experts = [torch.relu(layer.weight[5 * k : 5 * k + 5] @ features + layer.bias[5 * k : 5 * k + 5]) for k in range(4)]
        mixed = sum(weight * expert for weight, expert in zip(weights, experts, strict=True))
        expected = tower.heads[task] @ mixed + tower.similar[task] * (u[1] @ v[0]) + tower.bias[task]
        assert found[0, task].item() == pytest.approx(expected.item(), abs=1e-5)


def test_gates_of_a_task_sum_to_1():
    mixture = MixtureOfExperts(12, 4, 5, 3, 0.0)
    features = pair_features(torch.randn(7, 3), torch.randn(7, 3))
    assert torch.allclose(mixture.gates(features), torch.full((7, 3, 4), 0.25))
    torch.nn.init.normal_(mixture.gate.weight)
    assert torch.allclose(mixture.gates(features).sum(dim=-1), torch.ones(7, 3), atol=1e-6)
    assert mixture.gates(features).std() > 0.01


def test_the_loss_is_that_of_the_products():
    logits, levels = torch.randn(6, 3, dtype=torch.float64) * 3, torch.tensor([0, 1, 2, 3, 0, 3])
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    products = logits.sigmoid().cumprod(dim=1)
    assert torch.allclose(log_chain(logits).exp(), products)
    expected = sum(weight * binary_cross_entropy(products[:, t], (levels > t).double()) for t, weight in enumerate(weights))
    assert chain_loss(logits, levels, weights).item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_loss_of_certain_mistakes_and_its_gradient_are_finite():
    logits = torch.tensor([[80.0, 80.0], [-80.0, -80.0]], requires_grad=True)
    loss = chain_loss(logits, torch.tensor([0, 2]), torch.ones(2))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_untrained_the_cosine_joins_the_logit_of_the_first_share(bert):
    shown = planted(40)
    model = multitask(bert, **{"train.learning_rate": 1e-12, "train.epochs": 1}).fit(shown, progress=False)
    found = model.score_tasks(Ragged.from_rows([[3]]), Ragged.from_rows([range(1, 9)]))
    vectors = model.trained.table().items
    shares = step_shares(shown.levels, 3)
    click = 1 / (1 + np.exp(-(vectors[1:] @ vectors[3]).numpy() - np.log(shares[0] / (1 - shares[0]))))
    assert found == pytest.approx(np.outer(click, [1, shares[1], shares[1] * shares[2]]), abs=1e-5)
    assert step_shares(np.array([0, 0, 1, 2], np.int8), 3) == [3 / 6, 2 / 4, 1 / 3]


def test_a_task_without_a_positive_is_left_out_and_said(bert):
    short = planted(40)
    short = replace(short, levels=np.minimum(short.levels, 2))
    model = multitask(bert, tasks=["click", "cart", "purchase"], **{"train.epochs": 2}).fit(short, validation=short, progress=False)
    assert model.notes == ("task 'purchase' has no positive in training: it is not learned",)
    assert model.scored == "cart"
    assert np.isfinite(model.score_tasks(short.histories, short.candidates)).all()
    with pytest.raises(DataError, match="task 'purchase' has no positive"):
        multitask(bert, tasks=["click", "cart", "purchase"], task="purchase").fit(short, progress=False)
    nothing = replace(short, labels=np.zeros_like(short.labels), levels=np.zeros_like(short.levels))
    with pytest.raises(DataError, match="none of 320 candidates was clicked"):
        multitask(bert).fit(nothing, progress=False)


def test_steps_of_ratings_are_said_to_be_unread_where_the_chain_has_none(bert):
    short = {"train.epochs": 1}
    assert multitask(bert, **short).fit(planted(40), progress=False).notes == ()
    (note,) = multitask(bert, steps=[1, 2], **short).fit(planted(40), progress=False).notes
    assert note.startswith("steps are of a chain of ratings")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tasks": ["click", "cart"]}, "the chain has 3 steps and tasks names click, cart: name all 3, the first one first"),
        ({"tasks": ["click", "cart", "cart"]}, "tasks names a step twice"),
        ({"weights": [1, 1]}, "weights must be 3 numbers of 0 or more"),
        ({"weights": [0, 0, 0]}, "not all 0"),
        ({"task": "purchas"}, "did you mean 'purchase'"),
    ],
)
def test_settings_that_do_not_fit_the_chain_are_refused(bert, settings, said):
    with pytest.raises(ConfigError, match=said):
        multitask(bert, **settings).fit(planted(10), progress=False)


def test_any_task_can_be_the_score_and_weights_count(bert):
    shown = planted(200)
    model = multitask(bert, task="click", weights=[1, 0, 0], **{"train.epochs": 10}).fit(shown, progress=False)
    chances = model.score_tasks(shown.histories, shown.candidates)
    np.testing.assert_array_equal(model.score(shown.histories, shown.candidates), chances[:, 0])
    later = chances[:, 1] / chances[:, 0]
    assert later == pytest.approx(np.full(len(later), step_shares(shown.levels, 3)[1]), abs=1e-5)  # nothing taught it


def test_a_saved_one_gives_the_same(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "m")
    loaded, shown = MultiTask.from_pretrained(tmp_path / "m"), planted(5, seed=2)
    np.testing.assert_array_equal(
        loaded.score_tasks(shown.histories, shown.candidates), fitted.score_tasks(shown.histories, shown.candidates)
    )
    assert (loaded.tasks, loaded.scored) == (("click", "cart", "purchase"), "purchase")


def test_it_keeps_the_contract(bert):
    train = {"train.epochs": 1, "train.batch_size": 4, "encoder.name": bert, "encoder.max_length": 8, "hidden": 4}
    check_ranker(lambda: RANKERS.find("multitask").configured(settings=train), planted(6))


def test_ratings_that_are_known_make_the_chain(bert):
    items = catalog()
    ratings, times = np.array([5, 2, 4, 1, 5, 3], np.float32), np.arange(6.0)
    past = Interactions(items, IdMap(["a", "b"]), Ragged.from_rows([[1, 2, 3], [4, 5, 6]]), rating=ratings, timestamp=times)
    shown = Impressions(
        items, list("12"), ["a", "b"], Ragged.from_rows([[], [4]]), Ragged.from_rows([[1, 7], [8, 6]]),
        np.array([1, 0, 0, 1], np.int8), np.array([0.0, 5.0]),
    )  # fmt: skip
    model = multitask(bert, **{"train.epochs": 1}).fit(shown, known=Known(past=past), progress=False)
    assert model.tasks == ("watched", "rated", "liked")
    assert model.trained.users.bias.sigmoid().tolist() == pytest.approx(step_shares(np.array([3, 0, 0, 2]), 3), abs=0.01)
    alone = multitask(bert, **{"train.epochs": 1}).fit(shown, progress=False)
    assert alone.tasks == ("click",)
    events = replace(past, rating=None, label=np.array([3, 1, 1, 1, 1, 2], np.float32))
    steps = multitask(bert, **{"train.epochs": 1}).fit(shown, known=Known(past=events), progress=False)
    assert steps.tasks == ("click", "cart", "purchase")
    assert steps.notes == ("2 of 6 pairs of user and item lack a step before their last (taken as implied)",)
    with pytest.raises(DataError, match="must be whole numbers"):
        multitask(bert).fit(shown, known=Known(past=replace(events, label=events.label + 0.5)), progress=False)


def test_rated_pairs_are_as_far_as_their_rating_says_whatever_the_label(bert):
    """Every pair has a moment of its own. All were watched and rated, those of 4 or more are liked."""
    rating, times = np.tile([5, 2, 4, 1, 3, 2, 5, 1, 2, 3, 5, 4], 6), [12.0 * step + user for user in range(12) for step in range(6)]
    rows = Ragged.from_rows([range(1 + user % 3, 7 + user % 3) for user in range(12)])
    users = IdMap([f"u{k}" for k in range(12)])
    past = Interactions(catalog(), users, rows, rating=rating.astype(np.float32), timestamp=np.array(times))
    found = _material(Dataset("rated", "csv", past), RankerPlan("multitask", pairs="ratings"))
    known = found.known.past
    levels, _, notes = _chain_of(found.learned, found.known, MultiTaskConfig())
    assert len(levels) == len(known) > 50
    assert levels.tolist() == np.where(known.rating >= 4, 3, 2).tolist()
    assert notes == ()
    model = multitask(bert, **{"train.epochs": 1}).fit(found.learned, validation=found.chosen_on, known=found.known, progress=False)
    assert model.scored == "liked"
    joined = impressions_from_ratings(known, joined=True)  # keeps the moment of the first alone
    lost = int((joined.labels == 0).sum())  # each user's first is liked
    notes = _chain_of(joined, found.known, MultiTaskConfig())[2]
    assert notes[-1] == f"{lost} of {len(known)} pairs were met at another moment than their row's (taken as not met)"
    assert notes[0].endswith("pairs that were met have no rating, or one below all steps (watched alone)")


def asking(count, seed=0):
    """Return users without a history who click the item that they ask for, and their queries."""
    draw = np.random.default_rng(seed)
    asked = draw.integers(1, 9, count)
    shown = Ragged.from_rows([range(1, 9)] * count)
    labels = (shown.values == asked[shown.rows]).astype(np.int8)
    names = [f"{seed} {k}" for k in range(count)]
    rows = Impressions(catalog(), names, names, Ragged.from_rows([[]] * count), shown, labels)
    return rows, {name: WORDS[item - 1] for name, item in zip(names, asked, strict=True)}


def test_a_query_takes_the_place_of_the_history(bert):
    (rows, queries), (fresh, more) = asking(100), asking(40, seed=1)
    model = multitask(bert, **{"train.epochs": 12}).fit(rows, validation=fresh, queries=queries | more, progress=False)
    assert model.figures(fresh)["AUC"] > 0.95
    answered = model.score(fresh.histories, fresh.candidates, queries=[more[name] for name in fresh.ids])
    assert (answered.reshape(40, 8).argmax(axis=1) == fresh.labels.reshape(40, 8).argmax(axis=1)).mean() > 0.9
    silent = model.score(fresh.histories, fresh.candidates, queries=[""] * len(fresh))
    np.testing.assert_array_equal(silent, model.score(fresh.histories, fresh.candidates))
    np.testing.assert_array_equal(silent, model.score(fresh.histories, fresh.candidates, queries=[None] * len(fresh)))
    other = replace(asking(40, seed=2)[0], ids=rows.ids[:40])  # the ids of others, and nothing was asked for
    labels, alone = other.labels == 1, model.score_tasks(other.histories, other.candidates)[:, 0]
    assert model.figures(other)["AUC"] == pytest.approx(auc(alone, labels))
    with pytest.raises(DataError, match="40 histories and 1 queries"):
        model.score(fresh.histories, fresh.candidates, queries=["car"])
    with pytest.raises(ConfigError, match="map ids of impressions to texts"):
        multitask(bert).fit(rows, queries=["car"], progress=False)


def test_queries_that_fit_no_impression_or_two_are_refused(bert):
    (rows, queries), fast = asking(10), {"train.epochs": 1}
    with pytest.raises(ConfigError, match="none of 2 queries has the id of an impression, such as '0 0'"):
        multitask(bert, **fast).fit(rows, queries={"a": "car", "b": "car"}, progress=False)
    again = replace(asking(10, seed=1)[0], ids=rows.ids)
    with pytest.raises(ConfigError, match="impression '0 0' stands in training and validation"):
        multitask(bert, **fast).fit(rows, validation=again, queries=queries, progress=False)
    model = multitask(bert, **fast).fit(rows, queries=queries | {"a": "car"}, progress=False)
    assert model.notes == ("1 of 11 queries have no impression (left out)",)

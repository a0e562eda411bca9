"""Prompts that start from another model's scores: the formula, the start, and what is learned on top."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from tiny_encoders import tiny_masked

from bertrec.core.errors import DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.models.popularity import Popularity
from bertrec.rankers.prompts import user_vectors
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.prior import Prior
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.rows import ClickDataset
from bertrec.rankers.prompts.template import Prompt
from bertrec.rankers.prompts.user_vectors import UserVectors
from bertrec.training.config import TrainConfig

TITLES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("car", "hat", "sea", "dog", "cup")]


class Parity(Popularity):
    """A model that scores 1 where the candidate's number and the newest item's are both even or both odd, else 0."""

    name = "parity"

    def item_embeddings(self):
        vectors = np.zeros((11, 2), np.float32)
        vectors[np.arange(1, 11), np.arange(1, 11) % 2] = 1
        return vectors

    def user_vectors(self, histories):
        return self.item_embeddings()[[row[-1] if len(row) else 0 for row in histories]]


@pytest.fixture(scope="module")
def catalog():
    return ItemCatalog(IdMap([f"n{k}" for k in range(10)]), {"title": TITLES})


@pytest.fixture
def parity(catalog):
    model = Parity()
    model._catalog, model._counts = catalog, torch.zeros(11)
    return UserVectors.from_model(model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_masked(tmp_path_factory.mktemp("masked"), [*TITLES, Prompt.load("action-hybrid").text, "yes no"])


def shown(catalog, n=40, seed=0, noise=0.2):
    """Impressions of three candidates in which the one of the history's parity is clicked, most of the time."""
    rng = np.random.default_rng(seed)
    histories, candidates, labels = [], [], []
    for _ in range(n):
        past = rng.integers(1, 11)
        same = rng.choice([k for k in range(1, 11) if (k - past) % 2 == 0])
        items = np.array([same, *rng.choice([k for k in range(1, 11) if (k - past) % 2], 2, replace=False)])
        clicked = 0 if rng.random() > noise else 1
        order = rng.permutation(3)
        histories.append([past])
        candidates.append(items[order])
        labels += (order == clicked).astype(int).tolist()
    names = [f"i{k}" for k in range(n)]
    return Impressions(catalog, names, names, Ragged.from_rows(histories), Ragged.from_rows(candidates), np.array(labels, np.int8))


def config(folder, **more):
    encoder = MaskedConfig(name=folder, tune=more.pop("tune", "frozen"), max_length=40, dropout=False)
    train = TrainConfig(**{"batch_size": 8, "epochs": 1, "metric": "AUC", **more.pop("train", {})})
    return PromptConfig(prompt=Prompt.load("action-hybrid"), encoder=encoder, train=train, negatives=0, **more)


def test_scores_are_inner_products(parity):
    histories, candidates = Ragged.from_rows([[3, 2], [], [5]]), Ragged.from_rows([[4, 7], [1], [7]])
    assert parity.scores(histories, candidates).tolist() == [1, 0, 0, 1]


class Partial(Parity):
    """The same, but it knows nothing of item 7 and adds 10 to an item of the history."""

    repeat_bias = 10.0

    def item_embeddings(self):
        vectors = super().item_embeddings()
        vectors[7] = np.nan
        return vectors

    def user_vectors(self, histories):
        return np.nan_to_num(super().user_vectors(histories))


@pytest.mark.parametrize("pairs", [1, 2, 1 << 16])
def test_scores_are_the_models_own_in_parts_of_any_size(catalog, monkeypatch, pairs):
    monkeypatch.setattr(user_vectors, "_PAIRS", pairs)
    model = Partial()
    model._catalog = catalog
    vectors = UserVectors(model, torch.zeros(11, 2))
    histories = Ragged.from_rows([[], [3, 2], [], [5], [1]])
    candidates = Ragged.from_rows([[], [4, 7, 2], [1], [], [5, 6]])
    assert vectors.scores(histories, candidates) == pytest.approx([1, np.nan, 11, 0, 1, 0], nan_ok=True)
    assert vectors.scores(Ragged.from_rows([[1]]), Ragged.from_rows([[]])).tolist() == []


def test_an_item_that_the_model_does_not_know_stands_at_the_mean():
    rows, labels = Ragged.from_rows([[1, 2, 3], [1, 2, 3]]), np.array([1, 0, 0, 1, 0, 0], np.int8)
    prior = Prior()
    prior.start(np.array([3.0, 1, np.nan, 3, 1, np.nan]), labels, rows, "listwise")
    assert (float(prior.centre), float(prior.spread)) == (2, 1)
    joined = prior.join(np.zeros(3), np.array([3, np.nan, 1.0]))
    assert joined.tolist() == [-joined[2], 0, joined[2]]
    assert prior(torch.zeros(3), torch.tensor([3, torch.nan, 1])).tolist() == pytest.approx(joined.tolist())
    with pytest.raises(DataError, match="knows none of the candidates"):
        Prior().start(np.full(6, np.nan), labels, rows, "listwise")


@pytest.mark.parametrize("loss", ["pointwise", "listwise"])
def test_it_starts_where_the_scores_alone_explain_the_labels_best(loss):
    rng = np.random.default_rng(0)
    rows = Ragged.from_lengths(np.arange(60), np.full(12, 5))
    scores = rng.normal(3, 2, 60)
    labels = np.zeros(60, np.int8)
    labels[np.arange(12) * 5 + rng.integers(0, 5, 12)] = 1
    prior = Prior()
    prior.start(scores, labels, rows, loss)
    values = (scores - scores.mean()) / scores.std()

    def cost(found):
        margins = found[0] * values + found[1]
        if loss == "pointwise":
            return np.mean(np.logaddexp(0, margins) - labels * margins) + 1e-4 * found[0] ** 2
        lists = margins.reshape(12, 5)
        return np.mean(np.log(np.exp(lists).sum(axis=1)) - lists[labels.reshape(12, 5) == 1]) + 1e-4 * found[0] ** 2

    best = minimize(cost, np.zeros(2)).x
    assert prior.weight.item() == pytest.approx(best[0], abs=1e-3)
    assert prior.gain.item() == 0
    assert prior.shift.item() == pytest.approx(best[1] if loss == "pointwise" else 0, abs=1e-3)
    prior.start(scores, 1 - labels, rows, loss)  # a second training goes on from what was learned
    assert prior.weight.item() == pytest.approx(best[0], abs=1e-3)


@pytest.mark.parametrize("loss", ["pointwise", "listwise"])
def test_scores_that_tell_all_clicks_apart_give_a_finite_weight(loss):
    prior = Prior()
    prior.start(np.array([0.0, 1, 0, 1]), np.array([0, 1, 0, 1], np.int8), Ragged.from_rows([[1, 2], [1, 2]]), loss)
    joined = prior.join(np.zeros(2), np.array([0.0, 1]))
    assert 2 < joined[1] - joined[0] < 100


def test_both_ways_to_join_are_the_formula():
    prior = Prior()
    with torch.no_grad():
        for name, value in {"gain": 0.5, "weight": 2, "shift": -1, "centre": 3, "spread": 4}.items():
            getattr(prior, name).fill_(value)
    margins, scores = np.array([1.0, -2]), np.array([3.0, 11])
    expected = [0.5 * 1 - 1, 0.5 * -2 + 2 * 2 - 1]
    assert prior.join(margins, scores).tolist() == expected
    assert prior(torch.tensor(margins), torch.tensor(scores)).tolist() == expected


def test_scores_that_are_all_alike_start_at_nothing():
    prior = Prior()
    prior.start(np.full(4, 7.0), np.array([0, 1, 0, 1], np.int8), Ragged.from_rows([[1, 2], [1, 2]]), "listwise")
    assert prior.join(np.zeros(4), np.full(4, 7.0)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("loss", ["pointwise", "listwise"])
def test_the_first_loss_is_that_of_the_scores_alone(folder, catalog, parity, loss):
    data = shown(catalog)
    ranker = PromptRanker(config(folder, loss=loss), prior=parity).prepare(catalog)
    scores = parity.scores(data.histories, data.candidates)
    ranker.network.prior.start(scores, data.labels, data.candidates, loss)
    batch = ClickDataset(ranker._rows(data.histories), data, 0, scores).collate(list(range(40)))
    margins = ranker.network.prior.join(np.zeros(120), scores)
    expected = np.mean(np.logaddexp(0, margins) - data.labels * margins)
    if loss == "listwise":
        lists = margins.reshape(40, 3)
        expected = np.mean(np.log(np.exp(lists).sum(axis=1)) - lists[data.labels.reshape(40, 3) == 1])
    with torch.no_grad():
        assert ranker.network(**batch)["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_a_prompt_learns_on_top_of_what_no_text_says(folder, catalog, parity, tmp_path):
    test = shown(catalog, seed=1, noise=0)
    alone = PromptRanker(config(folder, loss="listwise")).fit(shown(catalog), progress=False)
    ranker = PromptRanker(config(folder, loss="listwise", train={"epochs": 3}), prior=parity).fit(shown(catalog), progress=False)
    assert alone.figures(test)["AUC"] < 0.8
    assert ranker.figures(test)["AUC"] > 0.95
    assert ranker.network.prior.gain.item() != 0
    assert ranker.about()["prior"] == "parity"
    assert ranker.model_hash != alone.model_hash


def test_what_was_learned_of_the_prior_is_saved(folder, catalog, parity, tmp_path, monkeypatch):
    model = parity.model
    monkeypatch.setattr(Parity, "save_pretrained", lambda self, place: place.mkdir(), raising=False)
    monkeypatch.setattr("bertrec.models.base.Recommender.from_pretrained", lambda place, classes: model)
    ranker = PromptRanker(config(folder, loss="listwise"), prior=parity).fit(shown(catalog), progress=False)
    ranker.save_pretrained(tmp_path / "ranker")
    again = PromptRanker.from_pretrained(tmp_path / "ranker")
    test = shown(catalog, seed=1)
    assert again.score(test.histories, test.candidates).tolist() == ranker.score(test.histories, test.candidates).tolist()
    assert again.model_hash == ranker.model_hash


def test_what_cannot_be(folder, catalog, parity):
    ranker = PromptRanker(config(folder), prior=parity).prepare(catalog)
    with pytest.raises(ModelError, match="call fit before score"):
        ranker.score(Ragged.from_rows([[1]]), Ragged.from_rows([[2]]))
    others = ItemCatalog(IdMap([f"m{k}" for k in range(10)]), {"title": TITLES})
    with pytest.raises(ModelError, match="starts from a model of other items"):
        PromptRanker(config(folder), prior=parity).prepare(others)

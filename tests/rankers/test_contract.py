"""Every ranker keeps the contract, and the contract notices one that does not."""

from __future__ import annotations

import my_rankers
import numpy as np
import pytest
from tiny_encoders import tiny_bert, tiny_masked

from bertrec.core import Ragged
from bertrec.core.errors import DataError, ModelError
from bertrec.data import IdMap, Impressions, Interactions, ItemCatalog
from bertrec.prompts import Prompt
from bertrec.rankers import RANKERS, Composite, Ensemble, Known, check_ranker

TITLES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("car", "hat", "sea", "dog")]


@pytest.fixture(scope="module")
def impressions():
    """Users click what has the colour of their history; the first history is empty."""
    draw = np.random.default_rng(0)
    catalog = ItemCatalog(IdMap([f"n{k}" for k in range(8)]), {"title": TITLES})
    rows = [(draw.permutation(4) + 1 + 4 * (row % 2), draw.permutation(4) + 5 - 4 * (row % 2)) for row in range(12)]
    histories = Ragged.from_rows([[] if row == 0 else own[:2] for row, (own, _) in enumerate(rows)])
    candidates = Ragged.from_rows([[others[0], own[3], others[1]] for own, others in rows])
    names = [str(row) for row in range(12)]
    return Impressions(catalog, names, names, histories, candidates, np.array([0, 1, 0] * 12, np.int8))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), TITLES)


def makers(bert, masked):
    train = {"train.epochs": 1, "train.batch_size": 4}
    return {
        "nrms": lambda: RANKERS.find("nrms").configured(settings={**train, "encoder.name": bert, "heads": 2}),
        "ubert": lambda: RANKERS.find("ubert").configured(settings={**train, "encoder.name": bert, "width": 8}),
        "cross-encoder": lambda: RANKERS.find("cross-encoder").configured(
            settings={**train, "encoder.name": bert, "encoder.tune": "last:1", "encoder.max_length": 32, "profile": "keywords"}
        ),
        "composite": lambda: RANKERS.find("composite").configured(settings={"encoder.name": bert, "encoder.max_length": 8}),
        "prompt4nr": lambda: RANKERS.find("prompt4nr").configured(settings={**train, "encoder.name": masked}, variant="item-hybrid"),
    }


@pytest.mark.parametrize("name", ["bias", "mf", "bias-text"])
def test_rankers_that_predict_ratings_keep_it(name, impressions, bert):
    labels = impressions.labels.astype(np.float32).reshape(12, 3)
    past = Interactions(
        impressions.catalog,
        IdMap(impressions.users),
        impressions.candidates,
        rating=(1 + 4 * labels).ravel(),
    )
    settings = {"encoder.name": bert, "dim": 4} if name == "bias-text" else {}
    check_ranker(lambda: RANKERS.find(name).configured(settings=settings), impressions, known=Known(past=past))


@pytest.mark.parametrize("name", ["nrms", "ubert", "composite", "prompt4nr", "cross-encoder"])
def test_every_ranker_keeps_it(name, impressions, bert, tmp_path):
    masked = tiny_masked(tmp_path / "masked", [*TITLES, Prompt.load("item-hybrid").text, "yes no good bad"])
    check_ranker(makers(bert, masked)[name], impressions)


def test_an_ensemble_keeps_it(impressions, bert):
    make = makers(bert, bert)["nrms"]
    check_ranker(lambda: Ensemble([make(), make()]), impressions)


@pytest.mark.parametrize("name", ["composite", "cross-encoder"])
def test_a_ranker_that_reads_the_retrievers_scores_keeps_it(name, impressions, bert):
    plain = makers(bert, bert)[name]().config
    check_ranker(lambda: RANKERS.find(name)(plain.updated({"retrieval": True})), impressions)


def test_the_ranker_of_the_page_keeps_it(impressions):
    check_ranker(my_rankers.ClickRate, impressions)


def test_every_ranker_was_tried():
    named = {"nrms", "ubert", "composite", "prompt4nr", "cross-encoder", "bias", "mf", "bias-text", "ensemble"}
    elsewhere = {"din", "dcn", "ctrl", "naml", "lstur", "miner", "multitask", "p5"}  # beside their formulas
    assert set(RANKERS.own) == named | elsewhere


class ByPlace(my_rankers.ClickRate):
    name = "by-place"

    def score(self, histories, candidates, **options):
        return super().score(histories, candidates) - (np.arange(len(candidates.values)) - candidates.offsets[candidates.rows])


class Unchecked(my_rankers.ClickRate):
    name = "unchecked"

    def check_pairs(self, histories, candidates):
        pass

    def score(self, histories, candidates, **options):
        return self.rates.numpy()[np.minimum(candidates.values, len(self.rates) - 1)]


class Adding(my_rankers.ClickRate):
    name = "adding"
    before = 0

    def fit(self, impressions, **options):
        super().fit(impressions, **options)
        self.rates = self.before = self.rates + self.before
        return self


class Unsure(my_rankers.ClickRate):
    name = "unsure"

    def score(self, histories, candidates, **options):
        return np.where(histories.lengths[candidates.rows] > 0, super().score(histories, candidates), np.nan)


class Overconfident(my_rankers.ClickRate):
    name = "overconfident"
    gives_probabilities = True

    def score(self, histories, candidates, **options):
        return 1.5 + super().score(histories, candidates)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (ByPlace, "scores depend on the order of the candidates"),
        (Unchecked, "ids outside the catalogue"),
        (Adding, "a second fit does not start anew"),
        (Unsure, "no finite number"),
        (Overconfident, "outside 0 to 1"),
    ],
)
def test_what_breaks_it_is_said(impressions, kind, what):
    with pytest.raises(AssertionError, match=what):
        check_ranker(kind, impressions)


class Stopped(Exception):
    """Ends a training."""


def stop(figures):
    raise Stopped


@pytest.mark.parametrize("name", ["nrms", "ubert", "prompt4nr"])
def test_a_fit_that_is_cut_short_leaves_nothing_of_it(name, impressions, bert, tmp_path):
    masked = tiny_masked(tmp_path / "masked", [*TITLES, Prompt.load("item-hybrid").text, "yes no good bad"])
    make = makers(bert, masked)[name]
    cut, whole = make(), make().fit(impressions, progress=False)
    with pytest.raises(Stopped):
        cut.fit(impressions, validation=impressions, progress=False, on_epoch=stop)
    with pytest.raises(ModelError, match="not fitted"):
        cut.score(impressions.histories, impressions.candidates)
    cut.fit(impressions, progress=False)
    found, wanted = (ranker.score(impressions.histories, impressions.candidates) for ranker in (cut, whole))
    np.testing.assert_array_equal(found, wanted)


def test_a_composite_that_could_not_learn_is_not_fitted(impressions, bert):
    composite = Composite.configured(settings={"encoder.name": bert, "encoder.max_length": 8})
    clicks = Impressions(
        *[getattr(impressions, name) for name in ("catalog", "ids", "users", "histories", "candidates")], np.ones(36, np.int8)
    )
    with pytest.raises(DataError, match="nothing to learn from"):
        composite.fit(clicks)
    with pytest.raises(ModelError, match="not fitted"):
        composite.score(impressions.histories, impressions.candidates)


def test_a_depth_that_is_named_is_taken(bert):
    assert RANKERS.find("prompt4nr").config_from(tune="frozen").encoder.tune == "frozen"
    assert RANKERS.find("prompt4nr").config_from().encoder.tune == "full"


def test_a_prompt_that_the_user_names_wins_over_that_for_lists():
    kind = RANKERS.find("prompt4nr")
    chosen = {**kind.list_settings(negatives=3, scored=False), "prompt": "action-hybrid"}
    assert kind.config_from(settings=chosen).prompt.name == "action-hybrid"

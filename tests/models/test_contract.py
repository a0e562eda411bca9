"""Every retriever keeps the contract, and the contract notices one that does not."""

from __future__ import annotations

import my_models
import numpy as np
import pytest
import torch

from bertrec.models import MODELS, IDRec, Popularity, check_recommender, create

SETTINGS = {"train.epochs": 1, "train.patience": 0, "train.batch_size": 16, "item.width": 8, "head.layers": 1, "head.dropout": 0.0}


@pytest.mark.parametrize("item_input", ["id", "text", "text+id"])
def test_sequential_models_keep_it(split, encoder_name, item_input):
    name = "idrec" if item_input == "id" else "unisrec"
    settings = SETTINGS | ({} if item_input == "id" else {"encoder.name": encoder_name})
    check_recommender(lambda: create(name, item_input=item_input, settings=settings), split.train, validation=split.validation)


@pytest.mark.parametrize(("name", "more"), [("hstu", {}), ("bert4rec", {}), ("unisrec", {"loss.contrast": "duorec"})])
def test_other_heads_and_a_contrast_keep_it(split, encoder_name, name, more):
    settings = SETTINGS | more | {"encoder.name": encoder_name}
    check_recommender(lambda: create(name, settings=settings), split.train, validation=split.validation)


@pytest.mark.slow
@pytest.mark.parametrize("tune", ["last:1", "lora", "full"])
def test_tuned_encoders_keep_it(split, encoder_name, tune):
    check_recommender(lambda: create("morec", tune=tune, settings=SETTINGS | {"encoder.name": encoder_name}), split.train)


def test_models_without_training_keep_it(split, encoder_name):
    check_recommender(Popularity, split.train)
    for name in ("text-similarity", "max-similarity"):
        check_recommender(lambda name=name: create(name, settings={"encoder.name": encoder_name}), split.train)


def test_alpharec_keeps_it(split, encoder_name):
    settings = {"encoder.name": encoder_name, "width": 8, "hidden": 8, "negatives": 4, "train.epochs": 2, "train.batch_size": 32}
    check_recommender(lambda: create("alpharec", settings=settings), split.train, validation=split.validation)


@pytest.mark.parametrize("settings", [{}, {"neighbours": 3}])
def test_ease_keeps_it(split, settings):
    check_recommender(lambda: create("ease", settings=settings), split.train)


def test_itemknn_keeps_it(split):
    check_recommender(lambda: create("itemknn"), split.train)


def test_als_keeps_it(split):
    pytest.importorskip("implicit")
    check_recommender(lambda: create("als", settings={"width": 4, "iterations": 3}), split.train)


def test_ease_over_texts_keeps_it(split, encoder_name):
    check_recommender(lambda: create("ease-text", settings={"encoder.name": encoder_name}), split.train)


def test_the_model_of_the_page_keeps_it(split):
    check_recommender(my_models.PureSVD, split.train)


@pytest.mark.slow
def test_a_model_of_recboles_keeps_it(split):
    pytest.importorskip("recbole")
    settings = {"train.epochs": 1, "hidden_size": 8, "inner_size": 8, "n_layers": 1}
    check_recommender(lambda: create("recbole:SASRec", settings=settings), split.train, validation=split.validation)


def test_every_model_was_tried():
    closed = {"ease", "ease-text", "itemknn", "als"}
    assert set(MODELS.own) - closed == {
        "unisrec",
        "morec",
        "vqrec",
        "idrec",
        "hstu",
        "bert4rec",
        "alpharec",
        "text-similarity",
        "max-similarity",
        "popularity",
        "recbole",
    }
    assert closed < set(MODELS.own)


class Forgetful(my_models.PureSVD):
    name = "forgetful"

    def load_state_dict(self, state):
        self.vectors = torch.ones_like(state["vectors"])


class Cumulative(Popularity):
    name = "cumulative"
    before = 0

    def fit(self, train, **options):
        super().fit(train, **options)
        self._counts = self._counts + self.before
        self.before = self._counts
        return self


class Restless(my_models.PureSVD):
    name = "restless"

    def user_vectors(self, histories):
        return super().user_vectors(histories) + np.random.default_rng().normal(size=(len(histories), 1)).astype(np.float32)


class OfTheBatch(my_models.PureSVD):
    name = "batch"

    def user_vectors(self, histories):
        found = super().user_vectors(histories)
        return found - found.mean(axis=0)


class Narrow(my_models.PureSVD):
    name = "narrow"

    def item_embeddings(self):
        return super().item_embeddings()[1:]


class Nameless(IDRec):
    name = ""


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (Forgetful, "saving changes the scores"),
        (Cumulative, "a second fit does not start anew"),
        (Restless, "scores depend on what else is in the batch|gave other scores"),
        (OfTheBatch, "scores depend on what else is in the batch"),
        (Narrow, "item_embeddings: 20 rows for 20 items and padding"),
        (Nameless, "name: a class has one"),
    ],
)
def test_what_breaks_it_is_said(split, kind, what):
    with pytest.raises(AssertionError, match=what):
        check_recommender(kind, split.train)

"""Views of an item: their attention by hand, and what only a category tells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_impressions import KINDS, SAID, catalog, same_kind
from tiny_encoders import tiny_bert
from torch.nn.functional import normalize

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.rankers import NAML, RANKERS, check_ranker

BODIES = ["long tea", "", "short sun", "long", "", "short", "tea", "sun"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), SAID)


def naml(bert, **settings):
    train = {"train.epochs": 8, "train.batch_size": 16, "train.learning_rate": 1e-2, "dropout": 0.0, "negatives": 2}
    return NAML.configured(settings={"encoder.name": bert, "encoder.max_length": 8, **train, **settings})


def encoded(model, texts):
    encoder = model.trained.encoder
    return normalize(encoder.encode_tokens(encoder.tokenize(texts)), dim=1)


@pytest.fixture(scope="module")
def fitted(bert):
    return naml(bert).fit(same_kind(catalog(category=KINDS), 120), progress=False)


def test_what_only_the_category_tells_is_learned(fitted, bert):
    assert fitted.figures(same_kind(catalog(category=KINDS), 60, seed=1))["AUC"] > 0.95
    blind = naml(bert, label_fields=()).fit(same_kind(catalog(category=KINDS), 120), progress=False)
    assert set(blind.trained.items.numbers) == set()


def test_untrained_the_item_is_the_mean_of_its_views_and_the_user_that_of_the_history(bert):
    items = catalog(body=BODIES, category=["food", "sport", "", "sport", "food", "food", "sport", ""])
    model = naml(bert, **{"train.learning_rate": 1e-12, "train.epochs": 1}).fit(same_kind(items, 8), progress=False)
    title, body, (food, sport) = encoded(model, items.titles), encoded(model, BODIES), encoded(model, ["food", "sport"])
    expected = normalize(torch.stack([(title[0] + body[0] + food) / 3, (title[1] + sport) / 2, (title[2] + body[2]) / 2]), dim=1)
    assert torch.allclose(model.trained.table().items[1:4], expected, atol=1e-5)
    scores = model.score(Ragged.from_rows([[1, 2], []]), Ragged.from_rows([[3], [3]]))
    assert scores == pytest.approx([float(expected[:2].mean(dim=0) @ expected[2]), 0.0], abs=1e-5)


def test_views_are_pooled_by_additive_attention_with_learned_labels(fitted):
    tower = fitted.trained.items
    label = encoded(fitted, ["food", "sport"]) + tower.learned.weight[1:]
    assert tower.numbers == {("category", "food"): 1, ("category", "sport"): 2}
    views = torch.stack([encoded(fitted, ["car"])[0], label[1]])
    weights = tower.query(torch.tanh(tower.project(views)))[:, 0].softmax(dim=0)
    assert torch.allclose(fitted.trained.table().items[1], normalize(weights @ views, dim=0), atol=1e-5)


def test_several_labels_of_an_item_are_averaged(bert):
    items = catalog(genres=["food|sport", *["sport"] * 7])
    model = naml(bert, **{"train.learning_rate": 1e-12, "train.epochs": 1}).fit(same_kind(items, 4), progress=False)
    expected = normalize(encoded(model, ["car"])[0] + encoded(model, ["food", "sport"]).mean(dim=0), dim=0)
    assert torch.allclose(model.trained.table().items[1], expected, atol=1e-5)


def test_other_items_keep_known_labels_and_new_ones_are_read(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "naml")
    moved, learned = NAML.from_pretrained(tmp_path / "naml"), fitted.trained.items.learned.weight
    moved.prepare(catalog(category=["Sport", "long", *KINDS[2:]]))
    tower = moved.trained.items
    used, vectors = ["Sport", "long"], moved.trained.vectors
    views = [encoded(moved, [word])[0] + extra for word, extra in zip(used, (learned[2], 0), strict=True)]
    for row, (word, view) in enumerate(zip(("car", "hat"), views, strict=True)):
        both = torch.stack([encoded(moved, [word])[0], view])
        expected = normalize(tower.query(torch.tanh(tower.project(both)))[:, 0].softmax(dim=0) @ both, dim=0)
        assert torch.allclose(tower(vectors, np.array([row]))[0], expected, atol=1e-5)


@pytest.mark.parametrize("fields", [{}, {"body": BODIES}, {"category": KINDS, "subcategory": ["", *["tea"] * 7], "body": BODIES}])
def test_it_keeps_the_contract_whatever_views_there_are(bert, fields):
    train = {"train.epochs": 1, "train.batch_size": 4, "encoder.name": bert, "encoder.max_length": 8}
    check_ranker(lambda: RANKERS.find("naml").configured(settings=train), same_kind(catalog(**fields), 6))


def test_a_tuned_encoder_reads_labels_too(bert):
    settings = {"encoder.tune": "full", "train.epochs": 1}
    items = catalog(category=["food", *[""] * 7])  # most batches hold no label
    model = naml(bert, **settings, **{"train.batch_size": 2}).fit(same_kind(items, 6), progress=False)
    assert np.isfinite(model.score(Ragged.from_rows([[2]]), Ragged.from_rows([[3, 1]]))).all()


def test_fields_that_are_not_there_are_said(bert):
    for setting in ("label_fields", "body_fields"):
        with pytest.raises(DataError, match=f"{setting} names 'kind', and the items have title, category"):
            naml(bert, **{setting: ("kind",)}).fit(same_kind(catalog(category=KINDS), 4), progress=False)

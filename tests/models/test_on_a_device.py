"""Models on another device than the CPU: a pretended one, which has values and refuses what a GPU refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pretend_device import pretended

from bertrec.models import create

TRAIN = {"train.epochs": 2, "train.patience": 0, "train.batch_size": 16, "train.learning_rate": 0.01, "train.precision": "fp32"}
SMALL = {"item.width": 16, "head.layers": 1, "head.dropout": 0.0, "head.max_history": 4, "match.text": 4, "match.behaviour": 4}
MODELS = {
    "unisrec": SMALL,
    "morec": {**SMALL, "encoder.tune": "last:1", "train.epochs": 1},
    "bert4rec": SMALL,
    "vqrec": {**SMALL, "codes.slots": 4, "codes.centroids": 4},
    "alpharec": {"width": 8, "hidden": 8, "negatives": 4},
    "text-similarity": {},
    "max-similarity": {},
}


def made(name, encoder_name, **more):
    return create(name, settings={**(TRAIN if "similarity" not in name else {}), **MODELS[name], "encoder.name": encoder_name, **more})


def told(model, split):
    histories = split.validation.histories
    scores = np.concatenate(list(model.score_all(histories)))
    texts = model.encode_texts(["red thing", "number1"])
    return {"items": model.item_embeddings(), "users": model.user_vectors(histories), "scores": scores, "texts": texts}


def catalog_frame(catalog):
    return pd.DataFrame({"item_id": catalog.ids.ids, **catalog.fields})


def same(found, wanted, **close):
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, err_msg=name, **(close or {"rtol": 1e-4, "atol": 1e-5}))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_trained_there_is_that_of_the_cpu_and_its_folder_serves_on_both(name, split, encoder_name, monkeypatch, folder):
    here = made(name, encoder_name).fit(split.train, validation=split.validation, progress=False)
    wanted = told(here, split)
    counted = []
    with pretended(monkeypatch, counted):
        there = made(name, encoder_name).fit(split.train, validation=split.validation, progress=False)
        same(told(there, split), wanted, rtol=1e-3, atol=1e-4)
        there.save_pretrained(folder)
    assert {"mm", "addmm"} & set(counted)
    loaded = type(there).from_pretrained(folder)
    same(told(loaded, split), wanted, rtol=1e-3, atol=1e-4)
    with pretended(monkeypatch):
        again = type(there).from_pretrained(folder)
        same(told(again, split), told(loaded, split))
        assert again.model_hash == loaded.model_hash


@pytest.mark.parametrize("name", ["unisrec", "vqrec"])
def test_other_items_and_another_start_stay_there(name, split, catalog, encoder_name, monkeypatch):
    """A model goes on from one that is there, and serves items that it did not know."""
    from bertrec.data import ItemCatalog

    fewer = ItemCatalog.from_frame(catalog_frame(catalog).iloc[:-3])

    def course():
        first = made(name, encoder_name).fit(split.train, validation=split.validation, progress=False)
        second = first.continued(split.train, validation=split.validation, epochs=1, progress=False)
        return {
            "again": second.item_embeddings(),
            "fewer": first.with_catalog(fewer).item_embeddings(),
            "text": first.vectors_with_texts(1, ["a new thing"]),
            "profile": first.profile_vectors(["a red one"]),
        }

    wanted = course()
    with pretended(monkeypatch):
        found = course()
    for name in [name for name, value in wanted.items() if value is None]:
        assert wanted.pop(name) is found.pop(name)
    same(found, wanted, rtol=1e-3, atol=1e-4)

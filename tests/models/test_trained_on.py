"""`fit` takes a data set or a split, and `evaluate` measures on what that fit held out, or refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bertrec
from bertrec.core.errors import DataError
from bertrec.core.files import read_json, write_json
from bertrec.core.seal import sealed
from bertrec.data.splits import EvaluationSet
from bertrec.models.base import Recommender


def shop(shift: int = 1) -> bertrec.Dataset:
    items = pd.DataFrame({"item_id": [f"i{row}" for row in range(12)], "title": [f"thing {row}" for row in range(12)]})
    rows = [(user, f"i{(user + shift * step) % 12}", 100 * step + user) for user in range(12) for step in range(6)]
    return bertrec.load(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), items=items)


@pytest.fixture(scope="module")
def dataset():
    return shop()


def figures(report):
    return {key: value for key, value in report.to_json().items() if key != "seconds"}


@pytest.mark.parametrize(
    ("method", "options"), [("auto", {}), ("ratio", {"test_share": 0.4}), ("cold-items", {"share": 0.3, "seed": 3}), ("time", {})]
)
def test_a_data_set_is_measured_on_the_split_of_the_fit(method, options, dataset, tmp_path):
    split = bertrec.make_split(dataset, method, **options)
    model = bertrec.create("popularity")
    model.fit(dataset) if method == "auto" else model.fit(split)
    held = split.held_out if len(split.held_out) else None
    wanted = bertrec.evaluate(model, split.test, item_counts=split.train.item_counts, held_out=held, manifest=split.manifest)
    model.save_pretrained(tmp_path / "m")
    for one in (model, bertrec.Recommender.from_pretrained(tmp_path / "m")):
        assert figures(bertrec.evaluate(one, dataset)) == figures(bertrec.evaluate(one, split)) == figures(wanted)
        assert figures(bertrec.evaluate(one, dataset, part="valid"))["slices"]["all"]["users"] == len(split.validation)


def test_validation_users_of_the_split_are_used(dataset):
    seen = {}

    class Watching(bertrec.Popularity):
        name = "watching"

        def fit(self, train, *, validation: EvaluationSet | None = None, **options: Any):
            seen.update(train=train, validation=validation)
            return super().fit(train, validation=validation, **options)

    split = bertrec.make_split(dataset)
    model = Watching().fit(dataset)
    assert seen["train"].content_hash == split.train.content_hash
    assert seen["validation"].content_hash == split.validation.content_hash
    assert model.trained_on.split["method"] == "leave_one_out"


def test_a_model_of_another_package_takes_a_data_set_too(dataset):
    class Mine(Recommender):
        name = "mine"

        def fit(self, train, *, validation=None, **options):
            self.catalog = train.catalog
            self.counts = train.item_counts.astype(np.float32)
            return self

        def item_embeddings(self):
            return self.counts[:, None]

        def user_vectors(self, histories):
            return np.ones((len(histories), 1), np.float32)

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    assert bertrec.evaluate(Mine().fit(dataset), dataset).slices["all"].users == 12


def old(model, folder):
    """A model as it was saved before models knew what they were trained on."""
    model.save_pretrained(folder)
    about = read_json(folder / "config.json")
    del about["kept"]
    write_json(folder / "config.json", sealed({name: value for name, value in about.items() if name != "record_sha256"}))
    return bertrec.Recommender.from_pretrained(folder)


def test_what_the_model_may_have_learned_is_refused(dataset, tmp_path):
    split = bertrec.make_split(dataset)
    model = bertrec.create("popularity").fit(dataset)
    everything = bertrec.create("popularity").fit(dataset.interactions)
    cases = [
        (model, shop(5), "was trained on other data than frames"),
        (model, bertrec.make_split(dataset, "ratio", test_share=0.5), "other interactions than this split's training part"),
        (everything, dataset, "on interactions alone, which name no split"),
        (everything, split, "other interactions than this split's training part"),
        (old(model, tmp_path / "old"), dataset, "is not known"),
        (bertrec.create("popularity"), dataset, "is not known"),
    ]
    for one, data, said in cases:
        with pytest.raises(DataError, match=said) as caught:
            bertrec.evaluate(one, data)
        assert "bertrec.evaluate(model, split.test, item_counts=split.train.item_counts)" in str(caught.value)
    assert bertrec.evaluate(everything, split.test, item_counts=split.train.item_counts).slices["all"].users == 12
    assert bertrec.evaluate(bertrec.create("popularity").fit(split.train), split).slices["all"].users == 12


def test_a_failed_fit_leaves_nothing_known(dataset):
    model = bertrec.create("popularity").fit(dataset)
    with pytest.raises(DataError):
        model.fit(dataset.catalog)
    assert model.trained_on is None


def test_the_part_must_be_there(dataset):
    model = bertrec.create("popularity").fit(dataset)
    with pytest.raises(DataError, match="part is 'test' or 'valid', not 'train'"):
        bertrec.evaluate(model, dataset, part="train")

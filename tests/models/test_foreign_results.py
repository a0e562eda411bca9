"""Classes of other packages that return what they should not: one line that names class and method."""

from __future__ import annotations

import sys
from pathlib import Path

import bad_models
import numpy as np
import pytest
import torch

import bertrec
from bertrec.cli.main import main
from bertrec.core.errors import ConfigError, ModelError
from bertrec.data import impressions_from_sequences
from bertrec.models.names import MODELS

SUPPORT = Path(bad_models.__file__).parent


class Told(bad_models.Base):
    """Returns what it is told."""

    name = "told"
    users: object = None
    items: object = None
    values: object = None
    state: object = None

    def user_vectors(self, histories):
        return self.users

    def item_embeddings(self):
        return self.items

    def saved_values(self):
        return self.values

    def state_dict(self):
        return self.state


WRONG = [None, torch.ones(2, 3), [[1.0, 2.0]], np.ones(3, np.float32), np.ones((2, 3), np.int64), np.array([["a"]]), "x"]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(("attribute", "method"), [("users", "user_vectors"), ("items", "item_embeddings")])
def test_vectors(split, wrong, attribute, method):
    model = Told().fit(split.train)
    model.items = np.ones((len(split.catalog) + 1, 3), np.float32)
    model.users = np.ones((1, 3), np.float32)
    ids = [[split.catalog.ids.ids[0]]]
    assert len(model.recommend(ids, 1).items[0]) == 1
    setattr(model, attribute, wrong)
    with pytest.raises(ModelError, match=rf"test_foreign_results:Told\.{method} returned .*, not vectors"):
        model.recommend(ids, 1)


@pytest.mark.parametrize(
    ("attribute", "wrong", "said"),
    [
        ("values", None, r"saved_values returned None"),
        ("values", {"a": np.float32(1)}, r"saved_values returned what JSON does not hold"),
        ("values", {"a": float("nan")}, r"saved_values returned what JSON does not hold"),
        ("values", [1], r"saved_values returned a list"),
        ("state", None, r"state_dict returned None"),
        ("state", [torch.ones(1)], r"state_dict returned a list"),
    ],
)
def test_what_is_saved(split, tmp_path, attribute, wrong, said):
    model = Told().fit(split.train)
    model.values, model.state = {}, {"weight": torch.ones(1)}
    model.save_pretrained(tmp_path / "whole")
    setattr(model, attribute, wrong)
    with pytest.raises(ModelError, match=said):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


class ToldRanker(bertrec.Ranker):
    name = "told-ranker"
    scores: object = None

    def fit(self, impressions, *, validation=None, **options):
        self.catalog = impressions.catalog
        return self

    def score(self, histories, candidates, *, retrieval_scores=None, progress=False):
        return self.scores

    def about(self):
        return {"when": object()}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@pytest.mark.parametrize("wrong", [None, [1.0], torch.ones(3), np.ones((2, 2), np.float32)], ids=lambda value: type(value).__name__)
def test_scores_of_a_ranker(split, wrong):
    clicks = impressions_from_sequences(split.train, negatives=2, seed=0)
    ranker = ToldRanker().fit(clicks)
    ranker.scores = wrong
    with pytest.raises(ModelError, match=r"ToldRanker\.score returned .*, not scores"):
        ranker.figures(clicks)
    with pytest.raises(ModelError, match=r"ToldRanker\.about returned what JSON does not hold"):
        ranker.about()


def test_a_class_that_lacks_a_method_is_still_abstract():
    class Half(bertrec.Recommender):
        name = "half"

        def user_vectors(self, histories):
            return np.ones((1, 1), np.float32)

    with pytest.raises(TypeError, match="abstract"):
        Half()


def _package(folder, name, points, code):
    """Install a package, as far as an interpreter can tell."""
    info = folder / f"{name}-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[bertrec.models]\n{points}\n")
    (folder / f"{name}.py").write_text(code)


_CODE = """
from bertrec.models.popularity import Popularity
class Mine(Popularity):
    name = "mine"
    def fit(self, train, **options):
        return [][3]
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages, and a shop."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    shop = tmp_path / "shop"
    shop.mkdir()
    rows = [f"{user},{(user + step) % 10},{step}" for user in range(24) for step in range(6)]
    (shop / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    (shop / "items.csv").write_text("\n".join(["item_id,title", *(f"{item},thing {item}" for item in range(10))]) + "\n")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_bug_of_an_installed_package_names_its_class(site, monkeypatch, capsys):
    _package(site, "plugged", "mine = plugged:Mine", _CODE)
    # As if it lay among the libraries, where a person's own code never does.
    monkeypatch.setattr("bertrec.cli.main._libraries", lambda: {site.resolve()})
    assert main(["train", "shop", "--model", "mine", "--out", "x"]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "plugged:Mine.fit: " in last
    assert "plugged.py, line 6: IndexError" in last
    sys.modules.pop("plugged")


def test_two_packages_of_one_name_are_both_named(site, capsys):
    _package(site, "first", "mine = first:Mine", _CODE)
    _package(site, "second", "mine = second:Mine", _CODE)
    with pytest.raises(ConfigError, match=r"register the model 'mine': (first:Mine and second|second:Mine and first):Mine; uninstall one"):
        MODELS.find("mine")
    assert MODELS.names().count("mine") == 1
    assert main(["train", "shop", "--model", "mine", "--out", "x"]) == 2
    assert capsys.readouterr().err.count("\n") <= 4
    assert main(["train", "shop", "--model", "popularity", "--out", "y"]) == 0


def test_an_entry_point_of_one_of_our_names_is_noted(site, caplog):
    _package(site, "thief", "popularity = thief:Mine", _CODE)
    assert MODELS.find("popularity") is bertrec.Popularity
    assert "the model 'popularity' is bertrec's own: the entry point of that name (thief:Mine) is not used" in caplog.text

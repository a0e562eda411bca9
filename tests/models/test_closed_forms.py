"""EASE, ItemKNN, ALS and EASE over texts beside their formulas by brute force, other libraries, and planted data."""

from __future__ import annotations

import builtins
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import bertrec
from bertrec.core.errors import ConfigError, DataError, MissingExtraError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import Split
from bertrec.encoders.given import GivenVectors
from bertrec.models import item_weights
from bertrec.models.als import ALS, folded_in
from bertrec.models.base import Recommender
from bertrec.models.ease import EASE, autoencoder
from bertrec.models.ease_text import EaseText
from bertrec.models.item_weights import faded, newest_once
from bertrec.models.itemknn import ItemKNN
from bertrec.retrieval.index import ItemIndex
from bertrec.tuning.space import Space

Array = npt.NDArray[np.float64]
N_ITEMS = 9  # the last one was taken by nobody
HISTORIES = Ragged.from_rows([[1, 4], [3], [2, 9, 5, 2], [9], []])


@pytest.fixture(scope="module")
def train() -> Interactions:
    """Forty users with two to six of eight items each, some twice."""
    draw = np.random.default_rng(5)
    rows = [draw.integers(1, N_ITEMS, draw.integers(2, 7)) for _ in range(40)]
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": [f"i{n}" for n in range(1, N_ITEMS + 1)]}))
    return Interactions(catalog, IdMap([f"u{n}" for n in range(40)]), Ragged.from_rows(rows))


@pytest.fixture(scope="module")
def table(train: Interactions) -> Array:
    """``[users, items that training holds]``: 1 where a user took an item."""
    found = np.zeros((len(train.sequences), N_ITEMS))
    found[train.sequences.rows, train.sequences.values - 1] = 1
    return found[:, : N_ITEMS - 1]


def counted(decay: float) -> Array:
    """What `HISTORIES` count for the items of training, by hand."""
    found = np.zeros((len(HISTORIES), N_ITEMS - 1))
    found[0, [0, 3]] = decay, 1
    found[1, 2] = 1
    found[2, [4, 1]] = decay, 1  # the later 2 counts, and item 9 is two steps old but lends nothing
    return found


def scores(model: Recommender, histories: Ragged = HISTORIES) -> Array:
    return np.concatenate(list(model.score_all(histories))).astype(np.float64)


def constrained(table: Array, l2: float) -> Array:
    """Return EASE's weights as they are defined: for each item a ridge regression on all others."""
    n = table.shape[1]
    weights = np.zeros((n, n))
    for item in range(n):
        others = np.delete(np.arange(n), item)
        x = table[:, others]
        weights[others, item] = np.linalg.solve(x.T @ x + l2 * np.eye(n - 1), x.T @ table[:, item])
    return weights


class TestEASE:
    def test_weights_are_the_regressions_on_all_other_items(self, table: Array) -> None:
        assert autoencoder(table.T @ table, 3.0) == pytest.approx(constrained(table, 3.0), abs=1e-10)

    @pytest.mark.parametrize("decay", [1.0, 0.7])
    def test_scores_are_the_histories_times_the_weights(self, train: Interactions, table: Array, decay: float) -> None:
        model = EASE.configured(settings={"l2": 2.0, "decay": decay}).fit(train)
        wanted = counted(decay) @ constrained(table, 2.0 * table.sum(axis=0).mean())
        assert scores(model)[:3, 1:N_ITEMS] == pytest.approx(wanted[:3], abs=1e-5)
        assert (scores(model)[:, N_ITEMS] == -np.inf).all()

    def test_lists_keep_the_largest_weights_above_0_and_order_the_rest_by_popularity(self, train: Interactions, table: Array) -> None:
        model = EASE.configured(settings={"neighbours": 2, "decay": 1.0}).fit(train)
        weights = constrained(table, 6.0 * table.sum(axis=0).mean())
        kept = np.where(weights >= np.sort(weights, axis=1)[:, -2:-1], np.maximum(weights, 0), 0)
        found, taken = scores(model)[:3, 1:N_ITEMS], train.item_counts[1:N_ITEMS]
        assert found == pytest.approx(counted(1.0)[:3] @ kept, abs=2e-6)
        rest = np.flatnonzero((counted(1.0) @ kept)[1] == 0)
        assert len(rest) >= 5
        assert np.argsort(found[1][rest], kind="stable").tolist() == np.argsort(taken[rest], kind="stable").tolist()

    def test_a_large_catalogue_keeps_lists(self, train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(item_weights, "ALL_WEIGHTS", 7)
        monkeypatch.setattr(item_weights, "LISTED", 3)
        assert EASE().fit(train).behaviour_lists.items.shape == (N_ITEMS + 1, 3)

    def test_a_catalogue_beyond_the_memory_is_refused(self, train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(item_weights.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
        with pytest.raises(DataError, match=r"ease inverts a matrix of 8 x 8 items.*take --model itemknn or als"):
            EASE().fit(train)

    def test_it_is_what_recbole_has(self, train: Interactions, table: Array) -> None:
        """RecBole's own lines over the same matrix: its class cannot be made without a data set of its files."""
        gram = table.T @ table
        gram[np.diag_indices_from(gram)] += 250.0
        inverse = np.linalg.inv(gram)
        theirs = inverse / (-np.diag(inverse))
        theirs[np.diag_indices_from(theirs)] = 0.0
        model = EASE.configured(settings={"l2": 250.0 / table.sum(axis=0).mean(), "decay": 1.0}).fit(train)
        assert scores(model)[:2, 1:N_ITEMS] == pytest.approx((counted(1.0) @ theirs)[:2], abs=1e-6)


class TestItemKNN:
    @pytest.mark.parametrize("unit_users", [False, True])
    def test_weights_are_shrunk_cosines(self, train: Interactions, table: Array, unit_users: bool) -> None:
        settings = {"neighbours": 3, "shrinkage": 4.0, "decay": 1.0, "unit_users": unit_users}
        model = ItemKNN.configured(settings=settings).fit(train)
        rows = table / np.sqrt(table.sum(axis=1, keepdims=True)) if unit_users else table
        cosines = np.array([[a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 4.0) for b in rows.T] for a in rows.T])
        np.fill_diagonal(cosines, 0)
        order = np.argsort(-np.round(cosines, 6), axis=1, kind="stable")  # equal ones by the smaller id
        kept = np.where(np.argsort(order, axis=1) < 3, cosines, 0)
        assert scores(model)[:3, 1:N_ITEMS] == pytest.approx(counted(1.0)[:3] @ kept, abs=2e-6)

    def test_without_shrinkage_they_are_scikit_learns(self, train: Interactions, table: Array) -> None:
        cosines = pytest.importorskip("sklearn.metrics.pairwise").cosine_similarity(table.T)
        np.fill_diagonal(cosines, 0)
        weights = ItemKNN.configured(settings={"shrinkage": 0.0, "neighbours": 8}).fit(train).behaviour_lists
        for item in range(1, N_ITEMS):
            there = weights.items[item] > 0
            assert weights.strengths[item][there] == pytest.approx(cosines[item - 1, weights.items[item][there] - 1], abs=1e-6)


class TestALS:
    def test_a_user_solves_the_normal_equations(self) -> None:
        """``min Σ_i c_i (p_i - u·y_i)² + λ|u|²`` over all items, by least squares of the stacked system."""
        items = np.random.default_rng(0).normal(size=(N_ITEMS - 1, 3)).astype(np.float32)
        table = faded(HISTORIES, 0.5, N_ITEMS + 1)[:, 1:N_ITEMS]
        found = folded_in(table, items, alpha=7.0, regularization=2.0)
        for user, row in enumerate(counted(0.5)):
            root = np.sqrt(1 + 7.0 * row)
            system = np.vstack([items * root[:, None], np.sqrt(2.0) * np.eye(3)])
            wanted = np.linalg.lstsq(system, np.concatenate([root * (row > 0), np.zeros(3)]), rcond=None)[0]
            assert found[user] == pytest.approx(wanted, abs=1e-5)

    def test_a_user_is_what_implicit_makes_of_the_same_items(self, train: Interactions, table: Array) -> None:
        als = pytest.importorskip("implicit.cpu.als")
        sparse = pytest.importorskip("scipy.sparse")
        model = ALS.configured(settings={"width": 4, "alpha": 5.0, "regularization": 1.5, "decay": 1.0}).fit(train, progress=False)
        theirs = als.AlternatingLeastSquares(factors=4, regularization=1.5, alpha=6.0, random_state=0)
        theirs.item_factors = model.item_embeddings()[1:N_ITEMS]
        theirs.user_factors = np.zeros((len(table), 4), np.float32)
        wanted = theirs.recalculate_user(np.arange(len(table)), sparse.csr_matrix(table, dtype=np.float32))
        assert model.user_vectors(train.sequences) == pytest.approx(wanted, abs=1e-4)

    def test_factors_are_where_the_rounds_settle(self, train: Interactions, table: Array) -> None:
        """Many rounds later an item's factor solves its own normal equations over the users, which the items solve."""
        pytest.importorskip("implicit")
        model = ALS.configured(settings={"width": 2, "alpha": 3.0, "regularization": 5.0, "iterations": 500, "decay": 1.0})
        model.fit(train, progress=False)
        users = folded_in(
            faded(train.sequences, 1.0, N_ITEMS + 1)[:, 1:N_ITEMS], model.item_embeddings()[1:N_ITEMS], alpha=3.0, regularization=5.0
        )
        sparse = pytest.importorskip("scipy.sparse")
        again = folded_in(sparse.csr_array(table.T), users, alpha=3.0, regularization=5.0)
        assert model.item_embeddings()[1:N_ITEMS] == pytest.approx(again, abs=2e-2)

    def test_the_extra_is_named_where_it_is_missing(self, train: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def without(name: str, *args: Any, **options: Any) -> Any:
            if name.startswith("implicit"):
                raise ImportError(name)
            return real(name, *args, **options)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(MissingExtraError, match=r"pip install 'bertrec\[als\]'"):
            ALS().fit(train, progress=False)


@pytest.mark.parametrize("name", ["ease", "ease-lists", "itemknn", "als"])
class TestAllOfThem:
    @pytest.fixture
    def model(self, name: str, train: Interactions) -> Recommender:
        if name == "als":
            pytest.importorskip("implicit")
        settings = {"ease-lists": {"neighbours": 3}, "als": {"width": 4}}.get(name, {})
        return bertrec.create(name.removesuffix("-lists"), settings=settings).fit(train, progress=False)

    def test_a_saved_model_is_the_same(self, model: Recommender, tmp_path: Path) -> None:
        model.save_pretrained(tmp_path / "model")
        loaded = Recommender.from_pretrained(tmp_path / "model")
        assert loaded.model_hash == model.model_hash
        assert np.array_equal(scores(loaded), scores(model))

    def test_a_flat_index_gives_the_same_lists(self, model: Recommender) -> None:
        known = model.known_items()
        ids = model.catalog.ids.decode(known)
        index = ItemIndex.build(model.item_embeddings()[known], ids, kind="flat", model_hash=model.model_hash)
        for exclude in (True, False):
            plain, through = (model.recommend(HISTORIES, 4, exclude_seen=exclude, index=one) for one in (None, index))
            assert through.items == plain.items
            assert through.fallback == plain.fallback == [None, None, None, "popularity", "popularity"]

    def test_it_says_what_it_cannot_do(self, model: Recommender, train: Interactions) -> None:
        other = ItemCatalog.from_frame(pd.DataFrame({"item_id": ["new"]}))
        with pytest.raises(ModelError, match="does not read what they say"):
            model.with_catalog(other)
        with pytest.raises(ConfigError, match="leave out --init"):
            model.fit(train, init=model)
        with pytest.raises(ConfigError, match="no option 'epochs'"):
            model.fit(train, epochs=3)
        empty = Interactions(train.catalog, IdMap(["u"]), Ragged.from_rows([[]]))
        with pytest.raises(DataError, match="not one interaction"):
            model.fit(empty)

    def test_like_items_are_known_by_behaviour(self, model: Recommender) -> None:
        assert len(model.similar("i1", 3, by="behaviour").items) > 0
        with pytest.raises(DataError, match="nobody take item 'i9'"):
            model.similar("i9", 3, by="behaviour")


@pytest.mark.parametrize("settings", [{"l2": 0}, {"decay": 0}, {"decay": 1.1}, {"neighbours": -1}])
def test_settings_outside_their_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        bertrec.create("ease", settings=settings)


@pytest.mark.parametrize("name", ["ease", "ease-text", "itemknn", "als"])
def test_a_preset_names_settings_that_there_are(name: str) -> None:
    model = bertrec.create(name)
    assert Space.preset(name).parameters.keys() <= model.flat_settings(model.config).keys()


def test_an_item_counts_once_where_it_stands_last() -> None:
    assert [row.tolist() for row in newest_once(HISTORIES)] == [[1, 4], [3], [9, 5, 2], [9], []]


class TestEaseText:
    @pytest.fixture
    def make(self, split: Split, encoder_name: str) -> Any:
        def make(**settings: Any) -> EaseText:
            given = {"encoder.name": encoder_name, "encoder.precision": "fp32", **settings}
            return EaseText.configured(settings=given).fit(split.train, progress=False)

        return make

    @pytest.fixture
    def model(self, make: Any) -> EaseText:
        return make(decay=0.8, text=4.0, nearness=0.3)

    def table(self, split: Split) -> Array:
        found = np.zeros((len(split.train.sequences), len(split.catalog)))
        found[split.train.sequences.rows, split.train.sequences.values - 1] = 1
        return found

    def texts(self, model: EaseText) -> Array:
        raw = model.text_vectors.astype(np.float64)
        white = (raw - raw.mean(axis=0)) @ model.state["matrix"].double().numpy()
        return np.asarray(white / np.linalg.norm(white, axis=1, keepdims=True))

    def test_weights_are_regressions_over_users_and_directions_of_text(self, model: EaseText, split: Split) -> None:
        """The definition of Collective EASE: rows of text beneath the users' rows."""
        table, texts = self.table(split), self.texts(model)
        assert (table.sum(axis=0) > 0).all()
        stacked = np.vstack([table, np.sqrt(4.0) * texts.T])
        wanted = constrained(stacked, 6.0 * table.sum(axis=0).mean())
        histories = Ragged.from_rows([[1, 2], [7, 3, 1]])
        counts = np.zeros((2, len(split.catalog)))
        counts[0, [0, 1]], counts[1, [6, 2, 0]] = (0.8, 1), (0.64, 0.8, 1)
        assert scores(model, histories)[:, 1:] == pytest.approx(counts @ wanted, abs=1e-5)

    def test_without_texts_it_is_ease(self, make: Any, split: Split) -> None:
        plain = EASE().fit(split.train)
        histories = Ragged.from_rows([[1, 2], [7, 3, 1]])
        assert scores(make(text=0.0), histories) == pytest.approx(scores(plain, histories), abs=1e-6)

    def moved(self, model: EaseText) -> EaseText:
        old = model.catalog
        frame = pd.DataFrame({"item_id": ["new", *old.ids.ids[::-1]], "title": ["red thing number9", *old.fields["title"][::-1]]})
        frame["colour"] = ["red", *old.fields["colour"][::-1]]
        return model.with_catalog(ItemCatalog.from_frame(frame))

    def test_known_items_keep_their_scores_over_another_catalogue(self, model: EaseText) -> None:
        moved, ids = self.moved(model), model.catalog.ids.ids
        history = [[ids[3], ids[8]]]
        assert moved.score(history, [ids])[0] == pytest.approx(model.score(history, [ids])[0], abs=1e-6)

    def test_a_new_item_is_the_ridge_regression_of_its_text(self, model: EaseText) -> None:
        moved, texts, m = self.moved(model), self.texts(model), len(model.catalog)
        raw = model.encode_texts([moved.catalog.texts[0]]).astype(np.float64)
        white = (raw - model.text_vectors.mean(axis=0)) @ model.state["matrix"].double().numpy()
        text = (white / np.linalg.norm(white))[0]
        mixture = np.linalg.solve(texts @ texts.T + np.eye(m), texts @ text)  # the dual form of the same ridge
        weights = model.state["columns"].double().numpy().T
        assert weights[np.diag_indices(m)] == pytest.approx(np.full(m, 0.3), abs=1e-6)
        known = model.catalog.ids.ids
        found = moved.score([[one] for one in known], [["new"]] * m)
        assert np.concatenate(found) == pytest.approx(weights @ mixture, abs=1e-4)
        back = moved.score([["new"]], [known])[0]
        assert back == pytest.approx(mixture @ weights, abs=1e-4)

    def test_no_item_lends_to_itself(self, model: EaseText) -> None:
        moved = self.moved(model)
        for item in ("new", "red-1"):
            assert moved.score([[item]], [[item]])[0] == pytest.approx([0], abs=1e-6)

    def test_it_is_saved_with_its_new_items(self, model: EaseText, tmp_path: Path) -> None:
        moved = self.moved(model)
        moved.save_pretrained(tmp_path / "model")
        loaded = Recommender.from_pretrained(tmp_path / "model")
        histories = Ragged.from_rows([[1, 5], [1], []])
        assert loaded.model_hash == moved.model_hash
        assert np.array_equal(scores(loaded, histories), scores(moved, histories))
        assert loaded.with_catalog(model.catalog).model_hash == model.model_hash

    def test_a_flat_index_gives_the_same_lists(self, model: EaseText) -> None:
        moved = self.moved(model)
        index = ItemIndex.build(moved.item_embeddings()[1:], moved.catalog.ids.ids, kind="flat", model_hash=moved.model_hash)
        histories = Ragged.from_rows([[1, 5], [1], []])
        assert moved.recommend(histories, 5, index=index).items == moved.recommend(histories, 5).items
        with pytest.raises(DataError, match="holds no repeat bias"):
            moved.recommend(histories, 5, index=index, exclude_seen=False)

    def test_texts_of_new_items_alone_change_vectors(self, model: EaseText) -> None:
        moved = self.moved(model)
        found = moved.vectors_with_texts(1, [moved.catalog.texts[0], "blue thing"])
        assert found is not None
        assert found[0] == pytest.approx(moved.item_embeddings()[1], abs=1e-5)
        assert np.abs(found[1] - found[0]).max() > 1e-3
        assert moved.vectors_with_texts(2, ["blue thing"]) is None

    def test_a_tuned_encoder_and_a_catalogue_without_text_are_refused(self, train: Interactions, encoder_name: str) -> None:
        with pytest.raises(ConfigError, match="frozen encoder"):
            bertrec.create("ease-text", tune="last:1")
        with pytest.raises(DataError, match="text"):
            EaseText.configured(settings={"encoder.name": encoder_name}).fit(train, progress=False)


class TestPlantedColours:
    """Sixty items of three colours whose vectors tell the colour; users stay with one. Every fifth item is new."""

    COLOURS = np.repeat(np.arange(3), 20)
    NEW = np.arange(60) % 5 == 4

    @pytest.fixture
    def catalog(self) -> ItemCatalog:
        return ItemCatalog.from_frame(pd.DataFrame({"item_id": [f"i{n}" for n in range(60)]}))

    @pytest.fixture
    def vectors(self, catalog: ItemCatalog) -> GivenVectors:
        noise = np.random.default_rng(0).normal(scale=0.05, size=(60, 3))
        return GivenVectors.of(catalog.ids.ids, (np.eye(3)[self.COLOURS] + noise).astype(np.float32))

    def made(self, vectors: GivenVectors) -> EaseText:
        model = EaseText.configured(settings={"encoder.name": "made-elsewhere.npy"})
        model.add_vectors(vectors)
        return model

    def users(self, catalog: ItemCatalog, old: npt.NDArray[np.bool_]) -> Interactions:
        draw = np.random.default_rng(1)
        rows = [draw.choice(np.flatnonzero((user % 3 == self.COLOURS) & old) + 1, 5, replace=False) for user in range(90)]
        return Interactions(catalog, IdMap([f"u{n}" for n in range(90)]), Ragged.from_rows(rows))

    def check(self, model: Recommender) -> None:
        """Each user's new items in the order of the scores: those of the user's colour come first."""
        ids = model.catalog.ids.ids
        new = [f"i{n}" for n in np.flatnonzero(self.NEW)]
        for colour in range(3):
            history = [f"i{n}" for n in np.flatnonzero((colour == self.COLOURS) & ~self.NEW)[:3]]
            found = model.score([history], [new])[0]
            assert set(np.argsort(-found)[:4]) == set(np.flatnonzero(self.COLOURS[self.NEW] == colour))
            back = model.score([[new[4 * colour]]], [ids])[0]  # a history of one new item
            best = [int(ids[row].removeprefix("i")) for row in np.argsort(-back)[:5]]
            assert set(self.COLOURS[best]) == {colour}

    def test_items_that_the_catalogue_has_and_training_lacks(self, catalog: ItemCatalog, vectors: GivenVectors) -> None:
        self.check(self.made(vectors).fit(self.users(catalog, ~self.NEW), progress=False))

    def test_items_that_come_later(self, catalog: ItemCatalog, vectors: GivenVectors) -> None:
        known = catalog.take(np.flatnonzero(~self.NEW))
        place = np.cumsum(~self.NEW)
        whole = self.users(catalog, ~self.NEW)
        train = Interactions(known, whole.users, Ragged(place[whole.sequences.values - 1], whole.sequences.offsets))
        old = known.ids.encode(catalog.ids.ids) > 0
        model = self.made(
            vectors.of([one for one, there in zip(catalog.ids.ids, old, strict=True) if there], self.part(vectors, catalog, old))
        )
        model.fit(train, progress=False)
        with pytest.raises(ModelError, match="--vectors FILE"):
            model.with_catalog(catalog)
        model.add_vectors(vectors)
        self.check(model.with_catalog(catalog))

    @staticmethod
    def part(vectors: GivenVectors, catalog: ItemCatalog, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        return vectors.encode_items(catalog)[rows]

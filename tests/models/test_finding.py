"""Likeness and search beside brute force, BM25 by its formula, and ranks joined by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import pytest
import torch

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.changes import catalog_changes
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.found import joined
from bertrec.models.idrec import IDRec
from bertrec.models.popularity import Popularity
from bertrec.retrieval.fusion import fused, rank_in
from bertrec.retrieval.neighbours import Neighbours
from bertrec.retrieval.sparse_text import BM25
from bertrec.retrieval.words import Vocabulary, words_of

TITLES = ["red boots", "blue boots", "red lamp", "", "green rug by hand", "boots boots boots"]
IDS = ["a", "b", "c", "d", "e", "f"]
ANGLES = {"red": 0.0, "blue": 0.5, "green": 1.5, "boots": 0.2, "lamp": 2.0, "rug": 2.5}


class Told(Recommender):
    """A model whose text vectors are angles of known words, and whose lists of behaviour are given."""

    name: ClassVar[str] = "told"
    lists: Neighbours | None = None

    def fit(self, train: Interactions, **options: Any) -> Self:
        self.catalog = train.catalog
        return self

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        angles = [sum(ANGLES.get(word, 0.0) for word in text.split()) for text in texts]
        return np.array([[math.cos(angle), math.sin(angle)] for angle in angles], np.float32)

    @property
    def text_vectors(self) -> FloatArray:
        return self.encode_texts(self.catalog.texts) * 3  # of any length

    @property
    def behaviour_lists(self) -> Neighbours | None:
        return self.lists

    def item_embeddings(self) -> FloatArray:
        return np.arange(len(self.catalog) + 1, dtype=np.float32)[:, None]  # later items are better

    def user_vectors(self, histories: Ragged) -> FloatArray:
        return np.ones((len(histories), 1), np.float32)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


@pytest.fixture
def catalog() -> ItemCatalog:
    return ItemCatalog(IdMap(IDS), {"title": TITLES})


@pytest.fixture
def model(catalog: ItemCatalog) -> Told:
    told = Told()
    told.catalog = catalog
    items = np.zeros((7, 2), np.int64)
    items[1] = [3, 2]  # a was taken with c, and less often with b
    told.lists = Neighbours(items, np.where(items > 0, np.array([0.9, 0.4], np.float32), np.float32(0)))
    return told


def interactions(catalog: ItemCatalog) -> Interactions:
    rows = [(user, item) for user in range(6) for item in ("a", "c", "b")]
    return Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id"]), catalog)


class TestFusion:
    def test_ranks_are_joined_as_by_hand(self) -> None:
        items, scores = fused([np.array([7, 3, 5]), np.array([3, 9])], k=60)
        assert items.tolist() == [3, 7, 9, 5]
        np.testing.assert_allclose(scores, [1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63], rtol=1e-6)

    def test_equals_stand_in_the_order_of_the_first_list(self) -> None:
        assert fused([np.array([4, 2]), np.array([2, 4])])[0].tolist() == [4, 2]

    def test_nothing_joined_is_nothing(self) -> None:
        items, scores = fused([np.zeros(0, np.int64)])
        assert (items.tolist(), scores.tolist()) == ([], [])

    def test_ranks_in_a_list(self) -> None:
        assert rank_in(np.array([7, 3]), np.array([3, 5, 7])).tolist() == [2, 0, 1]
        assert rank_in(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []


class TestWords:
    def test_words_have_no_case_and_scripts_without_spaces_are_letters(self) -> None:
        assert words_of("ＲＥＤ Straße, 10-inch") == ["red", "strasse", "10", "inch"]
        assert words_of("靴 hiking靴紐") == ["靴", "hiking", "靴", "紐"]
        assert words_of("등산화 방수") == ["등산화", "방수"]

    def test_terms_score_by_the_formula(self) -> None:
        vocabulary, rows = Vocabulary.of(TITLES)
        scores = BM25.build(rows).score_terms(vocabulary.encode("red boots unheard"))
        filled = [title.split() for title in TITLES if title]
        mean = sum(map(len, filled)) / len(filled)
        for title, score in zip(["", *TITLES], scores, strict=True):
            words, expected = title.split(), 0.0
            for term in ("red", "boots"):
                holding = sum(term in other for other in filled)
                idf = math.log(1 + (len(filled) - holding + 0.5) / (holding + 0.5))
                count = words.count(term)
                expected += idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(words) / mean)) if count else 0.0
            assert score == pytest.approx(expected, rel=1e-5)

    def test_no_known_word_scores_nothing(self) -> None:
        vocabulary, rows = Vocabulary.of(TITLES)
        assert not BM25.build(rows).score_terms(vocabulary.encode("unheard")).any()


class TestSimilar:
    def test_by_text_in_the_order_of_the_cosines(self, model: Told) -> None:
        found = model.similar("a", by="text")
        vectors = model.encode_texts(TITLES)
        cosines = {one: float(vectors[0] @ vectors[row]) for row, one in enumerate(IDS) if one not in ("a", "d")}
        assert found.items == sorted(cosines, key=lambda one: -cosines[one])
        np.testing.assert_allclose(found.scores, sorted(cosines.values(), reverse=True), rtol=1e-5)

    def test_by_behaviour_in_the_order_of_the_list(self, model: Told) -> None:
        found = model.similar("a", by="behaviour")
        assert found.items == ["c", "b"]
        np.testing.assert_allclose(found.scores, [0.9, 0.4])

    def test_by_both_joins_the_ranks(self, model: Told) -> None:
        found = model.similar("a", 2, by="both")
        by_text = model.similar("a", by="text").items
        expected = {one: 1 / (61 + row) for row, one in enumerate(by_text)}
        for row, one in enumerate(["c", "b"]):
            expected[one] += 1 / (61 + row)
        assert found.items == sorted(expected, key=lambda one: -expected[one])[:2]
        np.testing.assert_allclose(found.scores, sorted(expected.values(), reverse=True)[:2], rtol=1e-6)
        assert found.ranks["text"] == [by_text.index(one) + 1 for one in found.items]
        assert model.similar("a").ranks.keys() == {"text", "behaviour"}

    def test_of_an_item_that_is_new_or_bare_what_is_known_counts(self, model: Told) -> None:
        assert model.similar("b").ranks.keys() == {"text"}
        with pytest.raises(DataError, match="saw nobody take item 'b'"):
            model.similar("b", by="both")
        with pytest.raises(DataError, match="item 'd' has no text"):
            model.similar("d", by="text")
        with pytest.raises(DataError, match="neither its text nor who took it"):
            model.similar("d")

    def test_withdrawn_items_are_not_shown(self, model: Told) -> None:
        model.catalog = catalog_changes(model.catalog, model.catalog.take([0, 1, 3, 4, 5])).catalog
        assert model.similar("a", by="behaviour").items == ["b"]
        assert "c" not in model.search("red lamp").items

    def test_an_id_model_knows_behaviour_alone(self, catalog: ItemCatalog) -> None:
        settings = {"train.epochs": 1, "item.width": 8, "match.behaviour": 0, "match.solved": 0}
        fitted = IDRec.configured(settings=settings).fit(interactions(catalog), progress=False)
        assert sorted(fitted.similar("a").items) == ["b", "c"]  # nobody took the others
        vectors = fitted.network.tower.id.weight.detach().numpy()
        unit = vectors[1:4] / np.linalg.norm(vectors[1:4], axis=1, keepdims=True)
        np.testing.assert_allclose(sorted(fitted.similar("a").scores), sorted(unit[1:] @ unit[0]), rtol=1e-4)
        with pytest.raises(ModelError, match="this IDRec reads no text: ask it for likeness by behaviour"):
            fitted.similar("a", by="text")
        with pytest.raises(ModelError, match="this IDRec reads no text: search with a model of text"):
            fitted.search("red boots")

    def test_popularity_knows_no_likeness(self, catalog: ItemCatalog) -> None:
        fitted = Popularity().fit(interactions(catalog))
        with pytest.raises(ModelError, match="has learned of no behaviour"):
            fitted.similar("a", by="behaviour")

    @pytest.mark.parametrize(
        ("words", "error", "said"),
        [
            ({"item": "x"}, DataError, "item 'x' is not in the catalogue"),
            ({"item": "a", "by": "txt"}, ConfigError, "did you mean 'text'"),
            ({"item": "a", "k": 0}, DataError, "k must be a whole number of at least 1"),
        ],
    )
    def test_bad_calls(self, model: Told, words: dict[str, Any], error: type[Exception], said: str) -> None:
        with pytest.raises(error, match=said):
            model.similar(**words)


class TestSearch:
    def test_meaning_and_words_are_joined(self, model: Told, catalog: ItemCatalog) -> None:
        found = model.search("red boots")
        vectors, query = model.encode_texts(TITLES), model.encode_texts(["red boots"])[0]
        meaning = sorted((one for one in IDS if one != "d"), key=lambda one: -float(vectors[IDS.index(one)] @ query))
        vocabulary, rows = Vocabulary.of(TITLES)
        scores = BM25.build(rows).score_terms(vocabulary.encode("red boots"))[1:]
        words = [IDS[row] for row in np.argsort(-scores, kind="stable") if scores[row] > 0]
        expected = {one: sum(1 / (61 + order.index(one)) for order in (meaning, words) if one in order) for one in meaning}
        assert found.items == sorted(expected, key=lambda one: -expected[one])
        assert found.items[0] == "a"
        assert found.ranks["words"] == [words.index(one) + 1 if one in words else 0 for one in found.items]

    def test_a_user_is_a_third_list(self, model: Told) -> None:
        found = model.search("red boots", history=["a"])
        by_taste = ["f", "e", "c", "b", "a"]  # of what was found, later items are better
        assert found.ranks["user"] == [by_taste.index(one) + 1 for one in found.items]

    def test_words_that_nobody_wrote_are_found_by_meaning(self, model: Told) -> None:
        found = model.search("crimson")
        assert set(found.items) == {"a", "b", "c", "e", "f"}
        assert set(found.ranks["words"]) == {0}

    def test_small_words_count_where_nothing_else_is_said_alone(self, model: Told) -> None:
        assert set(model.search("something by the river").ranks["words"]) == {0}  # "by" stands in one title
        assert model.search("by").ranks["words"][model.search("by").items.index("e")] == 1
        assert model.search("by hand").ranks["words"] == model.search("hand").ranks["words"]

    def test_one_searcher_answers_many(self, model: Told) -> None:
        searcher = model.searcher()
        assert searcher.search("rug", 1).items == ["e"] == model.search("rug", 1).items

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ({"query": "  "}, "an empty query"),
            ({"query": 3}, "search: query is"),
            ({"query": "rug", "k": 0}, "k must be"),
            ({"query": "rug", "history": "a"}, "give \\['a'\\]"),
            ({"query": "rug", "history": ["x"]}, "none of its 1 items is in the catalogue"),
        ],
    )
    def test_bad_calls(self, model: Told, words: dict[str, Any], said: str) -> None:
        with pytest.raises(DataError, match=said):
            model.search(**words)


def test_one_list_keeps_its_own_scores(catalog: ItemCatalog) -> None:
    values = np.array([-np.inf, 0.5, 0.5, 2.0, -np.inf, 0.1, 0.2], np.float32)
    found = joined(catalog, {"text": values}, 3)
    assert (found.items, found.scores) == (["c", "a", "b"], [2.0, 0.5, 0.5])

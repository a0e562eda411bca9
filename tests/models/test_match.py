"""The match with a history's items: its formula, its weights, and where it goes with a model."""

from __future__ import annotations

import importlib
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bertrec
from bertrec.core.lifts import Lifts
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.changes import catalog_changes
from bertrec.data.splits import EvaluationSet, Split
from bertrec.evaluation.by_vectors import evaluate_vectors
from bertrec.evaluation.protocol import Protocol
from bertrec.models.base import Recommender
from bertrec.models.sequential import matching, solved, weighing
from bertrec.models.sequential.lent import LentVectors
from bertrec.models.sequential.match import Match, Weights, seldom_of
from bertrec.models.sequential.neural import NeuralRecommender
from bertrec.models.sequential.tried import NEAR, Tried
from bertrec.models.sequential.weighing import Told, _climb
from bertrec.models.unisrec import UniSRec
from bertrec.retrieval.neighbours import Neighbours

WEIGHTS = Weights(text=1.5, new_text=4.0, new=-0.5, behaviour=2.0, new_vector=0.5, solved=0.7, seldom=0.6, new_near=0.3, whole_from=1.0)


@pytest.fixture(scope="module")
def model(split: Split, small: dict[str, Any]) -> NeuralRecommender:
    """A model whose weights are set by hand, so that every part of the formula counts."""
    fitted = UniSRec.configured(settings=small | {"train.epochs": 2, "match.text": 6, "match.behaviour": 4, "match.solved": 5})
    fitted.fit(split.train, validation=split.validation, progress=False)
    assert fitted.match is not None
    fitted.take_match(replace(fitted.match, weights=WEIGHTS))
    return fitted


def by_hand(model: NeuralRecommender, histories: Ragged, counts: np.ndarray) -> np.ndarray:
    match = model.match
    assert match is not None
    assert match.text is not None
    assert match.behaviour is not None
    assert match.solved is not None
    scores = model.user_embeddings(histories) @ model.item_embeddings().T + 0.0
    for row, history in enumerate(histories):
        text, behaviour, solved = np.zeros((3, scores.shape[1]))
        for age, item in enumerate(history[::-1][:20]):
            for lists, total, decay in ((match.text, text, 0.75), (match.behaviour, behaviour, 0.9), (match.solved, solved, 0.9)):
                for near, strength in zip(lists.items[item], lists.strengths[item], strict=True):
                    total[near] += strength * decay**age if near else 0
        new = ~match.trained
        lift = np.maximum(np.where(new, 4.0, 1.5) * text - 0.5 * (new & (text > 0)), 0) + 2.0 * behaviour + 0.7 * solved
        scores[row] += lift * (1 + 0.6 * (counts > 0) / (1 + (counts / 8) ** 4))
        for item in set(history.tolist()):
            scores[row, item] += model.repeat_bias
    return scores


def test_scores_are_inner_products_and_what_the_lists_add(model: NeuralRecommender, split: Split) -> None:
    histories = Ragged.from_rows([[1, 2, 7, 2], [12], [19, 3, 4, 5]])
    found = next(iter(model.score_all(histories)))
    wanted = by_hand(model, histories, split.train.item_counts)
    assert found[:, 1:] == pytest.approx(wanted[:, 1:], abs=1e-4)
    pairs = model.score(histories, Ragged.from_rows([[3, 4], [5], [6, 7]]))
    chosen = [wanted[at] for at in ((0, 3), (0, 4), (1, 5), (2, 6), (2, 7))]
    assert np.concatenate(pairs) == pytest.approx(np.array(chosen), abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, 6), max_size=9), min_size=1, max_size=5), st.integers(1, 6))
def test_lists_of_behaviour_are_counts_of_pairs(rows: list[list[int]], m: int) -> None:
    counts, taken = np.zeros((7, 7)), np.bincount([item for row in rows for item in row], minlength=7) + 2.0
    for row in rows:
        for one in range(len(row)):
            for other in range(one + 1, len(row)):
                if row[one] != row[other] and other - one <= 3:
                    counts[row[one], row[other]] += 0.8 ** (other - one - 1)
    strengths = (counts + counts.T) / taken[:, None] ** 0.5 / taken[None] ** 0.4
    found = Neighbours.together(Ragged.from_rows(rows), 6, m, window=3)
    for item in range(7):
        wanted = sorted(strengths[item][strengths[item] > 0].tolist(), reverse=True)[:m]
        assert found.strengths[item][found.strengths[item] > 0].tolist() == pytest.approx(wanted, rel=1e-5)
        for near, strength in zip(found.items[item], found.strengths[item], strict=True):
            assert strength == pytest.approx(strengths[item, near] if near else 0.0, rel=1e-5)


def test_lists_lose_what_is_gone_and_move_with_their_ids() -> None:
    lists = Neighbours(np.array([[0, 0], [2, 3], [3, 1], [1, 2]]), np.array([[0, 0], [1, 0.5], [1, 0.5], [1, 0.5]], np.float32))
    gone = lists.without(np.array([False, False, True, False]))
    assert gone.items.tolist() == [[0, 0], [0, 3], [0, 0], [1, 0]]
    assert gone.strengths.tolist() == [[0, 0], [0, 0.5], [0, 0], [1, 0]]
    moved = lists.over(np.array([0, 3, 0, 1]))  # the third item, a new one, the first
    assert moved.items.tolist() == [[0, 0], [3, 0], [0, 0], [0, 1]]
    assert moved.strengths.tolist() == [[0, 0], [1, 0], [0, 0], [0, 0.5]]


def test_the_climb_finds_the_top_and_what_helps_nobody_is_left_out() -> None:
    def goal(weights: Weights) -> float:
        return -((np.log2(max(weights.text, 1e-9)) - 2) ** 2) - weights.behaviour

    found = _climb(Weights(text=1.0, behaviour=3.0), ["text", "behaviour"], goal)
    assert found == Weights(text=4.0, behaviour=0.0)


def test_it_is_saved_and_folders_without_it_are_read(model: NeuralRecommender, folder: Path) -> None:
    model.save_pretrained(folder)
    loaded = Recommender.from_pretrained(folder)
    histories = Ragged.from_rows([[1, 2], [9]])
    assert np.array_equal(next(iter(loaded.score_all(histories))), next(iter(model.score_all(histories))))
    assert loaded.model_hash == model.model_hash
    plain = type(model)(model.config)
    plain.catalog = model.catalog
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("match.")})
    assert plain.match is None
    assert plain.model_hash != model.model_hash


def test_a_match_saved_with_fewer_weights_is_read() -> None:
    match = Match(None, None, np.array([False, True]), WEIGHTS)
    state = match.state_dict()
    assert Match.from_state(state, match.trained) == match
    former = {"new_near": 0.0, "whole_from": 0.0}
    for told, missing in ((7, {"new_vector": 1.0, "solved": 0.0, "seldom": 0.0}), (8, {"solved": 0.0, "seldom": 0.0}), (10, {})):
        old = Match.from_state({"match.numbers": state["match.numbers"][:told]}, match.trained)
        assert old is not None
        assert old.weights == WEIGHTS.with_(**former | missing)


def test_a_new_item_is_lifted_by_its_text_alone(model: NeuralRecommender) -> None:
    old = model.catalog
    frame = pd.DataFrame(
        {
            "item_id": ["new", *old.ids.ids[::-1]],
            "title": ["red thing number9", *old.titles[::-1]],
            "colour": ["red", *old.fields["colour"][::-1]],
        }
    )
    moved = model.with_catalog(ItemCatalog.from_frame(frame))
    assert moved.match is not None
    assert moved.match.weights == WEIGHTS
    assert not moved.match.trained[1]
    assert moved.match.behaviour is not None
    assert not (moved.match.behaviour.items == 1).any()
    ids = old.ids.ids
    strength = {  # of behaviour, by external ids
        (ids[item - 1], ids[near - 1]): value
        for item, row in enumerate(model.match.behaviour.items)  # type: ignore[union-attr]
        for near, value in zip(row, model.match.behaviour.strengths[item], strict=True)  # type: ignore[union-attr]
        if near
    }
    new_ids = moved.catalog.ids.ids
    carried = {
        (new_ids[item - 1], new_ids[near - 1]): value
        for item, row in enumerate(moved.match.behaviour.items)
        for near, value in zip(row, moved.match.behaviour.strengths[item], strict=True)
        if near
    }
    assert carried == strength
    rows = old.ids.encode(new_ids)
    assert moved.match.seldom is not None
    assert model.match is not None
    assert model.match.seldom is not None
    assert moved.match.seldom[1:].tolist() == [model.match.seldom[row] if row else 0.0 for row in rows]
    assert moved.match.solved is not None
    assert model.match.solved is not None
    assert moved.match.solved.strengths[1:].sum() == pytest.approx(model.match.solved.strengths.sum())
    assert not (moved.match.solved.items == 1).any()
    red = moved.catalog.ids.encode(["red-0"])[0]
    lifts = moved.lifts(Ragged.from_rows([[int(red)]]))
    assert lifts is not None
    assert moved.match.text is not None
    near = 1 in moved.match.text.items[red]
    assert (lifts.of(np.array([0]), np.array([1]))[0] > 0) == near


def test_the_vector_of_a_new_item_leans_on_the_nearest_known_ones() -> None:
    """Of four known items three lend to item 5, by the squares of their cosines; 7 has no text and 9 none that is near."""
    texts = np.array([[1, 0], [0, 0], [-1, -1]], np.float32)
    known_texts = np.array([[0, 1], [0.6, 0.8], [2, 0], [0.8, 0.6], [0, 0]], np.float32)
    known_vectors = np.array([[9, 9], [1, 0], [0, 1], [2, 2], [7, 7]], np.float32)
    lent = LentVectors.of(texts, np.array([5, 7, 9]), known_texts, known_vectors)
    assert lent is not None
    assert lent.items.tolist() == [5]
    mean = (0.36 * known_vectors[1] + 1.0 * known_vectors[2] + 0.64 * known_vectors[3]) / 2.0
    assert np.allclose(lent.vectors, [mean], atol=1e-6)
    match = Match(None, None, np.zeros(10, bool), Weights(new_vector=0.5, new_near=0.25), lent=lent)
    own = np.array([[0, -1], [-1, 0], [3, 3]], np.float32)
    wanted = 0.5 * np.array([0.75 * own[0] + 0.25 * mean, own[1], own[2]])
    assert np.allclose(match.served(own, np.array([5, 9, 2])), wanted, atol=1e-6)
    assert np.allclose(replace(match, lent=None).served(own, np.array([5, 9, 2])), 0.5 * own)
    loaded = Match.from_state(match.state_dict(), match.trained)
    assert loaded is not None
    assert np.allclose(loaded.served(own, np.array([5, 9, 2])), wanted, atol=1e-6)


@pytest.mark.parametrize("known", [0, 1, 2])
def test_fewer_known_items_than_lend(known: int) -> None:
    texts, vectors = np.eye(2, dtype=np.float32)[:known], np.arange(4, dtype=np.float32).reshape(2, 2)[:known]
    lent = LentVectors.of(np.array([[0.6, 0.8]], np.float32), np.array([3]), texts, vectors)
    if lent is None:
        assert known == 0
    else:
        shares = np.array([0.36, 0.64])[:known]
        assert np.allclose(lent.vectors, [shares @ vectors / shares.sum()])


def test_a_new_item_has_the_same_vector_in_any_catalogue(model: NeuralRecommender) -> None:
    """Beside all known items, beside a few, and alone, as where new items are encoded in parts."""
    frame = pd.DataFrame({"item_id": ["new", "newer"], "title": ["red thing number9", "blue thing number3"], "colour": ["red", "blue"]})
    new, old = ItemCatalog.from_frame(frame), model.catalog
    whole = model.with_catalog(catalog_changes(old, new, delta=True).catalog)
    wanted = whole.item_embeddings()[whole.catalog.ids.encode(["new", "newer"])]
    assert not np.allclose(wanted, 0.5 * whole.own_vectors()[whole.catalog.ids.encode(["new", "newer"])])
    assert np.allclose(model.with_catalog(new).item_embeddings()[1:], wanted, atol=1e-6)
    alone = model.with_catalog(ItemCatalog.from_frame(frame[1:]))
    assert np.allclose(alone.item_embeddings()[1], wanted[1], atol=1e-6)


def test_what_is_lent_goes_along_through_catalogues_without_a_lender(model: NeuralRecommender) -> None:
    """A model over new items alone knows nobody who could lend again. A text that changes there is lent nothing."""
    frame = pd.DataFrame({"item_id": ["new", "newer"], "title": ["red thing number9", "blue thing number3"], "colour": ["red", "blue"]})
    alone = model.with_catalog(ItemCatalog.from_frame(frame))
    wanted = alone.item_embeddings()[1:]
    third = pd.DataFrame({"item_id": ["other", "newer", "new"], "title": ["green thing", *frame["title"][::-1]], "colour": "green"})
    third.loc[1:, "colour"] = ["blue", "red"]
    moved = alone.with_catalog(ItemCatalog.from_frame(third))
    assert np.allclose(moved.item_embeddings()[2:], wanted[::-1], atol=1e-6)
    assert moved.match is not None
    assert moved.match.lent is not None
    assert moved.match.lent.items.tolist() == [2, 3]
    changed = alone.with_catalog(ItemCatalog.from_frame(frame.assign(title=["blue", "blue thing number3"])))
    assert changed.match is not None
    assert changed.match.lent is not None
    assert changed.match.lent.items.tolist() == [2]


def test_lent_vectors_go_with_the_ids_and_join() -> None:
    lent = LentVectors(np.array([2, 5]), np.array([[1, 2], [3, 4]], np.float32))
    moved = lent.over(np.array([0, 5, 0, 7, 2]))
    assert moved is not None
    assert moved.items.tolist() == [1, 4]
    assert moved.vectors.tolist() == [[3, 4], [1, 2]]
    assert lent.over(np.array([0, 1, 3])) is None
    joined = lent.joined(LentVectors(np.array([1, 5, 9]), np.array([[7, 7], [8, 8], [9, 9]], np.float32)))
    assert joined.items.tolist() == [1, 2, 5, 9]
    assert joined.vectors.tolist() == [[7, 7], [1, 2], [3, 4], [9, 9]]


def test_an_offset_is_added_in_proportion_up_to_its_strength_and_asks_for_one_below_zero() -> None:
    strengths, new = np.array([0.2, 1.0, 3.0, 0.2], np.float32), np.array([True, True, True, False])
    assert Weights(text=5.0, new_text=2.0, new=4.0).lift_of_text(strengths, new) == pytest.approx([4.4, 6.0, 10.0, 1.0])
    risen = Weights(text=5.0, new_text=2.0, new=4.0, whole_from=0.5)
    assert risen.lift_of_text(strengths, new) == pytest.approx([2.0, 6.0, 10.0, 1.0])
    assert risen.with_(new=-1.0).lift_of_text(strengths, new) == pytest.approx([0.0, 1.0, 5.0, 1.0])


@pytest.mark.parametrize("item_input", ["text", "text+id"])
def test_over_other_items_training_saw_what_it_saw(split: Split, small: dict[str, Any], item_input: str) -> None:
    """Else all items would have the weights of new ones after an update of the catalogue."""
    part = split.train.where(split.train.sequences.values != 7)
    fitted = bertrec.create("unisrec", item_input=item_input, settings=small | {"train.epochs": 1}).fit(part, progress=False)
    assert np.flatnonzero(~fitted.with_catalog(split.catalog).items_trained()).tolist() == [0, 7]


def test_what_the_settings_leave_out_is_left_out(split: Split, small: dict[str, Any]) -> None:
    def match_of(name: str, **more: Any) -> Match | None:
        model = bertrec.create(name, settings=small | {"train.epochs": 1} | more)
        assert isinstance(model, NeuralRecommender)
        return model.fit(split.train, validation=split.validation, progress=False).match

    ids = match_of("idrec")
    assert ids is not None
    assert ids.text is None
    texts = match_of("unisrec", **{"item.input": "text"})
    assert texts is not None
    assert texts.behaviour is None
    assert texts.solved is None
    assert ids.solved is not None
    without = match_of("unisrec", **{"match.solved": 0})
    assert without is not None
    assert without.solved is None
    assert match_of("unisrec", **{"match.text": 0, "match.behaviour": 0, "match.solved": 0}) is None
    paper = UniSRec.paper_config().match
    assert (paper.text, paper.behaviour, paper.solved) == (0, 0, 0)


def test_the_linear_lists_are_those_of_ease_and_of_ease_text(split: Split, small: dict[str, Any]) -> None:
    """The models of these names keep all their weights: the largest of each row are read from there."""
    encoder = {name: value for name, value in small.items() if name.startswith("encoder.")}
    for name, like in (("unisrec", "ease-text"), ("idrec", "ease")):
        fitted = bertrec.create(name, settings=small | {"train.epochs": 1, "match.solved": 4}).fit(
            split.train, validation=split.validation, progress=False
        )
        assert isinstance(fitted, NeuralRecommender)
        assert fitted.match is not None
        assert fitted.match.solved is not None
        linear = bertrec.create(like, settings=encoder if like == "ease-text" else {})
        table = linear.fit(split.train, progress=False).behaviour_lists
        assert table is not None
        wanted = Neighbours(table.items[:, :4], table.strengths[:, :4]).scaled()
        assert np.allclose(fitted.match.solved.strengths, wanted.strengths, atol=1e-4)


def test_a_large_catalogue_and_a_small_memory_have_no_linear_lists(
    split: Split, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="bertrec")
    assert solved.solved_lists(split.train, None, 5) is not None
    with monkeypatch.context() as patch:
        patch.setattr(solved, "MOST", 5)
        assert solved.solved_lists(split.train, None, 5) is None
    assert "5 at most" in caplog.text
    memory = namedtuple("memory", "available")(100)
    monkeypatch.setattr(importlib.import_module("bertrec.models.item_weights").psutil, "virtual_memory", lambda: memory)
    assert solved.solved_lists(split.train, None, 5) is None
    assert "match.solved is left out" in caplog.text


def test_items_seldom_seen_gain_where_enough_users_want_them() -> None:
    """Twenty users want an item that training saw once and whose lift is half of what it needs; twenty want none that a lift moves."""
    items = np.array([[0, 0], [1, 0], [0, 1], [0, 0.5], [0, 0.9]], np.float32)  # 1 history, 3 seldom and near
    lists = Neighbours(np.array([[0], [3], [0], [0], [0]]), np.array([[0], [1], [0], [0], [0]], np.float32))
    counts = np.array([0, 9, 99, 1, 99])
    match = Match(lists, None, counts > 0, seldom=seldom_of(counts))
    targets = Ragged.from_rows([[3]] * 20 + [[2]] * 20)
    data = EvaluationSet(list(range(40)), Ragged.from_rows([[1]] * 40), targets)
    users = np.array([[0, 2.0]] * 40, np.float32)
    tried = Tried.of(match, data, Protocol(bootstrap=0), counts, users=users, items=items, extra=None)
    plain, risen = Weights(text=0.6), Weights(text=0.6, seldom=1.0)
    place = {0: 3, 1: 2}  # 1.6 of the target against 2 and 1.8; risen by nearly a half it is second: 1 + 1.2 to 2
    figures = [float(np.mean(tried.figures(one)[:20])) for one in (plain, risen)]
    assert figures == pytest.approx([1 / np.log2(1 + place[0]), 1.0], abs=1e-6)
    found = weighing.weigh(tried, counts)
    assert found.text * (1 + found.seldom) > 1.0


def test_where_hardly_anyone_wants_an_item_seldom_seen_the_linear_list_has_no_weight() -> None:
    """The wanted item is lifted by the linear list alone: it gets a weight where training saw it once, and none where often."""
    items = np.array([[0, 0], [1, 0], [0, 1], [0, 0.5]], np.float32)  # 1 history, 3 wanted
    lists = Neighbours(np.array([[0], [3], [0], [0]]), np.array([[0], [1], [0], [0]], np.float32))
    data = EvaluationSet(list(range(40)), Ragged.from_rows([[1]] * 40), Ragged.from_rows([[3]] * 40))
    users = np.array([[0, 2.0]] * 40, np.float32)
    for seen, weighed in ((1, True), (50, False)):
        counts = np.array([0, 9, 99, seen])
        match = Match(None, None, counts > 0, solved=lists, seldom=seldom_of(counts))
        tried = Tried.of(match, data, Protocol(bootstrap=0), counts, users=users, items=items, extra=None)
        found = weighing.weigh(tried, counts)
        assert (found.solved > 0) == weighed
        assert weighed or found == Weights()


def test_a_linear_model_that_would_have_no_weight_is_not_solved(
    split: Split, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the training nor by the one that tells the weights of new items; the lists and weights are the same as with it."""
    asked: list[int] = []
    solve = matching.solved_lists
    monkeypatch.setattr(matching, "solved_lists", lambda *given: asked.append(1) or solve(*given))
    monkeypatch.setattr(weighing, "FEWEST_NEW", 1)

    def fitted(**settings: int) -> Match:
        model = UniSRec.configured(settings=small | {"train.epochs": 2} | settings)
        match = model.fit(split.train, validation=split.validation, progress=False).match
        assert match is not None
        return match

    assert fitted().solved is not None
    solved_before = len(asked)
    assert solved_before > 1
    monkeypatch.setattr(weighing, "LEAST_FEW", 2.0)
    never, left_out = fitted(), fitted(**{"match.solved": 0})
    assert len(asked) == solved_before
    assert never.solved is None
    assert never.weights == left_out.weights


def test_without_validation_users_nothing_is_weighed(split: Split, small: dict[str, Any]) -> None:
    model = UniSRec.configured(settings=small | {"train.epochs": 1}).fit(split.train, progress=False)
    assert model.match is None
    assert model.lifts(Ragged.from_rows([[1]])) is not None  # the repeat bias


def test_new_items_are_weighed_by_a_training_without_some(
    split: Split, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A tenth of twenty items is two; with the bound on users lowered their users are enough."""
    monkeypatch.setattr(weighing, "FEWEST_NEW", 1)
    caplog.set_level("INFO", logger="bertrec")

    def fitted(choice: str) -> NeuralRecommender:
        caplog.clear()
        model = UniSRec.configured(settings=small | {"train.epochs": 4, "match.new_items": choice})
        return model.fit(split.train, validation=split.validation, progress=False)

    off, balanced, again, promote = (fitted(choice) for choice in ("off", "balanced", "balanced", "promote"))
    assert "without a tenth of the items" in caplog.text
    assert off.match is not None
    assert off.match.weights.new_text == off.match.weights.text
    assert balanced.match is not None
    assert again.match is not None
    assert promote.match is not None
    assert balanced.match.weights == again.match.weights
    for_others = {"new_text": 0.0, "new": 0.0, "new_vector": 1.0, "new_near": 0.0, "whole_from": 0.0}
    assert balanced.match.weights.with_(**for_others) == off.match.weights.with_(**for_others)
    assert (off.match.weights.new_vector, off.match.weights.new_near) == (1.0, 0.0)
    assert off.state_dict().keys() == balanced.state_dict().keys()
    weights = {name: value for name, value in off.state_dict().items() if not name.startswith("match.")}
    assert all(torch.equal(value, balanced.state_dict()[name]) for name, value in weights.items())


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=30, deadline=None)
def test_what_is_tried_is_what_a_ranking_of_all_items_gives(seed: int, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    n, items = 30, 60
    vectors = rng.normal(size=(items + 1, 4)).astype(np.float32)
    near, strengths = rng.integers(0, items + 1, (items + 1, 5)), rng.random((items + 1, 5)).astype(np.float32)
    for row, found in enumerate(near):  # each neighbour once, 0 where there are no more
        once = np.unique(found[found > 0])
        near[row] = np.pad(once, (0, 5 - len(once)))
    strengths[near == 0] = 0
    trained = rng.random(items + 1) < 0.7
    vectors[rng.choice(np.flatnonzero(~trained), 3)] = np.nan
    lists = Neighbours(near, strengths)
    w = Weights(*rng.uniform(0, 3, 2), rng.uniform(-1, 1), rng.uniform(0, 3), rng.uniform(0.2, 1), *rng.uniform(0, 2, 2))
    w = w.with_(new_near=rng.choice([0.0, NEAR]), whole_from=rng.choice([0.0, 1.0]))
    some = (lists if rng.random() < 0.5 else None for _ in range(2))
    new = np.flatnonzero(~trained)
    lent = LentVectors(new[1:], rng.normal(size=(len(new) - 1, 4)).astype(np.float32))
    seldom = seldom_of(rng.integers(0, 20, items + 1) * trained)
    match = Match(lists, next(some), trained, w, solved=next(some), seldom=seldom, lent=lent)
    histories = Ragged.from_rows([rng.integers(1, items + 1, rng.integers(0, 6)).tolist() for _ in range(n)])
    targets = Ragged.from_rows([rng.integers(1, items + 1, rng.integers(1, 4)).tolist() for _ in range(n)])
    data, users = EvaluationSet(list(range(n)), histories, targets), rng.normal(size=(n, 4)).astype(np.float32)
    rules, counts = Protocol(bootstrap=0, mask_seen=masked), np.ones(items + 1, np.int64)
    extra = Lifts.constant(histories, -0.7)
    tried = Tried.of(match, data, rules, counts, users=users, items=vectors, extra=extra)
    moved = vectors.copy()
    moved[new] = match.served(vectors[new], new)
    lifts = Lifts.joined([match.lifts(histories), extra])
    report = evaluate_vectors([(users, lifts)], moved, data, rules.updated({"ks": (10,)}), counts)
    figures = tried.figures(w)
    assert np.allclose(figures[~np.isnan(figures)], report.per_user("NDCG@10"), atol=1e-6)


def test_new_items_go_as_high_as_others_can_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty users want a new item that lies near their history, twenty an old one that a match would push down: by hand."""
    monkeypatch.setattr(weighing, "ENOUGH", 20)
    items = np.array([[0, 0], [1, 0], [0, 1], [0.9, 0]], np.float32)  # 1 history, 2 old and wanted, 3 new and near
    lists = Neighbours(np.array([[0], [3], [0], [0]]), np.array([[0], [1], [0], [0]], np.float32))
    match = Match(lists, None, np.array([False, True, True, False]))
    histories = Ragged.from_rows([[1]] * 40)
    targets = Ragged.from_rows([[3]] * 20 + [[2]] * 20)
    users = np.array([[0, 2.0]] * 40, np.float32)
    data = EvaluationSet(list(range(40)), histories, targets)
    given = {"items": items, "extra": None}
    tried = Tried.of(match, data, Protocol(bootstrap=0), np.array([0, 9, 9, 0]), users=users, **given)
    wanting = Tried.of(match, data.take(np.arange(20)), Protocol(bootstrap=0), np.array([0, 9, 9, 0]), users=users[:20], **given)
    for cost, above in ((0.03, False), (0.5, True)):
        found = weighing.weigh_new(Told.of(tried, wanting), Weights(text=1.0), cost=cost)
        figures = tried.figures(found)
        assert (found.new_text + found.new > 2.0) == above  # the old item scores 2, the new one 0 and its lift
        assert figures[:20].mean() == pytest.approx(1.0 if above else 1 / np.log2(3))
        assert figures[20:].mean() == pytest.approx(1 / np.log2(3) if above else 1.0)


def row_of_old_ones(new: int, wanting: int, n: int = 40) -> Callable[[np.ndarray], Tried]:
    """Return what gives rows of ``n`` users: after item 1 come eleven old items, the best of them wanted, and near to 1 ``new`` ones."""
    old, fresh = np.arange(2, 13), np.arange(13, 13 + new)
    items = np.zeros((13 + new, 2), np.float32)
    items[old, 1] = np.linspace(1, 0.1, len(old))
    near = np.zeros((len(items), new), np.int64)
    near[1] = fresh
    match = Match(Neighbours(near, (near > 0).astype(np.float32)), None, np.arange(len(items)) < 13)
    counts = np.where(match.trained, 9, 0)
    targets = Ragged.from_rows([[13]] * wanting + [[2]] * (n - wanting))
    data = EvaluationSet(list(range(n)), Ragged.from_rows([[1]] * n), targets)

    def tried(rows: np.ndarray) -> Tried:
        users = np.array([[0, 2.0]] * len(rows), np.float32)
        return Tried.of(match, data.take(rows), Protocol(bootstrap=0), counts, users=users, items=items, extra=None)

    return tried


@pytest.mark.parametrize(("wanting", "enough", "first"), [(4, 300, True), (2, 300, False), (4, 4, False)])
def test_a_few_users_give_new_items_the_places_that_are_due(
    monkeypatch: pytest.MonkeyPatch, wanting: int, enough: int, first: bool
) -> None:
    """One new item among eleven old ones has a tenth of the places wherever it stands; the others want the old item that it passes."""
    monkeypatch.setattr(weighing, "ENOUGH", enough)
    tried = row_of_old_ones(1, wanting)
    told = Told.of(tried(np.arange(40)), tried(np.arange(wanting)))
    found = weighing.weigh_new(told, Weights(text=1.0), cost=0.03)
    assert told.figures_of_new(found).mean() == pytest.approx(1.0 if first else 1 / np.log2(3))
    assert told.share_of_lists(found) == pytest.approx(0.1)


@pytest.mark.parametrize("new", [1, 5])
def test_in_a_catalogue_with_more_new_items_they_are_held_back(new: int) -> None:
    """One new item takes a tenth of the places, as is due; five would take half, and the first of the old ones would be the sixth."""
    few, many = row_of_old_ones(1, 4), row_of_old_ones(new, 0)
    told = Told.of(few(np.arange(40)), few(np.arange(4)))
    found = weighing.weigh_new(told, Weights(text=1.0), cost=0.03)
    whole = many(np.arange(40))
    held = weighing.held_back(whole, told, found, cost=0.03)
    assert whole.figures(found).mean() == pytest.approx(1 / np.log2(2 + new))
    assert (held == found) == (new == 1)
    if new > 1:
        assert whole.figures(held).mean() == 1.0
        assert held.new < found.new


def test_further_parts_are_kept_from_training_where_one_has_few_users(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation = split.train, split.validation
    assert validation is not None
    monkeypatch.setattr(weighing, "FEWEST_NEW", 1)

    def gone(parts: list[tuple[Any, EvaluationSet]]) -> list[np.ndarray]:
        return [np.flatnonzero((train.item_counts > 0) & (part.item_counts == 0)) for part, _ in parts]

    several = gone(weighing.parts_kept(train, validation, 0))
    assert len(several) == weighing.MOST_PARTS
    assert len(np.unique(np.concatenate(several))) == sum(map(len, several)) == 2 * weighing.MOST_PARTS  # of twenty items
    monkeypatch.setattr(weighing, "MOST_ROWS", len(train.sequences.values))
    assert [part.tolist() for part in gone(weighing.parts_kept(train, validation, 0))] == [several[0].tolist()]
    monkeypatch.setattr(weighing, "FEWEST_NEW", 10_000)
    assert weighing.parts_kept(train, validation, 0) == []


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_handful_of_items_is_trained_on(small: dict[str, Any], monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Of two none can be left out, of three and four one at a time, and no part is without an item."""
    monkeypatch.setattr(weighing, "FEWEST_NEW", 1)
    monkeypatch.setattr(weighing, "LEAST_SHARE", 0.0)
    rows = [(f"u{user}", f"i{(user + step) % n}", step) for user in range(12) for step in range(4)]
    items = pd.DataFrame({"item_id": [f"i{k}" for k in range(n)], "title": ["red shoe", "blue shoe", "green hat", "old hat"][:n]})
    made = bertrec.make_split(bertrec.load(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), items=items))
    train, validation = made.train, made.validation
    assert validation is not None
    parts = weighing.parts_kept(train, validation, 0)
    assert len(parts) <= n // 2 * (n > 2)
    for part, _ in parts:
        assert 2 <= np.count_nonzero(part.item_counts) < n
    model = UniSRec.configured(settings=small | {"train.epochs": 1})
    model.fit(train, validation=validation, progress=False, mask_seen=False)
    assert model.recommend([["i0"]], k=1).items[0] != ["i0"]


def test_what_is_noted_of_new_items_is_of_the_weights_that_serve(
    split: Split, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weighing, "FEWEST_NEW", 1)
    monkeypatch.setattr(matching, "held_back", lambda tried, told, weights, cost: weights.with_(new_text=0.0, new=0.0, new_vector=1.0))
    monkeypatch.setattr(matching, "weigh_new", lambda told, weights, cost: weights.with_(new_text=8.0, new=4.0))
    model = UniSRec.configured(settings=small | {"train.epochs": 2}).fit(split.train, validation=split.validation, progress=False)
    assert model.match is not None
    assert model.match.weights.new_text == 0
    costs = model._new_item_costs
    assert costs is not None
    assert costs.held_back
    assert (costs.new, costs.others) == (costs.new_before, costs.others_before)
    assert "held back" in model.weights_in_words
    assert costs.trainings == weighing.MOST_PARTS
    assert f"measured on {weighing.MOST_PARTS} tenths" in model.weights_in_words


def test_the_training_for_new_items_takes_the_other_weights_and_leaves_out_what_is_really_new(
    split: Split, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where items are really new, those that play new would stand beside them, twice as many as are due."""
    monkeypatch.setattr(weighing, "FEWEST_NEW", 1)
    monkeypatch.setattr(weighing, "LEAST_SHARE", 0.0)
    asked: list[tuple[Tried, Weights]] = []
    plain = weighing.weigh_new
    monkeypatch.setattr(
        matching, "weigh_new", lambda told, weights, **how: asked.append((told.all[0], weights)) or plain(told, weights, **how)
    )
    gone = np.flatnonzero(split.train.item_counts)[:2]
    kept = ~np.isin(split.train.sequences.values, gone)
    users = split.validation
    assert users is not None
    wanted = [row for row in range(len(users)) if not np.isin(users.targets[row], gone).any()]
    model = UniSRec.configured(settings=small | {"train.epochs": 4})
    model.fit(split.train.where(kept), validation=users.take(np.array(wanted)), progress=False)
    (tried, others), *_ = asked
    assert not np.isin(tried.pairs.values, gone).any()
    assert (~tried.match.trained[np.unique(tried.pairs.values)]).any()  # those that play new are there
    assert model.match is not None
    for name in ("text", "behaviour"):
        assert getattr(others, name) == getattr(model.match.weights, name)


def test_an_inner_product_that_misleads_new_items_counts_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two new items the vectors prefer one and the texts the other, which is wanted; an old one that is wanted bears no more."""
    items = np.array([[0, 0], [1, 0], [0, 1], [0, 0.99], [0, 0]], np.float32)  # 1 history, 2 old and wanted, 3 and 4 new
    lists = Neighbours(np.array([[0], [4], [0], [0], [0]]), np.array([[0], [1], [0], [0], [0]], np.float32))
    match = Match(lists, None, np.array([False, True, True, False, False]))
    targets = Ragged.from_rows([[4]] * 20 + [[2]] * 20)
    data = EvaluationSet(list(range(40)), Ragged.from_rows([[1]] * 40), targets)
    counts, users = np.array([0, 9, 9, 0, 0]), np.array([[0, 2.2]] * 40, np.float32)

    def tried(rows: np.ndarray) -> Tried:
        return Tried.of(match, data.take(rows), Protocol(bootstrap=0), counts, users=users[rows], items=items, extra=None)

    some, wanting = tried(np.arange(40)), tried(np.arange(20))
    assert weighing.weigh_new(Told.of(some, wanting), Weights(text=1.0), cost=0.0).new_vector == 1.0  # twenty are too few to tell
    monkeypatch.setattr(weighing, "ENOUGH", 20)
    found = weighing.weigh_new(Told.of(some, wanting), Weights(text=1.0), cost=0.0)
    assert found.new_vector < 0.9
    figures = some.figures(found)
    assert figures[20:].mean() == 1.0
    assert figures[:20].mean() == pytest.approx(1 / np.log2(3))  # second to the old item, before the other new one
    assert wanting.figures(found.with_(new_vector=1.0)).mean() == pytest.approx(0.5)  # third


@pytest.mark.parametrize(("patience", "expected"), [(0, [6, 3, 3]), (2, [6, 2, 2])])
def test_the_training_for_new_items_is_half_as_long_as_the_first_one_was_to_its_best(
    split: Split, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch, patience: int, expected: list[int]
) -> None:
    """The figures of the first training are set: its best epoch is the fourth."""
    monkeypatch.setattr(weighing, "FEWEST_NEW", 1)
    monkeypatch.setattr(weighing, "MOST_PARTS", 2)
    lengths: list[int] = []
    figures = iter([0.1, 0.2, 0.3, 0.9, 0.4, 0.5])
    module = importlib.import_module("bertrec.training.fit")
    plain, validate = module.fit_module, UniSRec._validate

    def spy(*arguments: Any, **options: Any) -> Any:
        lengths.append(arguments[3].epochs)
        return plain(*arguments, **options)

    monkeypatch.setattr(module, "fit_module", spy)
    monkeypatch.setattr(UniSRec, "_validate", lambda self, *a: {"NDCG@10": next(figures)} if len(lengths) == 1 else validate(self, *a))
    settings = small | {"train.epochs": 6, "train.patience": patience, "train.average": 0.2}
    UniSRec.configured(settings=settings).fit(split.train, validation=split.validation, progress=False)
    assert lengths == expected


def test_a_time_limit_is_shared_with_the_training_for_new_items(
    split: Split, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weighing, "FEWEST_NEW", 1)
    monkeypatch.setattr(weighing, "MOST_PARTS", 2)
    limits: list[float] = []
    module = importlib.import_module("bertrec.training.fit")
    plain = module.fit_module

    def spy(*arguments: Any, **options: Any) -> Any:
        limits.append(arguments[3].max_seconds)
        return plain(*arguments, **options)

    monkeypatch.setattr(module, "fit_module", spy)
    UniSRec.configured(settings=small | {"train.epochs": 2, "train.max_seconds": 90}).fit(
        split.train, validation=split.validation, progress=False
    )
    assert limits == pytest.approx([60, 15, 15])


def test_a_model_that_learns_on_keeps_all_weights_of_new_items(split: Split, small: dict[str, Any]) -> None:
    model = UniSRec.configured(settings=small | {"train.epochs": 2}).fit(split.train, validation=split.validation, progress=False)
    assert model.match is not None
    new = {"new_text": 2.0, "new": 4.0, "new_vector": 0.5, "new_near": 0.5, "whole_from": 1.0}
    model.take_match(replace(model.match, weights=model.match.weights.with_(**new)))
    match = model.continued(split.train, validation=split.validation, epochs=1, progress=False).match
    assert match is not None
    assert {name: getattr(match.weights, name) for name in new} == new

"""Groups: joined scores by hand, by brute force over the full matrix, and what must not matter."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from given_vectors import GivenLifts, GivenVectors
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import ConfigError, DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.models.groups import JOINS, SEENS, GroupList, Join, joined_scores, member_weights, standardised
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.rules import Rules

MEMBERS = [["red-1", "blue-3"], ["green-0"], ["blue-3", "빨강-2", "red-1"]]
ROWS = st.lists(st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def model(catalog: ItemCatalog) -> GivenLifts:
    return GivenLifts(catalog)


def test_scores_are_standardised_as_by_hand() -> None:
    """1, 2, 3, 6 has the mean 3 and the deviation sqrt(3.5)."""
    (row, flat) = standardised(np.array([[1, 2, 3, 6], [4, 4, 4, 4]]))
    assert row == pytest.approx(np.array([-2, -1, 0, 3]) / math.sqrt(3.5))
    assert flat.tolist() == [0, 0, 0, 0]
    boosted = standardised(np.array([[1, 2, 3, 6], [4, 4, 4, 4]]), np.array([0, 1, 0, 0]))
    assert boosted[0] == pytest.approx(np.array([-2, 0, 0, 3]) / math.sqrt(3.5))
    assert boosted[1].tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("how", "expected"), [("average", [0, 1, -1]), ("least-misery", [-1, 0, -2]), ("most-pleasure", [1, 2, 0]), ("attention", [0, 1, -1])]
)
def test_joins_by_hand(how: Join, expected: list[float]) -> None:
    """Of two members whose vectors lie alike to their mean, attention is the average."""
    scores = np.array([[1.0, 0.0, -2.0], [-1.0, 2.0, 0.0]])
    weights = member_weights(np.array([[3.0, 0.0], [0.0, 1.0]], np.float32), how)
    assert weights == pytest.approx([0.5, 0.5])
    assert joined_scores(scores, how, weights).tolist() == pytest.approx(expected)


def test_attention_is_the_softmax_of_cosines_with_the_mean() -> None:
    """Two members along one axis, one along the other: the mean is (2, 1) / 3, the cosines 2 / sqrt(5) and 1 / sqrt(5)."""
    weights = member_weights(np.array([[9.0, 0.0], [1.0, 0.0], [0.0, 4.0]], np.float32), "attention")
    raised = np.exp([2 / math.sqrt(5), 2 / math.sqrt(5), 1 / math.sqrt(5)])
    assert weights == pytest.approx(raised / raised.sum(), rel=1e-6)
    assert member_weights(np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32), "attention").tolist() == [0.5, 0.5]


def by_brute_force(model: GivenVectors, how: Join, seen: str, allowed: Any = lambda item: True) -> list[str]:
    known = model.histories(MEMBERS)
    scores = np.concatenate(list(model.score_all(known)))
    fine = [item for item in range(1, scores.shape[1]) if np.isfinite(scores[0, item])]
    weights = member_weights(model.user_vectors(known), "attention").tolist()
    values = {}
    for item in fine:
        z = [(float(row[item]) - float(row[fine].mean(dtype=np.float64))) / float(row[fine].std(dtype=np.float64)) for row in scores]
        values[item] = {
            "average": sum(z) / 3,
            "least-misery": min(z),
            "most-pleasure": max(z),
            "attention": sum(w * one for w, one in zip(weights, z, strict=True)),
        }[how]
    sets = [set(row.tolist()) for row in known]
    gone = {"any": set.union(*sets), "all": set.intersection(*sets), "none": set()}[seen]
    order = sorted((item for item in fine if item not in gone and allowed(item)), key=lambda item: (-round(values[item], 9), item))
    return model.catalog.ids.decode(np.array(order))


@pytest.mark.parametrize("seen", SEENS)
@pytest.mark.parametrize("how", JOINS)
def test_lists_are_those_of_brute_force_over_full_scores(model: GivenLifts, how: Join, seen: Any) -> None:
    found = model.recommend_group(MEMBERS, 99, how=how, exclude_seen=seen)
    assert found.items == by_brute_force(model, how, seen)
    assert found.scores == sorted(found.scores, reverse=True)
    assert sum(found.weights) == pytest.approx(1)
    assert model.recommend_group(MEMBERS, 3, how=how, exclude_seen=seen).items == found.items[:3]
    if how == "average":
        assert found.scores == pytest.approx([np.mean(row) for row in found.members])


def test_what_all_have_met_is_what_is_left_out(model: GivenLifts) -> None:
    listed = {seen: set(model.recommend_group([MEMBERS[0], MEMBERS[2]], 99, exclude_seen=seen).items) for seen in SEENS}
    assert listed["none"] - listed["all"] == {"red-1", "blue-3"} - {model.catalog.ids.ids[2], model.catalog.ids.ids[6]}
    assert listed["all"] - listed["any"] == {"빨강-2"}


def test_rules_hold_for_a_group(model: GivenLifts) -> None:
    for how in JOINS:
        red = model.recommend_group(MEMBERS, 99, how=how, rules=Rules(filter="colour == 'red'")).items
        assert red == by_brute_force(model, how, "any", lambda item: model.catalog.ids.ids[item - 1].startswith("red"))
        one_each = model.recommend_group(MEMBERS, 99, how=how, rules=Rules(at_most={"colour": 1})).items
        ranked = by_brute_force(model, how, "any")
        assert one_each == [item for place, item in enumerate(ranked) if item[:2] not in {one[:2] for one in ranked[:place]}]
    varied = model.recommend_group(MEMBERS, 5, rules=Rules(diversity=1.0)).items
    assert len(varied) == 5
    assert varied != by_brute_force(model, "average", "any")[:5]


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, draw=st.randoms(use_true_random=False), how=st.sampled_from(JOINS))
def test_the_order_of_members_changes_nothing(rows: list[list[float]], draw: Any, how: Join) -> None:
    order = list(range(len(rows)))
    draw.shuffle(order)
    one = np.array(rows, np.float32)
    other = one[order]
    joined = joined_scores(standardised(one), how, member_weights(one, how))
    assert joined.tolist() == joined_scores(standardised(other), how, member_weights(other, how)).tolist()


@settings(max_examples=25, deadline=None)
@given(
    history=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    how=st.sampled_from(JOINS),
    times=st.sampled_from([1, 3]),
    rules=st.sampled_from([None, Rules(boost={"colour == 'blue'": 2.5}), Rules(diversity=0.5), Rules(exclude=["blue-0"])]),
)
def test_a_group_of_one_user_is_that_user(catalog: ItemCatalog, history: list[int], how: Join, times: int, rules: Rules | None) -> None:
    model = GivenLifts(catalog)
    mine = [catalog.ids.decode(np.array(history))]
    alone = model.recommend(mine, 9, rules=rules)
    assert model.recommend_group(mine * times, 9, how=how, rules=rules).items == alone.items[0]


def test_members_of_whom_nothing_is_read_do_not_count(model: GivenLifts) -> None:
    with_stranger = model.recommend_group([MEMBERS[0], [], MEMBERS[1]], 5, exclude_seen="all")
    without = model.recommend_group([MEMBERS[0], MEMBERS[1]], 5, exclude_seen="all")
    assert with_stranger.items == without.items
    assert with_stranger.weights == [0.5, 0, 0.5]
    assert [row[1] for row in with_stranger.members] == [None] * 5
    assert [None if (who := one) is None else {0: 0, 2: 1}[who] for one in with_stranger.for_whom()] == without.for_whom()


def test_members_by_pleasure_by_hand() -> None:
    found = GroupList(["x", "y", "z"], [0.0] * 3, [[1.0, 3.0, 1.0], [None, None, None], [2.0, None, 2.0]], [1 / 3] * 3)
    assert found.by_pleasure() == [[(1, 3.0), (0, 1.0), (2, 1.0)], [], [(0, 2.0), (2, 2.0)]]
    assert found.for_whom() == [1, None, 0]


def test_where_nothing_is_read_of_anyone_popularity_orders_the_list(model: GivenLifts) -> None:
    found = model.recommend_group([[], []], 3)
    assert found.fallback == model.fallback == model.recommend([[]], 3).fallback[0]
    assert found.items == model.recommend([[]], 3).items[0]
    assert found.members == [[None, None]] * 3
    assert found.for_whom() == [None] * 3


@pytest.mark.parametrize("how", ["average", "attention"])
def test_joined_vectors_give_the_same_with_an_index_as_without(catalog: ItemCatalog, how: Join) -> None:
    model = GivenVectors(catalog)
    rows = model.known_items()
    index = ItemIndex.build(model.vectors[rows], [*catalog.ids.decode(rows)], model_hash=model.model_hash, kind="flat")
    exact = model.recommend_group(MEMBERS, 6, how=how, on="vectors")
    served = model.recommend_group(MEMBERS, 6, how=how, on="vectors", index=index)
    assert (served.items, served.members) == (exact.items, exact.members)
    users = model.user_vectors(model.histories(MEMBERS)).astype(np.float64)
    unit = users / np.linalg.norm(users, axis=1, keepdims=True)
    one = (member_weights(unit, how)[:, None] * unit).sum(axis=0)
    values = model.vectors[rows] @ one
    met = {item for row in MEMBERS for item in row}
    places = [place for place in np.lexsort((rows, -values.round(5))) if catalog.ids.ids[rows[place] - 1] not in met]
    assert exact.scores == pytest.approx(values[places[:6]], abs=1e-5)
    assert exact.members[0] == [float(row[0]) for row in model.score(MEMBERS, [[exact.items[0]]] * 3)]


def test_withdrawn_items_are_not_listed(catalog: ItemCatalog) -> None:
    gone = np.zeros(len(catalog), bool)
    gone[0] = True
    model = GivenLifts(replace(catalog, withdrawn=gone))
    assert catalog.ids.ids[0] in GivenLifts(catalog).recommend_group(MEMBERS, 99).items
    assert catalog.ids.ids[0] not in model.recommend_group(MEMBERS, 99).items


def test_a_frame_has_a_column_for_each_member(model: GivenLifts) -> None:
    found = model.recommend_group(MEMBERS, 2)
    frame = found.to_frame("pyarrow")
    assert frame.column_names == ["rank", "item_id", "score", "member_0", "member_1", "member_2"]
    assert [frame[f"member_{row}"][0].as_py() for row in range(3)] == found.members[0]
    assert "members=3" in repr(found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"how": "mean"}, "unknown join 'mean'"),
        ({"on": "texts"}, "unknown subject"),
        ({"exclude_seen": True}, "unknown exclude_seen"),
        ({"on": "vectors", "how": "least-misery"}, "vectors have no least-misery"),
        ({"k": 0}, "k"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(model: GivenLifts, options: Any, said: str) -> None:
    with pytest.raises((ConfigError, DataError), match=said):
        model.recommend_group(MEMBERS, **options)


def test_a_group_needs_a_member_and_an_index_needs_vectors(catalog: ItemCatalog, model: GivenLifts) -> None:
    with pytest.raises(DataError, match="at least one member"):
        model.recommend_group([])
    rows = model.known_items()
    index = ItemIndex.build(model.vectors[rows], [*catalog.ids.decode(rows)], model_hash=model.model_hash, kind="flat")
    with pytest.raises(ConfigError, match="join vectors"):
        model.recommend_group(MEMBERS, index=index)

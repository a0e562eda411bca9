"""Which reviews a row may read: as a loop over all of them finds, and never what the leak rule forbids."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog, UserCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.rankers.context import Context, Known
from bertrec.rankers.reviews import lacking, reviews_before, reviews_of_candidates

CATALOG = ItemCatalog(IdMap([f"i{number}" for number in range(1, 6)]), {"title": ["a", "b", "c", "d", "e"]})
DAYS = st.integers(7, 12)  # 0, 1, 2, … of every user would be positions and no clock
ITEMS = st.integers(1, 5)
# user, item, day, and whether anything was written
PAST = st.lists(st.tuples(st.sampled_from("uvw"), ITEMS, DAYS, st.booleans()), min_size=1, max_size=25)
ROWS = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.one_of(DAYS, st.just(float("nan"))), st.lists(ITEMS, max_size=4), st.lists(ITEMS, max_size=3)),
    min_size=1,
    max_size=5,
)


def past_of(rows, clock=True):
    """Return interactions whose texts say user, item, day and place in the list."""
    columns = {"user_id": [user for user, *_ in rows], "item_id": [f"i{item}" for _, item, *_ in rows]}
    columns["text"] = [f"{user} {item} {day} {at}" if told else " " for at, (user, item, day, told) in enumerate(rows)]
    frame = pd.DataFrame(columns | ({"timestamp": [float(row[2]) for row in rows]} if clock else {}))
    return Interactions.from_frame(frame, CATALOG)


def asked(rows, past, clock=True):
    context = Context([row[0] for row in rows], np.array([float(row[1]) for row in rows]) if clock else None, Known(past=past))
    return context, Ragged.from_rows([row[2] for row in rows]), Ragged.from_rows([row[3] for row in rows])


def texts(found, past):
    return [[past.text[place] for place in row] for row in found]


def told(past):
    """Yield each written review: user, item, day, text; of a user oldest first."""
    for place, text in enumerate(past.text):
        if text.strip():
            user, item, day, _ = text.split()
            yield user, int(item), int(day), text, place


@settings(max_examples=60, deadline=None)
@given(PAST, ROWS, st.integers(0, 3))
def test_with_a_clock_it_is_what_was_written_strictly_before_and_not_of_a_candidate(rows, scored, most):
    past = past_of(rows)
    context, histories, candidates = asked(scored, past)
    found = texts(reviews_before(context, histories, candidates, most=most), past)
    for row, (user, moment, _, shown) in enumerate(scored):
        allowed = [text for who, item, day, text, _ in told(past) if who == user and day < moment and item not in shown]
        assert found[row] == (allowed[::-1][:most] if most else [])


@settings(max_examples=60, deadline=None)
@given(PAST, ROWS, st.integers(0, 3))
def test_others_reviews_of_a_candidate_come_from_before_and_from_others(rows, scored, most):
    past = past_of(rows)
    context, _, candidates = asked(scored, past)
    found = texts(reviews_of_candidates(context, candidates, most=most), past)
    pairs = [(user, moment, item) for user, moment, _, shown in scored for item in shown]
    assert len(found) == len(pairs)
    for (user, moment, asked_item), own in zip(pairs, found, strict=True):
        allowed = {text: day for who, item, day, text, _ in told(past) if who != user and item == asked_item and day < moment}
        assert set(own) <= set(allowed)
        assert len(own) == min(most, len(allowed))
        days = [allowed[text] for text in own]
        assert days == sorted(allowed.values(), reverse=True)[: len(own)]


@settings(max_examples=60, deadline=None)
@given(PAST, ROWS, st.sampled_from(["rows", "reviews", "neither"]))
def test_without_a_clock_only_reviews_that_go_with_the_history_are_read(rows, scored, where):
    past = past_of(rows, clock=where == "reviews")
    context, histories, candidates = asked(scored, past, clock=where == "rows")
    found = texts(reviews_before(context, histories, candidates, most=3), past)
    for row, (user, _, history, shown) in enumerate(scored):
        own = {}  # what the user met of each item, in order
        for place, item in enumerate(past.sequences.values):
            if past.users.ids[past.sequences.rows[place]] == user:
                own.setdefault(int(item), []).append(past.text[place])
        met = [(item, history[:at].count(item)) for at, item in enumerate(history)]
        wanted = [own[item][turn] for item, turn in met if item not in shown and turn < len(own.get(item, []))]
        assert found[row] == [text for text in wanted if text.strip()][::-1][:3]
    assert not len(reviews_of_candidates(context, candidates, most=3).values)


def test_without_candidates_nothing_is_left_out_and_without_reviews_nothing_is_found():
    rows = [("u", 1, 7, True), ("u", 2, 8, True), ("u", 3, 9, True)]
    past = past_of(rows)
    context, histories, candidates = asked([("u", 9, [], [1]), ("stranger", 99, [1], [2])], past)
    assert texts(reviews_before(context, histories, most=5), past) == [["u 2 8 1", "u 1 7 0"], []]
    assert texts(reviews_before(context, histories, candidates, most=5), past) == [["u 2 8 1"], []]
    for known in (Known(), Known(past=past.where(np.zeros(3, bool))), Known(past=Interactions(CATALOG, past.users, past.sequences))):
        alone = Context(context.users, context.times, known)
        assert reviews_before(alone, histories, candidates, most=5).lengths.tolist() == [0, 0]
        assert reviews_of_candidates(alone, candidates, most=5).lengths.tolist() == [0, 0]
        assert reviews_before(Context(context.users, None, known), histories, candidates, most=5).lengths.tolist() == [0, 0]


def test_a_past_over_another_catalogue_is_told_by_ids():
    rows = [("u", 1, 7, True), ("u", 2, 8, True), ("v", 2, 7, True)]
    past = past_of(rows)
    turned = ItemCatalog(IdMap(["i9", "i2", "i8", "i1"]), {"title": ["a", "b", "c", "d"]})  # i2 is 2 here too, i1 is 4
    context, histories, candidates = asked([("u", 9, [], [4]), ("u", 9, [2], [])], past)
    assert texts(reviews_before(context, histories, candidates, most=5, catalog=turned), past) == [["u 2 8 1"], ["u 2 8 1", "u 1 7 0"]]
    still = Context(context.users, None, context.known)
    assert texts(reviews_before(still, Ragged.from_rows([[4], [1]]), most=5, catalog=turned), past) == [["u 1 7 0"], []]
    of_items = reviews_of_candidates(context, Ragged.from_rows([[2, 4, 1], []]), most=5, catalog=turned)
    assert texts(of_items, past) == [["v 2 7 2"], [], []]


def test_rows_that_do_not_match_are_refused():
    context, histories, candidates = asked([("u", 1, [], [1])], past_of([("u", 1, 0, True)]))
    with pytest.raises(DataError, match="a context of 1 rows for 2 rows"):
        reviews_before(context, Ragged.from_rows([[], []]), most=1)
    with pytest.raises(DataError, match="a context of 1 rows"):
        reviews_before(context, histories, Ragged.from_rows([[1], [2]]), most=1)
    with pytest.raises(DataError, match="reviews: context"):
        reviews_of_candidates(None, candidates, most=1)


def test_texts_that_nobody_has_are_said_where_they_would_be_read():
    both, past = {"profile", "reviews"}, past_of([("u", 1, 7, True)])
    users = UserCatalog.from_frame(pd.DataFrame({"user_id": ["u"], "text": ["likes red"]}))
    blank = past_of([("u", 1, 7, False)])
    for known in (Known(), Known(past=blank)):
        assert [line.split(" is known")[0] for line in sorted(lacking(known, both))] == ["no profile of a user", "no review"]
    assert lacking(Known(users, past), both) == lacking(Known(), set()) == lacking(Known(users), {"profile"}) == lacking(None, both) == ()
    assert len(lacking(Known(users), both)) == len(lacking(Known(past=past), both)) == 1

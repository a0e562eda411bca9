"""Hard negatives against brute force over every item."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.rerank.hard import HARD, HardSources, check_room, counted_together

N = 24


@pytest.fixture(scope="module")
def world():
    """Users, items with up to two genres, and rows to draw for."""
    draw = np.random.default_rng(0)
    genres = [", ".join(draw.choice(["a", "b", "c", "d", "e"], draw.integers(0, 3), replace=False)) for _ in range(N)]
    table = pd.DataFrame({"item_id": [f"i{k}" for k in range(1, N + 1)], "title": [f"t{k}" for k in range(N)], "genres": genres})
    catalog = ItemCatalog.from_frame(table)
    sequences = Ragged.from_rows([draw.choice(N // 2, draw.integers(2, 5), replace=False) + 1 + N // 2 * (user % 2) for user in range(12)])
    train = Interactions(catalog, IdMap([f"u{k}" for k in range(12)]), sequences)
    histories = Ragged.from_rows([row[:-1] for row in sequences] + [[]])
    targets = np.append(sequences.values[sequences.offsets[1:] - 1], 3)
    own = Ragged.from_rows([*sequences, [3]])
    lists = Ragged.from_rows([draw.choice(N, 6, replace=False) + 1 for _ in range(13)])
    return train, genres, histories, targets, lists, own


def drawn(world, names, count, seed=0):
    train, _, histories, targets, lists, own = world
    sources = HardSources.of(names, train)
    return sources.drawn(histories, targets, lists, own, count, np.random.default_rng(seed), width=N + 1)


def allowed(world, name, row):
    """Return what a source may give, by looking at every item."""
    train, genres, histories, targets, lists, own = world
    kinds = [set(), *(set(filter(None, text.split(", "))) for text in genres)]
    users = [set(one.tolist()) for one in train.sequences]
    rules = {
        "retrieved": lambda item: item in lists[row],
        "genre": lambda item: any(item in user for user in users) and bool(kinds[item] & kinds[targets[row]]),
        "cooccurrence": lambda item: any(item in user and past in user for user in users for past in histories[row] if past != item),
    }
    return {item for item in range(1, N + 1) if rules[name](item) and item not in own[row]}


@pytest.mark.parametrize("name", HARD)
def test_a_source_gives_what_brute_force_finds_and_nothing_of_the_users_own(world, name):
    everything = drawn(world, name, N)
    assert [set(row.tolist()) for row in everything] == [allowed(world, name, row) for row in range(13)]
    some = drawn(world, name, 2)
    for row in range(13):
        assert len(some[row]) == min(2, len(allowed(world, name, row)))
        assert set(some[row].tolist()) <= allowed(world, name, row)


def test_a_mixture_takes_turns_and_what_one_lacks_the_next_gives(world):
    found = drawn(world, "mixed", 6)
    for row in range(13):
        pools = {name: allowed(world, name, row) for name in HARD}
        got = set(found[row].tolist())
        assert got <= set().union(*pools.values())
        if min(len(pool) for pool in pools.values()) >= 6:
            assert len(got) == 6
        assert len(got & pools["genre"]) >= min(2, len(pools["genre"]))
    assert len(found[12]) == min(6, len(allowed(world, "genre", 12) | allowed(world, "retrieved", 12)))  # nothing goes with no history


def test_draws_follow_the_seed_and_the_weights(world):
    assert drawn(world, "mixed", 4).values.tolist() == drawn(world, ["genre", "retrieved", "cooccurrence"], 4).values.tolist()
    assert drawn(world, "mixed", 4).values.tolist() != drawn(world, "mixed", 4, seed=1).values.tolist()
    # The target 1 has a label of two items and a label of ten: each label is drawn alike, then an item of it.
    column = ["rare, usual", "rare", *["usual"] * 9]
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": range(11), "title": ["t"] * 11, "genres": column}))
    train = Interactions(catalog, IdMap(["u"]), Ragged.from_rows([range(1, 12)]))
    many, nothing = 4000, Ragged.from_rows([[]] * 4000)
    own = Ragged.from_rows([[1]] * many)
    found = HardSources.of("genre", train).drawn(nothing, np.ones(many, np.int64), nothing, own, 1, np.random.default_rng(0), width=12)
    share = (found.values == 2).mean()
    assert share == pytest.approx((1 / 2) / (1 / 2 + 9 / 10), abs=0.03)  # of label and item; the target itself is barred


def test_an_item_that_training_never_holds_is_of_no_like_genre():
    table = pd.DataFrame({"item_id": range(6), "title": ["t"] * 6, "genres": ["a", "a", "a", "a, b", "b", "b"]})
    train = Interactions(ItemCatalog.from_frame(table), IdMap(["u"]), Ragged.from_rows([[1, 2, 4]]))
    many = 3000
    nothing, own = Ragged.from_rows([[]] * many), Ragged.from_rows([[5]] * many)  # the target itself is new, as validation has some
    given = (nothing, np.full(many, 5), nothing, own, 1, np.random.default_rng(0))
    found = HardSources.of("genre", train).drawn(*given, width=7)
    assert set(found.values.tolist()) == {4}  # not 6, which is of genre b too
    given = (nothing, np.full(many, 4), nothing, Ragged.from_rows([[4]] * many), 3, np.random.default_rng(0))
    assert set(HardSources.of("genre", train).drawn(*given, width=7).values.tolist()) == {1, 2}


def test_counted_together_is_what_a_loop_counts(world):
    train = world[0]
    expected = np.zeros((N + 1, N + 1))
    for row in train.sequences:
        for one in row:
            expected[one, [other for other in row if other != one]] += 1
    np.testing.assert_array_equal(counted_together(train).toarray(), expected)


def test_what_cannot_be_drawn_is_said(world):
    train = world[0]
    plain = ItemCatalog(train.catalog.ids, {"title": train.catalog.titles})
    unlabelled = Interactions(plain, train.users, train.sequences)
    with pytest.raises(DataError, match="hard=genre needs labels of the items"):
        HardSources.of("genre", unlabelled)
    mixed = HardSources.of("mixed", unlabelled)
    assert mixed.names == ("cooccurrence", "retrieved")
    assert "no field of labels" in mixed.notes[0]
    with pytest.raises(DataError, match="hard=genre needs labels of the items"):
        HardSources.of(["mixed", "genre"], unlabelled)
    with pytest.raises(ConfigError, match="label field 'nonsense' is for negatives of like genre"):
        HardSources.of(["retrieved", "cooccurrence"], train, field="nonsense")
    with pytest.raises(DataError, match="nonsense"):
        HardSources.of("mixed", train, field="nonsense")
    with pytest.raises(ConfigError, match="did you mean 'genre'"):
        HardSources.of(["retrieved", "genres"], train)
    with pytest.raises(ConfigError, match="no kind of hard negatives"):
        HardSources.of([], train)
    with pytest.raises(ConfigError, match="raise candidates to 8"):
        check_room(HardSources(), 8, 5)
    check_room(mixed, 8, 5)

"""Predicted ratings beside a dense solution, on planted ratings, and what must never be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from tiny_encoders import tiny_bert

from bertrec.core.errors import ConfigError, DataError, ModelError, NotFiniteError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.ratings import impressions_from_ratings, rated_parts
from bertrec.rankers import RANKERS, Context, Known
from bertrec.rankers.ratings import ridge
from bertrec.rankers.ratings.base import RatingRanker
from bertrec.rankers.ratings.given import GivenRatings
from bertrec.rankers.ratings.ridge import fit_ridge, one_hot
from bertrec.tuning.objectives.rankers import RankerObjective

TITLES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("car", "hat", "sea", "dog", "sun", "cup")]
CATALOG = ItemCatalog(IdMap([f"n{k}" for k in range(12)]), {"title": TITLES})


def interactions(sequences, ratings):
    users = IdMap([f"u{row}" for row in range(len(sequences))])
    flat = np.array([value for row in ratings for value in row], np.float32)
    times = np.array([1000.0 + place for row in sequences for place in range(len(row))])
    return Interactions(CATALOG, users, Ragged.from_rows(sequences), times, flat)


@pytest.fixture(scope="module")
def world():
    """Even users like red things by two stars, odd ones blue things; nobody rated the fifth thing of a colour."""
    draw = np.random.default_rng(0)
    sequences, ratings = [], []
    for user in range(60):
        items = draw.permutation([1, 2, 3, 4, 6, 7, 8, 9, 10, 12])[:8]
        sequences.append(items.tolist())
        ratings.append([(4.5 if (item <= 6) == (user % 2 == 0) else 2.5) + 0.5 * (user % 3 == 0) for item in items])
    return interactions(sequences, ratings)


def trained(name, past, **settings):
    shown = impressions_from_ratings(past)
    return RANKERS.find(name).configured(settings=settings).fit(shown, known=Known(past=past)), shown


def asked(ranker, user, history, items):
    return ranker.score(Ragged.from_rows([history]), Ragged.from_rows([items]), context=Context([user]))


def test_the_ridge_is_the_dense_solution():
    draw = np.random.default_rng(0)
    users, items, n = draw.integers(0, 4, 30), draw.integers(0, 5, 30), 30
    numbers, target = draw.standard_normal((n, 3)), draw.standard_normal(n)
    fitted = fit_ridge([(one_hot(users, 4), 2.0), (one_hot(items, 5), 0.5)], numbers, 3.0, target)
    design = np.concatenate([np.eye(4)[users], np.eye(5)[items], numbers], axis=1)
    penalties = np.diag([2.0] * 4 + [0.5] * 5 + [3.0] * 3)
    expected = np.linalg.solve(design.T @ design + penalties, design.T @ target)
    assert np.concatenate([*fitted.biases, fitted.weight]) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(NotFiniteError, match="raise the penalties"):
        fit_ridge([(csr_array(np.ones((1, 1))), 1.0)], None, 1.0, np.array([np.nan]))


def test_a_regression_that_ran_out_of_steps_says_so(world, monkeypatch):
    assert trained("bias", world)[0].notes == ()
    monkeypatch.setattr(ridge, "_STEPS", 2)
    line = "the ridge regression stopped after 2 steps, before it was exact: higher penalties need fewer"
    assert trained("bias", world)[0].notes == (line,)


def test_biases_by_hand():
    # items rated 5 and 3: mean 4; with penalties of 1 an item's bias solves b (1 + 1) = ±1, the user's is 0
    bias, _ = trained("bias", interactions([[1, 2]], [[5, 3]]), user_penalty=1, item_penalty=1)
    assert asked(bias, "u0", [], [1, 2, 3]) == pytest.approx([4.5, 3.5, 4.0])
    assert asked(bias, "stranger", [], [1]) == pytest.approx([4.5])
    assert bias.score(Ragged.from_rows([[]]), Ragged.from_rows([[1]])) == pytest.approx([4.5])  # nobody knows who asks
    assert bias.predicts_ratings
    assert not bias.gives_probabilities


def test_factors_find_the_planted_taste_and_biases_do_not(world):
    mf, shown = trained("mf", world, factors=2, penalty=0.02)
    bias, _ = trained("bias", world)
    errors = {ranker.name: ranker.score_impressions(shown, known=Known(past=world)) - world.rating for ranker in (mf, bias)}
    assert np.sqrt(np.mean(errors["mf"] ** 2)) < 0.1
    assert np.sqrt(np.mean(errors["bias"] ** 2)) > 0.8
    again, _ = trained("mf", world, factors=2, penalty=0.02)
    assert (again.score_impressions(shown) == mf.score_impressions(shown)).all()


def test_texts_tell_of_items_that_nobody_rated(world, tmp_path_factory):
    encoder = tiny_bert(tmp_path_factory.mktemp("encoder"), TITLES)
    text, _ = trained("bias-text", world, dim=8, text_penalty=0.1, **{"encoder.name": encoder})
    bias, _ = trained("bias", world)
    fond_of_red, fond_of_blue = [1, 2, 3], [7, 8, 9]
    for history, liked, other in ((fond_of_red, 5, 11), (fond_of_blue, 11, 5)):
        found = asked(text, "stranger", history, [liked, other])
        assert found[0] > found[1] + 0.5
        assert len(set(asked(bias, "stranger", history, [liked, other]))) == 1


@pytest.mark.parametrize("name", ["bias", "mf"])
def test_a_saved_ranker_knows_its_users(name, world, tmp_path):
    mixed = replace(world, users=IdMap([7, "7", *world.users.ids[2:]]))
    ranker, shown = trained(name, mixed)
    ranker.save_pretrained(tmp_path / "kept")
    again = RANKERS.find(name).from_pretrained(tmp_path / "kept")
    assert again.score_impressions(shown).tolist() == ranker.score_impressions(shown).tolist()
    assert again.model_hash == ranker.model_hash
    with pytest.raises(ModelError, match="not fitted"):
        RANKERS.find(name)().score(shown.histories, shown.candidates)


def test_held_out_ratings_are_not_learned_wherever_what_is_known_ends(world):
    """Some users rate an item again in the held-out part: what they learn from is what they said first."""
    again = np.flatnonzero(world.timestamp % 8 == 7)  # the last of each user, held out
    values = world.sequences.values.copy()
    values[again[:30]] = world.sequences.values[world.sequences.offsets[:30]]  # is their first item once more
    repeated = replace(world, sequences=Ragged(values, world.sequences.offsets))
    parts = rated_parts(repeated)
    assert (repeated.timestamp[again] >= parts.moments[0]).all()
    turned = np.where(repeated.timestamp >= parts.moments[0], 6 - repeated.rating, repeated.rating).astype(np.float32)
    everything = replace(repeated, rating=turned)
    learned, shown = (parts.parts[name].impressions for name in ("train", "test"))
    for name in ("bias", "mf"):
        alone, leaking = (RANKERS.find(name)().fit(learned, known=Known(past=past)) for past in (parts.past, everything))
        assert alone.score_impressions(shown).tolist() == leaking.score_impressions(shown).tolist()


EVENTS = st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from([0, 1, 2, 3, 5, np.inf]), st.integers(1, 5))
ASKED = st.tuples(st.integers(0, 3), st.integers(1, 4), st.sampled_from([-1, 0, 1, 2, 3, 4, 6, np.nan]))


@given(st.lists(EVENTS, min_size=1, max_size=25), st.lists(ASKED, min_size=1, max_size=10), st.booleans())
def test_the_latest_rating_until_the_moment_is_that_of_a_loop(events, asked, clock):
    events = sorted(events, key=lambda event: (event[0], event[2]))
    rows = [[event for event in events if event[0] == user] for user in range(3)]
    flat = [event for row in rows for event in row]
    times = np.array([event[2] for event in flat], np.float64)
    times[np.isinf(times)] = np.nan  # nobody knows when: later than any moment
    sequences = Ragged.from_rows([[event[1] for event in row] for row in rows])
    past = Interactions(CATALOG, IdMap(["u0", "u1", "u2"]), sequences, times, np.array([event[3] for event in flat], np.float32))
    users, moments = [f"u{user}" for user, _, _ in asked], np.array([time for _, _, time in asked], np.float64)
    histories, candidates = Ragged.from_rows([[]] * len(asked)), Ragged.from_rows([[item] for _, item, _ in asked])
    shown = Impressions(CATALOG, users, users, histories, candidates, np.zeros(len(asked), np.int8), moments if clock else None)
    known = []
    for user, item, time in asked:
        told = [rating for who, what, when, rating in flat if (who, what) == (user, item) and not (clock and when > time)]
        known += told[-1:]
    if not known:
        with pytest.raises(DataError, match="pairs to learn from has one"):
            GivenRatings.of(shown, Known(past=past), what="bias")
        return
    found = GivenRatings.of(shown, Known(past=past), what="bias")
    assert (found.rating.tolist(), found.without) == (known, len(asked) - len(known))


def test_pairs_without_a_rating_are_counted():
    past = interactions([[1, 2, 1]], [[1, 2, 5]])
    shown = impressions_from_ratings(past)
    extra = replace(shown, candidates=Ragged.from_rows([[1], [2, 3], [4]]), labels=np.zeros(4, np.int8))
    found = GivenRatings.of(extra, Known(past=past), what="bias")
    assert (found.item.tolist(), found.rating.tolist(), found.without) == ([1, 2], [1, 2], 2)
    assert found.notes == ("2 pairs without a rating (left out of training)",)


def test_an_encoder_is_not_tuned():
    with pytest.raises(ConfigError, match="bias-text trains no encoder"):
        RANKERS.find("bias-text").configured(settings={"encoder.tune": "full"})


def test_without_ratings_there_is_one_line(world):
    shown = impressions_from_ratings(world)
    for known in (None, Known(), Known(past=replace(world, rating=None))):
        with pytest.raises(DataError, match="bias learns from ratings, and these data have none"):
            RANKERS.find("bias")().fit(shown, known=known)
    other = replace(world, users=IdMap([f"x{row}" for row in range(60)]))
    with pytest.raises(DataError, match="none of the 480 pairs to learn from has one"):
        RANKERS.find("mf")().fit(shown, known=Known(past=other))


@pytest.mark.parametrize("name", [name for name in RANKERS.names() if issubclass(RANKERS.find(name), RatingRanker)])
def test_what_has_no_ratings_refuses_them_before_any_work(name):
    """A study once failed in all of its trials, and both named a column to add that was there."""
    kind = RANKERS.find(name)
    with pytest.raises(ConfigError, match=f"{name} learns from ratings, and a study keeps none.*--ranker {name} --pairs ratings"):
        RankerObjective(name).defaults  # noqa: B018  # it refuses
    with pytest.raises(ConfigError, match=f"{name} learns from ratings, and the lists that a run proposes have none: choose another"):
        kind.list_settings(negatives=4, scored=False)

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data import negatives
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions, split_share
from bertrec.data.interactions import Interactions
from bertrec.data.negatives import impressions_from_sequences, sample_negatives

SEEDS = st.integers(0, 2**32 - 1)
CATALOG = ItemCatalog(IdMap([f"n{row}" for row in range(1, 13)]), {"title": ["제목"] * 12})


def shown(candidates, labels, histories=None, **more):
    n = len(candidates)
    histories = [[1, 2]] * n if histories is None else histories
    flat = None if labels is None else np.array([label for row in labels for label in row], dtype=np.int8)
    ids, users = [f"i{row}" for row in range(n)], [f"사{row}" for row in range(n)]
    return Impressions(CATALOG, ids, users, Ragged.from_rows(histories), Ragged.from_rows(candidates), flat, **more)


def met(sequences, **more):
    return Interactions(CATALOG, IdMap(range(len(sequences))), Ragged.from_rows(sequences), **more)


def lists(ragged):
    return [row.tolist() for row in ragged]


def rows_of(impressions):
    return zip(
        impressions.ids, lists(impressions.candidates), lists(Ragged(impressions.labels, impressions.candidates.offsets)), strict=True
    )


def drawn_impressions(seed, least=1):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 9, generator.integers(least, 7))
    clicked = generator.random()
    labels = [(generator.random(length) < clicked).astype(int).tolist() for length in lengths]
    return shown([generator.integers(1, 13, length).tolist() for length in lengths], labels)


def test_take_by_hand():
    data = shown([[3, 4], [5], [6, 7, 8]], [[0, 1], [1], [0, 0, 1]], [[1], [], [2, 1]], timestamp=np.array([10.0, 20, 30]), notes=("a",))
    found = data.take([2, 0, 2])
    assert (found.ids, found.users) == (["i2", "i0", "i2"], ["사2", "사0", "사2"])
    assert lists(found.candidates) == [[6, 7, 8], [3, 4], [6, 7, 8]]
    assert lists(found.histories) == [[2, 1], [1], [2, 1]]
    assert found.labels.tolist() == [0, 0, 1, 0, 1, 0, 0, 1]
    assert found.timestamp.tolist() == [30, 10, 30]
    assert found.notes == ("a",)
    assert len(data.take([])) == 0
    assert shown([[3], [4]], None).take([1]).labels is None


@given(SEEDS, st.floats(0.01, 0.99))
@settings(max_examples=30, deadline=None)
def test_split_share_parts_the_impressions(seed, share):
    data = drawn_impressions(seed, least=2)
    rest, part = split_share(data, share, seed)
    assert sorted(rest.ids + part.ids) == data.ids
    assert (rest.ids, part.ids) == (sorted(rest.ids), sorted(part.ids))
    assert len(part) == min(max(1, round(share * len(data))), len(data) - 1)
    again = split_share(data, share, seed)[1]
    assert (again.ids, again.labels.tolist()) == (part.ids, part.labels.tolist())
    whole = {name: (items, labels) for name, items, labels in rows_of(data)}
    assert all(whole[name] == (items, labels) for name, items, labels in [*rows_of(rest), *rows_of(part)])


def test_split_share_depends_on_the_seed_and_refuses_what_cannot_be():
    data = shown([[3, 4]] * 50, [[0, 1]] * 50)
    assert len(split_share(data, 0.2, 0)[1]) == 10
    assert split_share(data, 0.2, 0)[1].ids != split_share(data, 0.2, 1)[1].ids
    for share in (0, 1, -0.1, float("nan")):
        with pytest.raises(DataError, match="must be above 0 and below 1"):
            split_share(data, share, 0)
    with pytest.raises(DataError, match="1 impressions cannot be split"):
        split_share(data.take([0]), 0.5, 0)


@given(SEEDS, st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_each_click_stands_beside_others_of_its_impression(seed, k):
    data = drawn_impressions(seed)
    expected = []
    for name, items, labels in rows_of(data):
        clicked = [item for item, label in zip(items, labels, strict=True) if label]
        others = [item for item in items if item not in clicked]
        expected += [(name, item, Counter(others)) for item in clicked if others]
    if not expected:
        with pytest.raises(DataError, match="no impression holds both"):
            sample_negatives(data, k, seed)
        return
    found = sample_negatives(data, k, seed)
    assert len(found) == len(expected)
    for (name, items, labels), (source, click, others) in zip(rows_of(found), expected, strict=True):
        drawn = Counter(item for item, label in zip(items, labels, strict=True) if not label)
        assert (name, [item for item, label in zip(items, labels, strict=True) if label]) == (source, [click])
        assert drawn <= others
        assert drawn.total() == min(k, others.total())


def test_negatives_by_hand_with_all_that_is_left_out():
    data = shown([[3, 4, 5], [6, 7], [8], [], [9, 10]], [[1, 0, 1], [0, 0], [1], [], [0, 1]], timestamp=np.arange(5.0), notes=("before",))
    found = sample_negatives(data, 4, 0)
    assert found.ids == ["i0", "i0", "i4"]
    assert [set(row) for row in lists(found.candidates)] == [{3, 4}, {5, 4}, {9, 10}]
    assert (found.users, found.timestamp.tolist()) == (["사0", "사0", "사4"], [0, 0, 4])
    assert lists(found.clicks) == [[3], [5], [10]]
    assert found.notes == (
        "before",
        "2 impressions without a click (left out of training)",
        "1 impressions without a candidate that was not clicked (left out of training)",
    )


def test_an_item_that_was_clicked_at_another_place_is_no_negative():
    assert lists(sample_negatives(shown([[3, 3, 4]], [[1, 0, 0]]), 2, 0).candidates) in ([[3, 4]], [[4, 3]])


def test_every_negative_and_every_place_is_equally_likely():
    data = shown([[1, 2, 3, 4, 5, 6]] * 6000, [[1, 0, 0, 0, 0, 0]] * 6000)
    found = sample_negatives(data, 3, 5)
    counts = np.bincount(found.candidates.values, minlength=7)
    assert counts[1] == 6000
    np.testing.assert_allclose(counts[2:], 3600, rtol=0.06)
    places = np.bincount(np.flatnonzero(found.labels) - found.candidates.offsets[:-1])
    np.testing.assert_allclose(places, 1500, rtol=0.1)
    pairs = Counter(tuple(sorted(set(row) - {1})) for row in lists(found.candidates))
    assert len(pairs) == 10
    np.testing.assert_allclose(list(pairs.values()), 600, rtol=0.2)


def test_the_seed_decides():
    data = shown([list(range(1, 13))] * 20, [[1] + [0] * 11] * 20)
    same, again, other = (sample_negatives(data, 4, seed) for seed in (1, 1, 2))
    assert same.content_hash == again.content_hash != other.content_hash
    sequences = met([[1, 2, 3], [4, 5, 6, 7, 8, 9]])
    same, again, other = (impressions_from_sequences(sequences, negatives=2, seed=seed) for seed in (1, 1, 2))
    assert same.content_hash == again.content_hash != other.content_hash


def test_negatives_refuse_what_cannot_be():
    with pytest.raises(DataError, match="1 or more, got 0"):
        sample_negatives(shown([[1, 2]], [[1, 0]]), 0, 0)
    with pytest.raises(DataError, match="have none"):
        sample_negatives(shown([[1, 2]], None), 1, 0)


def test_sequences_by_hand():
    data = met([[1, 2, 3], [4], [], [1, 2, 3, 4]], timestamp=np.array([1.0, 2, 9, 4, 5, 6, 7, 9]), notes=("kept",))
    found = impressions_from_sequences(data, negatives=9, seed=0)
    assert found.ids == ["1", "2", "3", "4"]
    assert found.users == [0, 0, 0, 1]
    assert lists(found.histories) == [[], [1], [1, 2], []]
    assert lists(found.clicks) == [[1], [2], [3], [4]]
    assert [set(row) for row in lists(found.candidates)] == [{1, 4}, {2, 4}, {3, 4}, {1, 2, 3, 4}]  # 5 to 12 never occur
    assert found.timestamp.tolist() == [1, 2, 9, 4]
    assert found.notes == ("kept", "4 positions of users who met every item (left out of training)")
    newest = impressions_from_sequences(data, negatives=1, seed=0, last=1, max_history=1)
    assert (lists(newest.histories), lists(newest.clicks)) == ([[2], []], [[3], [4]])
    assert (
        impressions_from_sequences(
            met([[1, 2], [3]], timestamp=np.array([0.0, 1, 0]), timestamp_is_position=True), negatives=1, seed=0
        ).timestamp
        is None
    )


@given(
    SEEDS,
    st.integers(1, 4),
    st.sampled_from([0.0, 0.75, 5.0, 900.0]),
    st.sampled_from([0, 1, 20]),
    st.none() | st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_sequences_keep_their_promises(seed, k, alpha, rounds, last):
    generator = np.random.default_rng(seed)
    sequences = [generator.integers(1, 13, length).tolist() for length in generator.integers(0, 10, generator.integers(1, 6))]
    occurring = {item for row in sequences for item in row}
    expected = [(history, click, row) for row in sequences for history, click in _positions(row, last) if occurring - set(row)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(negatives, "_ROUNDS", rounds)  # 0: every draw is the exact one
        patch.setattr(negatives, "_EXACT_CELLS", 1)
        if not expected:
            with pytest.raises(DataError, match="no position is left"):
                impressions_from_sequences(met(sequences), negatives=k, seed=3, alpha=alpha, last=last)
            return
        found = impressions_from_sequences(met(sequences), negatives=k, seed=3, alpha=alpha, last=last)
    assert lists(found.histories) == [history for history, _, _ in expected]
    for (_, items, labels), (_, click, row) in zip(rows_of(found), expected, strict=True):
        drawn = [item for item, label in zip(items, labels, strict=True) if not label]
        assert [item for item, label in zip(items, labels, strict=True) if label] == [click]
        assert len(drawn) == len(set(drawn)) == min(k, len(occurring - set(row)))
        assert set(drawn) <= occurring - set(row)


def _positions(row, last):
    return [(row[:at], item) for at, item in enumerate(row) if last is None or len(row) - at <= last]


@pytest.mark.parametrize("rounds", [0, 20])
@pytest.mark.parametrize(("alpha", "share"), [(0.0, 0.5), (1.0, 0.8), (0.5, 2 / 3)])
def test_negatives_follow_popularity(monkeypatch, rounds, alpha, share):
    monkeypatch.setattr(negatives, "_ROUNDS", rounds)
    data = met([[1] * 3000, [2, 2, 2, 2, 3]])  # the first user can only get 2 (four times as popular) or 3
    found = impressions_from_sequences(data, negatives=1, seed=0, alpha=alpha, max_history=0)
    drawn = found.candidates.values[found.labels == 0][:3000]
    assert np.mean(drawn == 2) == pytest.approx(share, abs=0.03)


def test_a_user_who_met_nearly_everything_is_served():
    catalog = ItemCatalog(IdMap(range(3000)), {"title": ["x"] * 3000})
    data = Interactions(catalog, IdMap(["a", "b"]), Ragged.from_rows([range(1, 2999), [2999, 3000]]))
    found = impressions_from_sequences(data, negatives=3, seed=0, last=2, max_history=1)
    drawn = [set(row) - set(click) for row, click in zip(lists(found.candidates), lists(found.clicks), strict=True)]
    assert drawn[:2] == [{2999, 3000}, {2999, 3000}]
    assert [len(row) for row in drawn[2:]] == [3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": 0}, "number of negatives must be 1 or more"),
        ({"last": 0}, "last must be 1 or more"),
        ({"max_history": -1}, "max_history must be 0 or more"),
        ({"alpha": -1.0}, "alpha, the power of popularity"),
        ({"alpha": float("nan")}, "alpha, the power of popularity"),
    ],
)
def test_bad_numbers_are_named(options, message):
    with pytest.raises(DataError, match=message):
        impressions_from_sequences(met([[1, 2], [3]]), **{"negatives": 1, "seed": 0, **options})

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, cold_items, leave_one_out, ratio_by_user, split_by_part, time_split


def data(sequences, n_items=10, **columns):
    catalog = ItemCatalog(IdMap(list(range(101, 101 + n_items))), {"title": ["x"] * n_items})
    return Interactions(catalog, IdMap([f"u{row}" for row in range(len(sequences))]), Ragged.from_rows(sequences), **columns)


def lists(ragged):
    return [row.tolist() for row in ragged]


sequence_lists = st.lists(st.lists(st.integers(1, 10), max_size=8), min_size=1, max_size=8).filter(lambda rows: any(map(len, rows)))


def test_leave_one_out_by_hand():
    split = leave_one_out(data([[1, 2, 3, 4], [5, 6], [7, 8, 9]], timestamp=np.array([1.0, 2, 3, 3, 1, 2, 1, 2, 3])))
    assert lists(split.train.sequences) == [[1, 2], [5, 6], [7]]
    assert split.validation.users == split.test.users == ["u0", "u2"]
    assert lists(split.validation.histories) == [[1, 2], [7]]
    assert lists(split.validation.targets) == [[3], [8]]
    assert lists(split.test.histories) == [[1, 2, 3], [7, 8]]
    assert lists(split.test.targets) == [[4], [9]]
    counts = split.manifest["counts"]
    assert (counts["users_not_evaluated"], counts["users_with_tied_last_two"], counts["train_interactions"]) == (1, 1, 5)
    assert split.train.timestamp.tolist() == [1, 2, 1, 2, 1]


@given(sequence_lists)
def test_leave_one_out_rebuilds_every_sequence(rows):
    interactions = data(rows)
    split = leave_one_out(interactions)
    again = {user: row.tolist() for user, row in zip(split.train.users.ids, split.train.sequences, strict=True)}
    for part in (split.validation, split.test):
        for user, target in zip(part.users, part.targets, strict=True) if part else ():
            again[user] += target.tolist()
    assert list(again.values()) == rows
    json.dumps(split.manifest, allow_nan=False)


def test_ratio_by_user_by_hand():
    split = ratio_by_user(data([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [1, 2, 3], [1, 2]]), validation_share=0.2, test_share=0.3)
    assert lists(split.train.sequences) == [[1, 2, 3, 4, 5], [1], [1, 2]]
    assert lists(split.validation.targets) == [[6, 7], [2]]
    assert lists(split.test.histories) == [[1, 2, 3, 4, 5, 6, 7], [1, 2]]
    assert lists(split.test.targets) == [[8, 9, 10], [3]]
    first = ratio_by_user(data([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]), validation_share=0.2, test_share=0.3, targets="first")
    assert lists(first.test.targets) == [[8]]


@given(sequence_lists, st.floats(0.05, 0.45), st.floats(0.05, 0.45))
def test_ratio_by_user_always_leaves_something_to_train_on(rows, valid, test):
    split = ratio_by_user(data(rows), validation_share=valid, test_share=test)
    for row, kept in zip(rows, split.train.sequences, strict=True):
        assert kept.tolist() == row[: len(kept)]
        assert len(kept) >= min(1, len(row))
        if len(row) >= 3:
            assert len(row) - len(kept) >= 2


def test_time_split_by_hand():
    # u0 spans all three parts, u1 has nothing before the test, u2 is in training only.
    times = np.array([1.0, 5, 8, 9, 9, 2])
    split = time_split(data([[1, 2, 3, 4], [5], [6]], timestamp=times), validation_from=5, test_from=8)
    assert lists(split.train.sequences) == [[1], [], [6]]
    assert (split.validation.users, lists(split.validation.histories), lists(split.validation.targets)) == (["u0"], [[1]], [[2]])
    assert (split.test.users, lists(split.test.histories), lists(split.test.targets)) == (["u0"], [[1, 2]], [[3, 4]])
    assert split.manifest["counts"]["users_not_evaluated"] == 2
    first = time_split(data([[1, 2, 3, 4], [5], [6]], timestamp=times), validation_from=5, test_from=8, targets="first")
    assert lists(first.test.targets) == [[3]]


def test_time_split_finds_moments_from_shares():
    split = time_split(data([list(range(1, 11))], timestamp=np.arange(10.0)), validation_share=0.2, test_share=0.3)
    assert max(split.train.timestamp) < split.manifest["options"]["validation_from"] < split.manifest["options"]["test_from"]
    assert lists(split.test.targets) == [[7, 8, 9, 10]]


def test_time_split_needs_a_common_clock():
    rows, times = [[1, 2, 3]], np.array([0.0, 1, 2])
    with pytest.raises(DataError, match="have none"):
        time_split(data(rows))
    with pytest.raises(DataError, match="only positions within each user"):
        time_split(data(rows, timestamp=times, timestamp_is_position=True))
    with pytest.raises(DataError, match="no interaction falls into training"):
        time_split(data(rows, timestamp=times), validation_from=0, test_from=1)
    with pytest.raises(DataError, match="not before"):
        time_split(data(rows, timestamp=times), validation_from=2, test_from=1)
    with pytest.raises(DataError, match="both"):
        time_split(data(rows, timestamp=times), test_from=1)


def test_a_time_split_that_comes_out_empty_says_what_helps():
    rows = [[1, 2, 3], [4, 5]]
    with pytest.raises(DataError, match="all times are alike: split by leave-one-out or ratio, or name the column"):
        time_split(data(rows, timestamp=np.full(5, 7.0)))
    with pytest.raises(DataError, match="too many interactions share a moment: split by leave-one-out or ratio, or give validation_from"):
        time_split(data(rows, timestamp=np.array([7.0, 7, 7, 7, 9])))
    with pytest.raises(DataError, match=r"give moments between 1\.0 and 5\.0, validation_from before test_from"):
        time_split(data(rows, timestamp=np.arange(1.0, 6)), validation_from=6, test_from=9)
    with pytest.raises(DataError, match="have none: split by leave-one-out or ratio"):
        time_split(data(rows))


def test_the_split_column_is_followed():
    part = np.array([0, 0, 1, 2, 2, 0, 0, 2], dtype=np.int8)
    split = split_by_part(data([[1, 2, 3, 4, 5], [6, 7, 8]], part=part))
    assert lists(split.train.sequences) == [[1, 2], [6, 7]]
    assert (split.validation.users, lists(split.validation.targets)) == (["u0"], [[3]])
    assert (lists(split.test.histories), lists(split.test.targets)) == ([[1, 2, 3], [6, 7]], [[4, 5], [8]])
    with pytest.raises(DataError, match="no given split"):
        split_by_part(data([[1, 2, 3]]))
    with pytest.raises(DataError, match="no row for training"):
        split_by_part(data([[1]], part=np.array([2], dtype=np.int8)))


@given(sequence_lists, st.integers(0, 3), st.sampled_from([0.1, 0.3, 0.5]))
def test_cold_items_never_reach_training(rows, seed, share):
    interactions = data(rows)
    try:
        split = cold_items(interactions, share=share, seed=seed)
    except DataError as error:
        assert "nothing is left to train on" in str(error)  # noqa: PT017
        return
    held = set(split.held_out.tolist())
    assert len(held) == round(share * 10)
    assert split.manifest["held_out"] == [item + 100 for item in sorted(held)]
    assert not held & set(split.train.sequences.values.tolist())
    long = [row for row in rows if len(row) >= 3]
    assert sorted(lists(split.test.targets) if split.test else []) == sorted([row[-1]] for row in long if row[-1] in held)
    assert sorted(lists(split.test.histories) if split.test else []) == sorted(row[:-1] for row in long if row[-1] in held)
    if split.validation:
        assert not held & set(split.validation.targets.values.tolist())
        assert not held & set(split.validation.histories.values.tolist())
    warm = [[item for item in (row[:-2] if len(row) >= 3 else row) if item not in held] for row in rows]
    assert lists(split.train.sequences) == warm


def test_cold_items_depend_on_the_seed_only():
    interactions = data([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])
    assert cold_items(interactions, share=0.3, seed=1).content_hash == cold_items(interactions, share=0.3, seed=1).content_hash
    drawn = {tuple(cold_items(interactions, share=0.3, seed=seed).held_out) for seed in range(5)}
    assert len(drawn) > 1


@pytest.mark.parametrize("share", [0, 1, -0.5, 0.01])
def test_cold_items_need_a_share_that_holds_something_out(share):
    with pytest.raises(DataError, match="cold items"):
        cold_items(data([[1, 2, 3]]), share=share)


@pytest.mark.parametrize("options", [{"test_share": 0}, {"validation_share": 0.6, "test_share": 0.5}, {"test_share": 1.5}])
def test_shares_outside_their_range_are_errors(options):
    with pytest.raises(DataError, match="shares must be above 0"):
        ratio_by_user(data([[1, 2, 3]]), **options)


def test_unknown_target_choice_gets_a_hint():
    with pytest.raises(DataError, match="did you mean 'first'"):
        ratio_by_user(data([[1, 2, 3]]), targets="frist")


def test_an_evaluation_set_must_match_in_length():
    with pytest.raises(DataError, match="do not match"):
        EvaluationSet(["u"], Ragged.from_rows([[1]]), Ragged.from_rows([[1], [2]]))
    both = EvaluationSet(["u", "v"], Ragged.from_rows([[1], [2]]), Ragged.from_rows([[3], [4]]))
    assert (both.take(np.array([1])).users, lists(both.take(np.array([1])).targets)) == (["v"], [[4]])


def test_parts_deal_the_catalogue_out():
    interactions = data([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] * 3)
    parts = [cold_items(interactions, share=0.3, seed=2, part=part).held_out for part in range(3)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(1, len(interactions.catalog) + 1))
    again = cold_items(interactions, share=0.3, seed=2, part=1)
    assert again.held_out.tolist() == parts[1].tolist()
    assert again.manifest["options"] == {"share": 0.3, "part": 1}
    other = cold_items(interactions, share=0.3, seed=3, part=1)
    assert other.held_out.tolist() != parts[1].tolist()


@pytest.mark.parametrize(
    ("part", "said"), [(3, "parts 0 to 2, there is no part 3"), (-1, "cold items: the part"), (0.5, "cold items: the part")]
)
def test_a_part_that_is_not_there_is_an_error(part, said):
    with pytest.raises(DataError, match=said):
        cold_items(data([[1, 2, 3, 4, 5, 6]]), share=0.3, part=part)


def test_the_manifest_says_what_was_done():
    manifest = cold_items(data([[1, 2, 3, 4]], filters=("k_core=5",), notes=("something dropped",)), share=0.2, seed=3).manifest
    assert (manifest["method"], manifest["seed"], manifest["options"]) == ("cold_items", 3, {"share": 0.2})
    assert manifest["filters"] == ["k_core=5"]
    assert manifest["notes"] == ["something dropped"]
    assert len(manifest["data_hash"]) == 64

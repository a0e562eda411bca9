"""Hashes and splits against their plain forms: one user, one row, one text at a time."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.files import sha256_parts, sha256_text
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, cold_items, leave_one_out, ratio_by_user

ITEMS = 6
histories = st.lists(st.lists(st.integers(1, ITEMS), min_size=1, max_size=7), min_size=1, max_size=6)
known = st.lists(st.text(max_size=3), unique=True, max_size=9) | st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=9)


def made(rows, users=None):
    catalog = ItemCatalog(IdMap(range(ITEMS)), {"title": [f"t{item}" for item in range(ITEMS)]})
    ragged = Ragged.from_rows(rows)
    ids = IdMap(users or [f"u{row}" for row in range(len(rows))])
    return Interactions(catalog, ids, ragged, timestamp=np.arange(len(ragged.values)) // 2 * 1.5)


def plain_hash(data):
    digest = hashlib.sha256()
    digest.update(data.catalog.content_hash.encode())
    digest.update(sha256_text(*(f"{type(user).__name__}:{user}" for user in data.users.ids)).encode())
    for array in (data.sequences.values, data.sequences.offsets, data.timestamp, data.rating, data.label, data.weight, data.part):
        digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes() + b"|")
    return digest.hexdigest()


def plain_set_hash(part):
    arrays = (part.histories.values, part.histories.offsets, part.targets.values, part.targets.offsets)
    return sha256_text(*map(str, part.users), *(array.tobytes().hex() for array in arrays))


def rows_of(ragged):
    return [row.tolist() for row in ragged]


def checked(part, expected):
    """See that a part of a split holds the users, histories and targets expected, and hashes as these do."""
    expected = [row for row in expected if row[1] and row[2]]
    if not expected:
        assert part is None
        return
    assert part.users == [row[0] for row in expected]
    assert rows_of(part.histories) == [row[1] for row in expected]
    assert rows_of(part.targets) == [row[2] for row in expected]
    assert part.content_hash == plain_set_hash(part)
    assert part.seen_targets == sum(target in history for _, history, targets in expected for target in targets)


@settings(max_examples=150, deadline=None)
@given(histories)
def test_leave_one_out_user_by_user(rows):
    data = made(rows)
    split = leave_one_out(data)
    assert rows_of(split.train.sequences) == [row[:-2] if len(row) > 2 else row for row in rows]
    named = [(f"u{place}", row) for place, row in enumerate(rows) if len(row) > 2]
    checked(split.validation, [(name, row[:-2], row[-2:-1]) for name, row in named])
    checked(split.test, [(name, row[:-1], row[-1:]) for name, row in named])
    counts = split.manifest["counts"]
    assert counts["users_not_evaluated"] == sum(len(row) < 3 for row in rows)
    assert counts["repeated_interactions"] == sum(len(row) - len(set(row)) for row in rows)
    assert split.manifest["data_hash"] == plain_hash(data)


@settings(max_examples=100, deadline=None)
@given(histories, st.sampled_from(["all", "first"]))
def test_ratio_user_by_user(rows, targets):
    split = ratio_by_user(made(rows), validation_share=0.3, test_share=0.3, targets=targets)
    valid, test, train = [], [], []
    for place, row in enumerate(rows):
        tests = max(1, int(len(row) * 0.3)) if len(row) > 2 else 0
        valids = min(max(1, int(len(row) * 0.3)), len(row) - tests - 1) if len(row) > 2 else 0
        first, second = len(row) - tests - valids, len(row) - tests
        train.append(row[:first])
        cut = slice(0, 1) if targets == "first" else slice(None)
        valid.append((f"u{place}", row[:first], row[first:second][cut]))
        test.append((f"u{place}", row[:second], row[second:][cut]))
    assert rows_of(split.train.sequences) == train
    checked(split.validation, valid)
    checked(split.test, test)


def test_cold_items_by_hand():
    rows = [[1, 2, 3, 4], [4, 3, 2, 1], [5, 6, 5, 6]]
    split = cold_items(made(rows), share=0.34, seed=1)
    cold = set(split.held_out.tolist())
    assert len(cold) == 2
    assert rows_of(split.train.sequences) == [[item for item in row[:-2] if item not in cold] for row in rows]
    checked(split.test, [(f"u{place}", row[:-1], [row[-1]] if row[-1] in cold else []) for place, row in enumerate(rows)])


@given(known)
def test_ids_hash_as_their_texts_with_types(ids):
    expected = sha256_text(*(f"{type(one).__name__}:{one}" for one in ids))
    assert IdMap(ids).content_hash == expected
    column = pa.array(ids, pa.int64() if ids and isinstance(ids[0], int) else pa.string())
    encoded, rows = IdMap.from_column(column)
    assert encoded.content_hash == expected
    assert rows.tolist() == list(range(1, len(ids) + 1))
    assert encoded == IdMap(ids)
    assert len(encoded) == len(ids)
    assert encoded.ids == ids


def test_ids_of_both_types_hash_and_are_taken():
    mixed = IdMap([7, "7", "b\ud800"])
    assert mixed.content_hash == sha256_text("int:7", "str:7", "str:b\ud800")
    assert mixed.take(np.array([2, 0])).ids == ["b\ud800", 7]
    column = IdMap.of_distinct(pa.array(["a", "b", "c"]))
    assert column.take(np.array([2, 0])).ids == ["c", "a"]
    assert column.decode([3, 1]) == ["c", "a"]
    assert column.encode(["c", 1]).tolist() == [3, 0]
    assert column != IdMap.of_distinct(pa.array(["a", "b", "d"]))
    assert IdMap.of_distinct(pa.array([1])) != IdMap.of_distinct(pa.array(["1"]))


def test_arrays_beyond_one_piece_hash_as_a_whole():
    array = np.arange(300_000)
    assert sha256_parts(["a", "é"], [array, array[:0]]) == sha256_text("a", "é", array.tobytes().hex(), "")


@pytest.mark.parametrize("keep", [[True, False, True, True], [False] * 4, [True] * 4])
def test_where_keeps_rows_that_become_empty(keep):
    rows = Ragged.from_rows([[], [1, 2], [], [3, 4]])
    mask = np.array(keep)
    expected = [
        [],
        [value for value, kept in zip([1, 2], keep[:2], strict=True) if kept],
        [],
        [v for v, k in zip([3, 4], keep[2:], strict=True) if k],
    ]
    assert rows_of(rows.where(mask)) == expected
    assert rows_of(rows.without_empty()) == [[1, 2], [3, 4]]


def test_several_targets_of_a_row_are_counted_each():
    part = EvaluationSet(["a", "b"], Ragged.from_rows([[1, 2], [3]]), Ragged.from_rows([[1, 2, 3], [4]]))
    assert part.seen_targets == 2

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.data import ids as ids_module
from bertrec.data.ids import IdMap

external = st.one_of(st.text(max_size=4), st.integers(-(2**63), 2**63 - 1))


def test_inner_ids_run_from_one_and_unknown_is_zero():
    ids = IdMap(["b", "a", "007"])
    assert ids.encode(["007", "b", "7", "a"]).tolist() == [3, 1, 0, 2]
    assert ids.encode(["a"]).dtype == np.int64
    assert ids.decode([3, 1]) == ["007", "b"]
    assert len(ids.encode([])) == 0


def test_numbers_and_texts_are_different_ids():
    ids = IdMap([7, "7", np.int64(8)])
    assert ids.encode(["7", 7, "8", 8]).tolist() == [2, 1, 0, 3]
    assert ids.ids == [7, "7", 8]
    assert type(ids.ids[2]) is int


def test_ids_typed_by_hand_are_found_as_numbers():
    assert IdMap([7, "8", -2]).from_text(["7", "8", "9", "-2", "--3"]) == [7, "8", "9", -2, "--3"]


@given(st.lists(external, unique=True, max_size=12), st.lists(external, max_size=12))
def test_decode_undoes_encode(known, asked):
    ids = IdMap(known)
    assert ids.decode(ids.encode(known)) == known
    assert ids.encode(asked).tolist() == [known.index(value) + 1 if value in known else 0 for value in asked]


@settings(max_examples=60)
@given(
    st.one_of(st.lists(st.text(max_size=3), unique=True, max_size=9), st.lists(st.integers(0, 2**63 - 1), unique=True, max_size=9)),
    st.one_of(st.lists(st.text(max_size=3), max_size=9), st.lists(st.integers(0, 2**64 - 1), max_size=9), st.lists(external, max_size=9)),
)
def test_arrow_and_dict_look_ups_agree(known, asked):
    ids = IdMap(known)
    expected = ids.encode(asked)
    few, ids_module._FEW = ids_module._FEW, 0
    try:
        assert ids.encode(asked).tolist() == expected.tolist()
        if asked and all(isinstance(value, str) for value in asked):
            assert ids.encode(pa.chunked_array([asked, asked])).tolist() == [*expected, *expected]
            assert ids.encode(pa.array(asked).dictionary_encode()).tolist() == expected.tolist()
    finally:
        ids_module._FEW = few


def test_a_column_is_numbered_in_order_of_appearance():
    ids, inner = IdMap.from_column(pa.chunked_array([["x", "y"], ["x", "z"]]))
    assert ids.ids == ["x", "y", "z"]
    assert inner.tolist() == [1, 2, 1, 3]


def test_many_numpy_ids_are_looked_up():
    ids = IdMap(range(20_000))
    assert np.array_equal(ids.encode(np.arange(20_000)), np.arange(1, 20_001))
    assert ids.encode(np.array(["1"] * 20_000)).sum() == 0


@pytest.mark.parametrize(
    ("bad", "message"), [(["a", "b", "a"], "'a' occurs more than once"), ([1.5], "1.5"), ([None], "None"), ([True], "bool")]
)
def test_bad_ids_are_named(bad, message):
    with pytest.raises(DataError, match=message):
        IdMap(bad)


@pytest.mark.parametrize("inner", [[0], [4], [-1]])
def test_decoding_outside_the_range_is_an_error(inner):
    with pytest.raises(DataError, match="run from 1 to 3"):
        IdMap(["a", "b", "c"]).decode(inner)

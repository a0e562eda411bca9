import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.distinct import among, distinct, without

close, far = st.integers(-5, 40), st.integers(-5, 10**6)  # by flags, by sorting
numbers = st.lists(close | far, max_size=30).map(lambda row: np.array(row, np.int64)) | st.lists(close, max_size=30).map(
    lambda row: np.abs(np.array(row, np.int64))
)


@given(numbers, numbers)
def test_both_are_what_sets_give(values, others):
    assert distinct(values).tolist() == sorted(set(values.tolist()))
    assert without(values, others).tolist() == sorted(set(values.tolist()) - set(others.tolist()))
    assert among(values, others).tolist() == [value in others.tolist() for value in values.tolist()]


@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_the_kind_of_number_is_kept_and_nothing_is_changed_in_place(kind):
    values = np.array([2, 1, 2], kind)
    assert distinct(values).dtype == kind
    assert values.tolist() == [2, 1, 2]

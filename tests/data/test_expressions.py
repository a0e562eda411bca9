"""Conditions over item attributes: what they keep, and what a wrong one says."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.data import IdMap, ItemCatalog
from bertrec.data.expressions import ItemColumns, amounts, keeps, labels_of

ATTRIBUTES = pa.table(
    {
        "price": [10.0, 60.0, None, float("nan")],
        "in_stock": [True, False, True, None],
        "class": [["x", "y"], ["y"], None, []],
        "since": pa.array([dt.date(2020, 1, 1), None, dt.date(2021, 1, 1), None]),
        "seen": pa.array([dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC), None, None, None], pa.timestamp("us", "UTC")),
        "n": pa.array([1, 2, 3, 4], pa.uint8()),
        "unit price": [1, 2, 3, None],
        "none": pa.nulls(4),
        "size": ["1", "$2.50", "V", None],
        "kind": pa.array(["p", "q", "p", None]).dictionary_encode(),
    }
)
CATALOG = ItemCatalog(IdMap(range(4)), {"title": ["Red shoe", "Blue hat", "", "shoe"], "brand": ["A", "B", "a", ""]}, attributes=ATTRIBUTES)
COLUMNS = ItemColumns(CATALOG)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("price < 50 and in_stock", [0]),
        ("price != 10", [1]),
        ("not price == 10", [1, 2, 3]),
        ("price is None", [2, 3]),
        ("price is not None", [0, 1]),
        ("10 <= price < 60", [0]),
        ("price / 2 + 1 > 6", [1]),
        ("-price < -10", [1]),
        ("price / 0 > 1", []),
        ("in_stock == False", [1]),
        ("in_stock == 1", [0, 2]),
        ("in_stock == true or n == 4", [0, 2, 3]),
        ("'x' in class", [0]),
        ("'x' not in class", [1, 3]),
        ("not 'x' in class or n == 1", [0, 1, 2, 3]),
        ("since >= '2020-06-01'", [2]),
        ("since == '2020-01-01 00:00'", [0]),
        ("seen < '2020-01-01T14:00+01:00'", [0]),
        ("seen > since", [0]),
        ("n in (1, 3.0, 9)", [0, 2]),
        ("n not in [1]", [1, 2, 3]),
        ("brand in ('A', 'B')", [0, 1]),
        ("brand not in ('A',)", [1, 2]),
        ("lower(brand) == 'a'", [0, 2]),
        ("brand < 'B'", [0]),
        ("'shoe' in title", [0, 3]),
        ("title is None", [2]),
        ("col('unit price') > 1", [1, 2]),
        ("number(size) > 2", [1]),
        ("kind == 'p'", [0, 2]),
        ("none == 1 or none is None and n > 2", [2, 3]),
        ("in_stock", [0, 2]),
        ("n - 1", [1, 2, 3]),
        ("none", []),
        ("True", [0, 1, 2, 3]),
        ("1e999 > n", [0, 1, 2, 3]),
    ],
)
def test_a_condition_keeps_the_items_of_which_it_holds(text, kept):
    found = keeps(COLUMNS, text)
    assert found.dtype == bool
    assert np.flatnonzero(found[1:]).tolist() == kept


@pytest.mark.parametrize(
    ("text", "held"), [("price < 50", False), ("not price < 50", True), ("title is None", True), ("'x' not in class", False)]
)
def test_an_item_of_which_nothing_is_known_has_only_missing_values(text, held):
    assert keeps(COLUMNS, text)[0] == held


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prise < 50", "unknown attribute 'prise': did you mean 'price'? (one of: brand, class, "),
        ("price < 'a'", "'price' is a number (such as 10.0), 'a' is text: compare it with a number, such as price < 50"),
        ("size > 3", "'size' is text (such as '1'), 3 is a number: compare texts, size == '3', or numbers, number(size) < 50"),
        ("brand", "'brand' is text, not true or false: compare it, such as brand == 'x'"),
        ("class == 'x'", "'class' is a list (such as ['x', 'y']), 'x' is text: write 'x' in class"),
        ("class", "compare it, such as 'x' in class"),
        ("since > 3", "'since' is a time, 3 is a number: write since >= '2024-01-31'"),
        ("since > 'soon'", "'since' is a time, and 'soon' is none: write '2024-01-31'"),
        (
            "col('unit price') == 'x'",
            "'unit price' is a number (such as 1), 'x' is text: compare it with a number, such as col('unit price') < 50",
        ),
        ("col('unit prise') == 1", "unknown attribute 'unit prise': did you mean 'unit price'?"),
        ("price == None", "nothing equals None: write price is None, or is not None"),
        ("price is 3", "'is' asks whether a value is missing"),
        ("price = 3", "cannot be read"),
        ("price < 3 AND n", "cannot be read"),
        ("", "cannot be read"),
        ("n in brand", "write a value in an attribute"),
        ("3 in brand", "compare texts, brand == '3'"),
        ("brand + 1 > 2", "'brand' is text, where a number is wanted: write number(brand)"),
        ("lower(price) == 'a'", "lower reads text"),
        ("in_stock == 'yes'", "'in_stock' is true or false, 'yes' is text: write in_stock or not in_stock"),
        ("__import__('os').system('true')", "unknown function"),
        ("price.real > 1", "'price.real' is not understood"),
        ("number(size, n)", "number takes one argument"),
        ("col(n) > 1", "col takes the name of an attribute in quotation marks"),
        ("n ** 9 ** 9 > 1", "is not understood"),
        ("[n for n in class]", "is not understood"),
        ("(lambda: 1)()", "unknown function"),
        ("n if n else 2", "is not understood"),
        ("f'{n}' == '1'", "is not understood"),
        ("n == b'x'", "is no number"),
        ("(" * 500 + "n" + ")" * 500, "cannot be read"),
        ("not " * 2400 + "n", "nested too deeply"),
        ("n" * 10_001, "letters are too many"),
        ("n" + ".a" * 1900, "nested too deeply"),
        ("lambda: " + "-" * 1500 + "n", "nested too deeply"),
        ("0x" + "f" * 3900, "too many digits"),
        ("n < 0x" + "f" * 3900, "too many digits"),
        ("brand == '\\ud800'", "half of a surrogate pair"),
        ("'\\udfff' in tags", "half of a surrogate pair"),
        ("x" * 5_000 + " < 1", "unknown attribute"),
        ("col('" + "x" * 5_000 + "') < 1", "unknown attribute"),
    ],
)
def test_a_wrong_condition_is_one_line_that_says_what_where_and_how_to_mend_it(text, said):
    with pytest.raises(DataError) as caught:
        keeps(COLUMNS, text)
    assert said in str(caught.value)
    assert str(caught.value).startswith("filter ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_items_with_ids_alone_have_nothing_to_filter_by():
    with pytest.raises(DataError, match="unknown attribute 'price': the items have ids alone"):
        keeps(ItemColumns(ItemCatalog(IdMap([1]), {})), "price < 3")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="npricetags <>=!&|()[]{}'\"0123456789.,+-*/%notandorinNone\n\t#:@é", max_size=40))
def test_any_text_is_a_condition_or_an_error_in_one_line(text):
    said = ""
    try:
        found = keeps(COLUMNS, text)
    except DataError as error:
        said = str(error)
    assert "\n" not in said
    assert said.startswith("filter ") or found.shape == (5,)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("price", [10, 60, 0, 0]),
        ("in_stock", [1, 0, 1, 0]),
        ("price < 50", [1, 0, 0, 0]),
        ("2 * n - 1", [1, 3, 5, 7]),
        ("none", [0, 0, 0, 0]),
    ],
)
def test_an_amount_is_a_number_or_whether_a_condition_holds(text, values):
    assert amounts(COLUMNS, text)[1:].tolist() == values


@pytest.mark.parametrize(
    ("text", "said"), [("brand", "use a number, number(brand), or a condition"), ("since", "'since' is a time"), ("'x'", "is text")]
)
def test_an_amount_is_no_text_and_no_time(text, said):
    with pytest.raises(DataError, match=r"^boost ") as caught:
        amounts(COLUMNS, text)
    assert said in str(caught.value)


def test_labels_are_the_distinct_values_of_each_item():
    codes, offsets = labels_of(COLUMNS, "class", "at_most")
    assert (codes.tolist(), offsets.tolist()) == ([0, 1, 1], [0, 0, 2, 3, 3, 3])
    codes, offsets = labels_of(COLUMNS, "brand", "at_most")
    assert (codes.tolist(), offsets.tolist()) == ([0, 1, 2], [0, 0, 1, 2, 3, 3])
    repeated = ItemCatalog(IdMap([1]), {}, attributes=pa.table({"tags": [["b", "a", "b"]]}))
    assert labels_of(ItemColumns(repeated), "tags", "at_most")[0].tolist() == [0, 1]

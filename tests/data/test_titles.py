from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.data.titles import Titles

TITLES = ["Aladdin", "Aladdin and the King of Thieves", "Toy Story", "toy story", "기생충", "The Matrix", "Heat", "Heat", "Dead Heat"]


@pytest.mark.parametrize(
    ("typed", "position"),
    [
        ("Aladdin", 0),
        ("ALADDIN", 0),
        ("aladdin and", 1),
        ("Toy Story", 2),
        ("toy story", 3),
        ("기생", 4),
        ("matrix", 5),
        (" the matrix ", 5),
    ],
)
def test_the_strictest_test_that_fits_one_title_wins(typed, position):
    assert Titles(TITLES).find(typed) == position


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("TOY STORY", "fits 2 items: Toy Story; toy story"),
        ("Heat", "2 items have the title 'Heat': name the item by its id"),
        ("t", "fits 3 items"),
        ("The Matrxi", "nearest are The Matrix"),
        ("zzzzzz", "no item has the title 'zzzzzz'$"),
        ("  ", "empty title"),
    ],
)
def test_a_title_that_names_no_item_or_several_is_an_error(typed, said):
    with pytest.raises(DataError, match=said):
        Titles(TITLES).find(typed)


def test_a_long_list_of_fitting_titles_is_cut():
    with pytest.raises(DataError, match=r"fits 9 items: .* and 4 more"):
        Titles([f"Part {i}" for i in range(9)]).find("part")


@given(st.lists(st.text(min_size=1), unique=True, min_size=1), st.data())
def test_every_distinct_title_finds_its_own_item(titles, data):
    position = data.draw(st.integers(0, len(titles) - 1))
    if titles[position].strip():
        assert Titles(titles).find(titles[position]) == position


def test_a_withdrawn_item_gives_way_to_a_listed_one_of_the_same_title():
    titles = ["Red Kettle", "Oak Shelf", "red kettle", "Red Kettle"]
    assert Titles(titles, listed=[False, True, True, True]).find("Red Kettle") == 3
    assert Titles(titles, listed=[False, True, True, False]).find("RED KETTLE") == 2
    assert Titles(titles[:2], listed=[False, True]).find("Red Kettle") == 0


def test_items_of_one_title_are_named_by_their_ids():
    with pytest.raises(DataError, match=r"2 items have the title 'Red Kettle': name the item by its id, such as p1 or p9$"):
        Titles(["Red Kettle", "Red Kettle"], ids=["p1", "p9"]).find("Red Kettle")

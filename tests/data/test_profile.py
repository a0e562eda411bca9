from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from bertrec.core.errors import BertrecError, ConfigError, DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.item_labels import item_labels, split_labels, usual_field
from bertrec.data.profile import profile_keywords, profile_text, profile_texts


@pytest.fixture(scope="module")
def catalog():
    rows = [("a", "A", "Comedy, Drama"), ("b", "B", "Drama"), ("c", "C", "Science Fiction, 드라마"), ("d", "D", "")]
    return ItemCatalog.from_frame(pd.DataFrame(rows, columns=["item_id", "title", "genres"]))


@pytest.mark.parametrize(
    ("history", "options", "said"),
    [
        ([1, 2], {}, "likes Drama, Comedy"),
        ([1, 2, 3], {}, "likes Drama, 드라마, Science Fiction"),  # equals: met last comes first
        ([3, 3, 1, 2, 2], {"top": 1}, "likes Drama"),
        ([3, 3, 1], {"top": 2, "template": "좋아함: {top}", "separator": " / "}, "좋아함: 드라마 / Science Fiction"),
        ([0, 2], {}, "likes Drama"),
        ([4], {}, ""),
        ([], {}, ""),
    ],
)
def test_profiles_worked_out_by_hand(catalog, history, options, said):
    assert profile_text(history, catalog, field="genres", **options) == said


def test_many_histories_at_once(catalog):
    assert profile_texts(Ragged.from_rows([[2], [], [1]]), catalog, field="genres") == ["likes Drama", "", "likes Drama, Comedy"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"field": "genre"}, DataError, "did you mean 'genres'"),
        ({"field": "genres", "template": "likes"}, ConfigError, "{top}"),
        ({"field": "genres", "template": "{top} {title}"}, ConfigError, "no other"),
        ({"field": "genres", "template": "{top"}, BertrecError, "template"),
        ({"field": "genres", "top": 0}, ConfigError, "top is 0"),
    ],
)
def test_what_cannot_be_said(catalog, options, error, said):
    with pytest.raises(error, match=said.replace("{", r"\{").replace("}", r"\}")):
        profile_text([1], catalog, **options)


def test_an_item_outside_the_catalogue_is_named(catalog):
    with pytest.raises(DataError, match="9"):
        profile_text([9], catalog, field="genres")


def test_the_labels_of_a_field_by_inner_id(catalog):
    labels = item_labels(catalog, "genres")
    names = [[labels.names[label] for label in row] for row in labels.by_inner_id]
    assert names == [[], ["Comedy", "Drama"], ["Drama"], ["Science Fiction", "드라마"], []]
    assert usual_field(catalog) == "genres"
    assert usual_field(ItemCatalog.from_frame(pd.DataFrame({"item_id": ["a"], "title": ["A"]}))) is None


BOOKS = split_labels("kind", ["book", "book, chess", "book", "book, war", ""])
TAKEN = np.array([0, 100, 1, 100, 100, 0])


def worth(y, n, b, total, prior=10.0):
    """Monroe's z, written out once more."""
    a = prior * b / total
    c = prior - a
    odds = math.log((y + a) / (n - y + c)) - math.log((b + a) / (total - b + c))
    return odds / math.sqrt(1 / (y + a) + 1 / (n - y + c) + 1 / (b + a) + 1 / (total - b + c))


def test_keywords_worked_out_by_hand():
    # Of 301 + 2 interactions 302 are of books, 2 of chess, 101 of war. The user took a book on chess twice, one on war, and one book.
    told = profile_keywords(Ragged.from_rows([[2, 2, 4, 1], [1, 3], [], [5, 0]]), BOOKS, TAKEN)
    assert [round(worth(*one), 2) for one in ((2, 4, 2, 303), (1, 4, 101, 303), (4, 4, 302, 303))] == [3.17, -0.18, 0.06]
    assert told == ["likes chess", "", "", ""]  # books are all that there is, and so tell nothing
    assert profile_keywords(Ragged.from_rows([[2, 2, 4, 1]]), BOOKS, TAKEN, template="여기 {top}") == ["여기 chess"]


def test_keywords_are_those_of_the_formula_whatever_the_table():
    draw = np.random.default_rng(3)
    column = [", ".join(f"l{label}" for label in draw.choice(9, draw.integers(0, 4), replace=False)) or "l0" for _ in range(30)]
    labels, counts = split_labels("kind", column), np.append(0, draw.integers(0, 40, 30))
    histories = Ragged.from_rows([draw.integers(1, 31, draw.integers(0, 12)) for _ in range(60)])
    total = counts.sum() + 2
    on = [set(row.tolist()) for row in labels.by_inner_id]
    for history, told in zip(histories, profile_keywords(histories, labels, counts, top=2, prior=4.0), strict=True):
        values = {}
        for number, name in enumerate(labels.names):
            y = sum(number in on[item] for item in history)
            b = 1 + sum(int(counts[item]) for item in range(1, 31) if number in on[item])
            if y and (z := worth(y, len(history), b, total, 4.0)) > 1:
                values[name] = (-round(z, 9), -y, name)
        expected = sorted(values, key=values.__getitem__)[:2]
        assert told == (f"likes {', '.join(expected)}" if expected else "")


def test_a_label_common_to_all_users_never_wins_over_a_rarer_typical_one():
    draw = np.random.default_rng(0)
    hobbies = [f"hobby {k:02}" for k in range(20)]
    column = [f"book; {hobby}" if number % 2 else hobby for hobby in hobbies for number in range(4)] + ["book"] * 20
    labels = split_labels("kind", column)
    own = [draw.choice(4, 2, replace=False) + 4 * (user % 20) + 1 for user in range(200)]
    histories = Ragged.from_rows([[*draw.choice(20, 6, replace=False) + 81, *items] for items in own])
    counts = np.bincount(histories.values, minlength=101)
    assert profile_texts(histories, ItemCatalog.from_frame(table_of(column)), field="kind", top=1) == ["likes book"] * 200
    assert profile_keywords(histories, labels, counts) == [f"likes {hobbies[user % 20]}" for user in range(200)]


def table_of(column):
    return pd.DataFrame({"item_id": [f"i{k}" for k in range(len(column))], "title": column, "kind": column})


def test_equal_keywords_come_by_name_whatever_their_order():
    for names in (["a", "b", "c"], ["c", "b", "a"]):
        labels = split_labels("kind", [*names, "d"])
        told = profile_keywords(Ragged.from_rows([[1, 2, 3], [3, 2, 1]]), labels, np.array([0, 1, 1, 1, 500]))
        assert told == ["likes a, b, c"] * 2


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"top": 0}, ConfigError, "top is 0"),
        ({"prior": 0}, ConfigError, "prior is 0"),
        ({"template": "likes"}, ConfigError, "placeholder"),
        ({"counts": np.ones(3)}, DataError, "counts must hold 6 numbers"),
        ({"histories": Ragged.from_rows([[6]])}, DataError, "outside 0 to 5"),
    ],
)
def test_keywords_that_cannot_be_told(options, error, said):
    given = {"histories": Ragged.from_rows([[1]]), "labels": BOOKS, "counts": TAKEN, **options}
    with pytest.raises(error, match=said):
        profile_keywords(given.pop("histories"), given.pop("labels"), given.pop("counts"), **given)

from __future__ import annotations

import pandas as pd
import pytest

from bertrec.core.errors import BertrecError, ConfigError, DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.item_labels import item_labels, usual_field
from bertrec.data.profile import profile_text, profile_texts


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

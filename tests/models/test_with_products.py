"""Today's products as a data frame."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from bertrec.core.errors import DataError, ModelError
from bertrec.data.splits import Split
from bertrec.models.base import Recommender
from bertrec.models.registry import create

NEW = pd.DataFrame({"item_id": ["new"], "title": ["red thing number1"], "colour": ["red"], "price": [9.5]})


@pytest.fixture(scope="module")
def model(split: Split, encoder_name: str) -> Recommender:
    return create("max-similarity", settings={"encoder.name": encoder_name}).fit(split.train)


def test_a_part_adds_to_the_catalogue(model: Recommender) -> None:
    other = model.with_products(NEW, delta=True)
    assert len(other.catalog) == len(model.catalog) + 1
    assert other.catalog.attributes["price"].to_pylist()[-1] == 9.5
    assert other.recommend([["red-1"]], 1).items == [["new"]]  # of the very text that the user had
    assert len(model.catalog) == len(other.catalog) - 1
    assert other.recommend([["new"]], 1).items == [["red-1"]]  # it can stand in a history


def test_a_whole_table_takes_away_what_it_lacks(model: Recommender) -> None:
    frame = model.catalog.to_frame()
    left = frame[frame.item_id != "red-2"]
    other = model.with_products(pd.concat([left, NEW]))
    everything = other.recommend([["red-2"]], 100).items[0]
    assert "red-2" not in everything
    assert set(everything) == {"new", *left.item_id}


def test_names_of_ones_own(model: Recommender) -> None:
    other = model.with_products(NEW.rename(columns={"item_id": "sku"}), delta=True, item_id="sku")
    assert other.catalog.ids.ids[-1] == "new"


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (NEW.drop(columns="colour"), "the products: unknown text field 'colour'"),
        (pd.concat([NEW, NEW.assign(title="blue")]), "new"),
        (NEW.drop(columns="item_id"), "item_id"),
        ([1, 2], "the products"),
    ],
)
def test_bad_products_are_one_line(model: Recommender, frame: Any, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        model.with_products(frame, delta=True)
    assert "\n" not in str(caught.value)


def test_a_model_of_ids_says_so(split: Split) -> None:
    with pytest.raises(ModelError, match="does not read what they say"):
        create("popularity").fit(split.train).with_products(NEW, delta=True)

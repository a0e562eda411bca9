"""What a table of items changes in a catalogue, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bertrec.core.errors import DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.changes import catalog_changes, ids_like, same_items
from bertrec.data.column_changes import column_changes
from bertrec.data.ids import IdMap


def catalog(**titles: str) -> ItemCatalog:
    return ItemCatalog(IdMap(titles), {"title": list(titles.values())})


def priced(prices: dict[str, object], **more: list[object]) -> ItemCatalog:
    table = pa.table({"price": pa.array(list(prices.values())), **{name: pa.array(column) for name, column in more.items()}})
    return ItemCatalog(IdMap(prices), {"title": [f"title of {one}" for one in prices]}, attributes=table)


OLD = catalog(a="kettle", b="lamp", c="rug")


def test_new_changed_and_vanished_items_are_told_by_content_and_keep_their_places() -> None:
    found = catalog_changes(OLD, catalog(d="shelf", c="rug", b="brass lamp"))
    assert (found.new, found.changed, found.vanished, found.returned) == (["d"], ["b"], ["a"], [])
    assert (found.unchanged, found.to_encode) == (1, 2)
    assert found.catalog.ids.ids == ["a", "b", "c", "d"]
    assert found.catalog.titles == ["kettle", "brass lamp", "rug", "shelf"]
    assert found.catalog.listed.tolist() == [False, False, True, True, True]


def test_another_order_is_no_change() -> None:
    found = catalog_changes(OLD, catalog(c="rug", a="kettle", b="lamp"))
    assert not found
    assert found.catalog.content_hash == OLD.content_hash
    assert found.unchanged == 3


def test_a_text_that_stands_elsewhere_already_is_not_to_be_encoded() -> None:
    assert catalog_changes(OLD, catalog(a="lamp", b="lamp", c="rug", d="kettle")).to_encode == 0


def test_a_withdrawn_item_stays_withdrawn_until_it_returns() -> None:
    without = catalog_changes(OLD, catalog(b="lamp", c="rug")).catalog
    again = catalog_changes(without, catalog(b="lamp", c="rug"))
    assert not again
    assert again.unchanged == 2
    back = catalog_changes(without, catalog(a="kettle", b="lamp", c="rug"))
    assert (back.returned, back.changed, back.unchanged) == (["a"], [], 2)
    assert back.catalog.content_hash == OLD.content_hash
    changed = catalog_changes(without, catalog(a="blue kettle", b="lamp", c="rug"))
    assert (changed.returned, changed.changed, changed.unchanged) == (["a"], ["a"], 2)


def test_of_a_part_nothing_vanishes() -> None:
    found = catalog_changes(OLD, catalog(b="brass lamp", d="shelf"), delta=True)
    assert (found.new, found.changed, found.vanished, found.unchanged) == (["d"], ["b"], [], 2)
    assert found.catalog.titles == ["kettle", "brass lamp", "rug", "shelf"]


def test_vanished_items_may_be_dropped_former_ones_too() -> None:
    without = catalog_changes(OLD, catalog(b="lamp", c="rug")).catalog
    found = catalog_changes(without, catalog(c="rug"), drop=True)
    assert found.catalog.ids.ids == ["c"]
    assert found.vanished == ["b"]


def test_attributes_are_those_of_today_and_withdrawn_items_keep_theirs() -> None:
    old = priced({"a": 1.5, "b": 2.0, "c": 3.0})
    found = catalog_changes(old, priced({"b": 4, "c": 3, "d": 5}))  # whole numbers today
    assert found.catalog.attributes is not None
    assert found.catalog.attributes["price"].to_pylist() == [1.5, 4, 3, 5]
    assert (found.described, found.new, found.vanished, found.unchanged) == (["b"], ["d"], ["a"], 1)
    assert found.catalog.content_hash != old.content_hash


def test_attributes_alone_leave_the_hash() -> None:
    old = priced({"a": 1.5, "b": 2.0})
    found = catalog_changes(old, priced({"a": 1.5, "b": 9.0}))
    assert (found.described, bool(found)) == (["b"], True)
    assert found.catalog.content_hash == old.content_hash


def test_of_a_part_columns_that_it_lacks_stay() -> None:
    old = priced({"a": 1, "b": 2}, tags=[["x"], ["y", "z"]])
    part = ItemCatalog(IdMap(["b"]), {"title": ["title of b"]}, attributes=pa.table({"price": [7]}))
    found = catalog_changes(old, part, delta=True)
    assert found.catalog.attributes is not None
    assert found.catalog.attributes.to_pydict() == {"price": [1, 7], "tags": [["x"], ["y", "z"]]}


def test_types_that_do_not_go_together_lose_nothing_of_today() -> None:
    found = catalog_changes(priced({"a": "cheap", "b": "dear"}), priced({"b": 2}))
    assert found.catalog.attributes is not None
    assert found.catalog.attributes["price"].to_pylist() == ["cheap", "2"]


def part_of(ids: list[str], titles: list[str], **columns: pa.Array) -> ItemCatalog:
    return ItemCatalog(IdMap(ids), {"title": titles}, attributes=pa.table(columns))


@pytest.mark.parametrize("said", [pa.array([1917]), pa.nulls(1), pa.array([True])])
def test_a_text_field_is_no_attribute_because_the_few_of_a_part_look_so(said: pa.Array) -> None:
    found = catalog_changes(priced({"a": 1, "b": 2}), part_of(["b"], ["1917"], title=said), delta=True).catalog
    assert found.attribute_names == ["price"]
    assert found.fields["title"] == ["title of a", "1917"]


def test_a_text_field_that_is_an_attribute_too_is_missing_where_a_part_says_something_else() -> None:
    old = ItemCatalog(IdMap(["a", "b"]), {"year": ["1916", "1917"]}, attributes=pa.table({"year": [1916, 1917]}))
    found = catalog_changes(old, ItemCatalog(IdMap(["b"]), {"year": ["unknown"]}), delta=True).catalog
    assert found.attributes is not None
    assert found.attributes["year"].to_pylist() == [1916, None]


@pytest.mark.parametrize("before", [[1.5, 2.5], [1, 2], [True, False]])
def test_one_text_in_a_part_does_not_make_text_of_a_column_of_all(before: list[object]) -> None:
    old = priced({"a": before[0], "b": before[1]})
    with pytest.raises(DataError, match=r"column 'price' is of the type .* the changes hold text, such as '12,50'"):
        catalog_changes(old, part_of(["b"], ["title of b"], price=pa.array(["12,50"])), delta=True)


def test_numbers_among_other_ids_are_the_ids_that_they_name() -> None:
    old = ItemCatalog(IdMap([1, 2]), {"title": ["kettle", "lamp"]})
    found = catalog_changes(old, ItemCatalog(IdMap(["2", "X9", "1"]), {"title": ["lamp", "rug", "tin kettle"]}), delta=True)
    assert (found.new, found.changed, found.unchanged, found.catalog.ids.ids) == (["X9"], [1], 1, [1, 2, "X9"])


def test_ids_of_a_text_file_are_read_as_the_catalogue_has_them() -> None:
    old = ItemCatalog(IdMap([1, 2]), {"title": ["kettle", "lamp"]})
    assert catalog_changes(old, ItemCatalog(IdMap(["2", "1"]), {"title": ["lamp", "kettle"]})).unchanged == 2
    assert ids_like(IdMap(["007"]), old.ids).ids == ["007"]
    assert ids_like(IdMap([5]), IdMap(["a"])).ids == ["5"]


def test_other_text_fields_are_refused() -> None:
    with pytest.raises(DataError, match="the products have the text fields name, the catalogue has title"):
        catalog_changes(OLD, ItemCatalog(IdMap(["a"]), {"name": ["kettle"]}))


def test_withdrawn_items_are_saved_and_cut_out(tmp_path: Path) -> None:
    without = catalog_changes(OLD, catalog(b="lamp", c="rug")).catalog
    without.save(tmp_path)
    loaded = ItemCatalog.load(tmp_path)
    assert loaded.listed.tolist() == [False, False, True, True]
    assert loaded.content_hash == without.content_hash != OLD.content_hash
    assert loaded.take([1, 0]).listed.tolist() == [False, True, False]
    with pytest.raises(DataError, match="withdrawn has shape"):
        ItemCatalog(IdMap(["a"]), {}, withdrawn=np.zeros(2, np.bool_))


def test_the_same_items_are_the_same_in_any_order_and_with_withdrawn_ones_beside_them() -> None:
    without = catalog_changes(OLD, catalog(b="lamp", c="rug")).catalog
    assert same_items(without, catalog(c="rug", b="lamp"))
    assert not same_items(without, OLD)
    assert not same_items(without, catalog(c="rug", b="Lamp"))


def test_a_part_without_values_of_a_text_field_leaves_the_texts_of_others_to_filters() -> None:
    rows = {"item_id": ["a", "b"], "title": ["Kettle", "Rug"], "kind": ["kitchen", "floor"]}
    old = ItemCatalog.from_frame(pa.table(rows))
    part = ItemCatalog.from_frame(pa.table({"item_id": ["c"], "title": ["Lamp"], "kind": [""]}), attributes=pa.table({"kind": pa.nulls(1)}))
    assert part.attribute_names == []
    joined = catalog_changes(old, part, delta=True).catalog
    assert joined.attribute_names == []
    assert joined.fields["kind"] == ["kitchen", "floor", ""]


def test_a_title_of_digits_in_a_part_does_not_hide_the_other_titles() -> None:
    old = ItemCatalog.from_frame(pa.table({"item_id": ["a"], "title": ["Dune"]}))
    types = pa.table({"title": pa.array([1984])})  # as a table without types is read
    part = ItemCatalog.from_frame(pa.table({"item_id": ["b"], "title": ["1984"]}), attributes=types)
    joined = catalog_changes(old, part, delta=True).catalog
    assert joined.attribute_names == []
    assert joined.titles == ["Dune", "1984"]


def test_a_number_that_is_none_is_the_same_the_next_day() -> None:
    old = priced({"a": float("nan"), "b": 2.0})
    assert not catalog_changes(old, priced({"a": float("nan"), "b": 2.0}))
    assert catalog_changes(old, priced({"a": 1.0, "b": float("nan")})).described == ["a", "b"]


def test_columns_that_rules_can_no_longer_name_as_before_are_told() -> None:
    old = priced({"a": 1.5, "b": 2.0}, brand=["Acme", "Bolt"])

    def told(products: ItemCatalog, **how: bool) -> list[str]:
        return column_changes(old, catalog_changes(old, products, **how).catalog)

    assert told(old) == []
    assert told(priced({"a": 1, "b": 2}, brand=[None, None])) == []
    assert told(priced({"a": 1.5, "b": 2.0})) == ["column 'brand' is gone: rules that name it are refused"]
    assert told(priced({"a": 1.5}), delta=True) == []
    assert told(priced({"a": 1.5}, brnad=["Acme"]), delta=True) == ["column 'brnad' is new: no item had it before"]
    assert told(priced({"a": "1.5", "b": "cheap"}, brand=["Acme", "Bolt"])) == [
        "column 'price' was a number and is text now, such as 'cheap': rules that compare it with others are refused"
    ]
    assert column_changes(catalog(a="kettle"), priced({"a": 1})) == []

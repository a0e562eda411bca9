from __future__ import annotations

import json

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.errors import DataError, ModelError
from bertrec.data.catalog import ItemCatalog, UserCatalog
from bertrec.data.ids import IdMap
from bertrec.data.templates import cut_words, render, template_fields


def frame(**columns):
    return pd.DataFrame({"item_id": ["a", "b"], **columns})


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.table])
def test_every_frame_gives_the_same_catalogue(kind):
    columns = {"genres": ["드라마", ""], "item_id": ["a", "b"], "year": [1999, 2001], "title": ["기생충 🎬", "Up"]}
    catalog = ItemCatalog.from_frame(kind(columns))
    assert list(catalog.fields) == ["title", "genres"]
    assert catalog.texts == ["기생충 🎬 드라마", "Up"]
    assert catalog.titles == ["기생충 🎬", "Up"]
    assert catalog.ids.ids == ["a", "b"]


def test_integer_ids_stay_integers_also_where_floats_hold_them():
    assert ItemCatalog.from_frame(pd.DataFrame({"item_id": [3, 1], "title": ["x", "y"]})).ids.ids == [3, 1]
    ids = ItemCatalog.from_frame(pd.DataFrame({"item_id": [3.0, 1.0], "title": ["x", "y"]})).ids.ids
    assert ids == [3, 1]
    assert all(type(value) is int for value in ids)


def test_fields_are_cut_to_words_and_chosen():
    catalog = ItemCatalog.from_frame(frame(title=["one two three", "one"], plot=["x", None]), max_words=2)
    assert catalog.fields == {"title": ["one two", "one"], "plot": ["x", ""]}
    assert list(ItemCatalog.from_frame(frame(title=["x", "y"], plot=["p", "q"]), text_fields=["plot", "title"]).fields) == ["plot", "title"]


def test_columns_that_are_no_text_are_attributes_and_noted():
    data = frame(title=["x", "y"], year=[1, 2], isbn=["1", ""], seen=["true", "false"], genres=pd.Series(["p", 1], dtype=object))
    catalog = ItemCatalog.from_frame(data)
    assert list(catalog.fields) == ["title"]
    mend = "(to filter and boost by; to read one as text, list it in the text fields)"
    said = f"the item table: columns: carried 'year', 'isbn', 'seen' {mend}; ignored 'genres' (mixed types)"
    assert catalog.notes == (said,)
    assert catalog.attributes.to_pydict() == {"year": [1, 2], "isbn": ["1", ""], "seen": ["true", "false"]}
    chosen = ItemCatalog.from_frame(data, text_fields=["isbn"])
    assert chosen.fields == {"isbn": ["1", ""]}
    assert chosen.notes[1:] == ("the item table: 1 of 2 items have no text (kept)",)
    assert chosen.attributes.column_names == ["title", "year", "seen"]
    with pytest.raises(DataError, match="row 2, column 'genres' mixes types"):
        ItemCatalog.from_frame(data, text_fields=["title", "genres"])


@pytest.mark.parametrize("name", ["title", "name"])
@pytest.mark.parametrize("values", [["1980", ""], [1980, None], pd.Series([1980, None], dtype="Int64"), pd.Categorical([1980, None])])
def test_a_title_of_numbers_stays_the_title(name, values):
    catalog = ItemCatalog.from_frame(frame(brand=["Acme", "Bolt"], **{name: values}))
    assert catalog.fields == {name: ["1980", ""], "brand": ["Acme", "Bolt"]}
    assert catalog.titles == ["1980", "b"]


def test_lists_of_texts_are_joined():
    catalog = ItemCatalog.from_frame(pl.DataFrame({"item_id": [1, 2], "genres": [["Drama", "War"], []]}))
    assert catalog.texts == ["Drama, War", ""]


def test_a_template_joins_fields_and_an_item_without_text_stays_empty():
    catalog = ItemCatalog.from_frame(frame(title=["Up", ""], genres=["Comedy", ""]), template="{title} ({genres})")
    assert catalog.texts == ["Up (Comedy)", ""]
    assert catalog.titles == ["Up", "b"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{titel}", "did you mean 'title'"),
        ("{title", "expected '}'"),
        ("{title.__class__}", "plain field name"),
        ("{title!r}", "plain"),
        ("x", "no field"),
    ],
)
def test_bad_templates_are_errors(template, message):
    with pytest.raises(DataError, match=message):
        ItemCatalog.from_frame(frame(title=["x", "y"]), template=template)


def test_empty_texts_are_kept_dropped_or_an_error_and_counted():
    data = frame(title=["Up", None])
    kept = ItemCatalog.from_frame(data)
    assert len(kept) == 2
    assert "1 of 2 items have no text (kept)" in kept.notes[0]
    dropped = ItemCatalog.from_frame(data, on_empty="drop")
    assert dropped.ids.ids == ["a"]
    assert "(dropped)" in dropped.notes[0]
    with pytest.raises(DataError, match="1 items have no text, the first is 'b'"):
        ItemCatalog.from_frame(data, on_empty="error")
    with pytest.raises(DataError, match="nothing is left"):
        ItemCatalog.from_frame(frame(title=["", ""]), on_empty="drop")


def test_a_repeated_id_with_one_text_is_merged_and_counted():
    data = pd.DataFrame({"item_id": ["b", "a", "b"], "title": ["B", "A", "B"]})
    catalog = ItemCatalog.from_frame(data)
    assert catalog.ids.ids == ["b", "a"]
    assert catalog.texts == ["B", "A"]
    assert "1 rows repeat" in catalog.notes[0]


def test_a_repeated_id_with_two_texts_is_an_error_that_names_both_rows():
    data = pd.DataFrame({"item_id": ["b", "a", "b"], "title": ["B", "A", "C"]})
    with pytest.raises(DataError, match="rows 1 and 3 have the same item id 'b' but different 'title'"):
        ItemCatalog.from_frame(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pd.DataFrame({"id": ["a"], "title": ["x"]}), r"no column 'item_id' \(columns: id, title\)"),
        (pd.DataFrame({"item_id": [], "title": []}), "no rows"),
        (pd.DataFrame({"item_id": ["a", None], "title": ["x", "y"]}), "row 2, column 'item_id': the id is missing"),
        (pd.DataFrame({"item_id": ["a", ""], "title": ["x", "y"]}), "row 2, column 'item_id': the id is empty"),
        (pd.DataFrame({"item_id": [1.0, 2.5], "title": ["x", "y"]}), "row 2, column 'item_id': 2.5 is no id"),
        (pd.DataFrame({"item_id": [True, False], "title": ["x", "y"]}), "of type bool"),
        (pd.DataFrame({"item_id": pd.Series([1, "a"], dtype=object), "title": ["x", "y"]}), "row 2, column 'item_id' mixes types: 'a' is"),
        (frame(title=pd.Series(["x", 3], dtype=object)), "row 2, column 'title' mixes types: 3 is of type int"),
        (frame(name=pd.Series([3, "x"], dtype=object), title=["x", "y"]), "row 2, column 'name' mixes types: 'x' is of type str"),
        (frame(title=[b"x", b"y"]), "column 'title' is of type binary: titles are text"),
        ([{"item_id": 1}], "got list"),
    ],
)
def test_bad_tables_are_errors_that_name_row_and_column(data, message):
    with pytest.raises(DataError, match=message):
        ItemCatalog.from_frame(data)


def test_an_unknown_text_field_gets_the_nearest_name():
    with pytest.raises(DataError, match="did you mean 'title'"):
        ItemCatalog.from_frame(frame(title=["x", "y"]), text_fields=["tilte"])


@pytest.mark.parametrize("ids", [["a", "007"], [7, 2**40], [7, "7", "x"], [2**70, 1]])
def test_save_and_load_keep_ids_types_and_texts(tmp_path, ids):
    catalog = ItemCatalog(IdMap(ids), {"id": ["한국어 🎬"] * len(ids), "title": [""] * len(ids)}, "{id}! {title}", ("note",))
    catalog.save(tmp_path)
    loaded = ItemCatalog.load(tmp_path)
    assert loaded.ids == catalog.ids
    assert (loaded.fields, loaded.template, loaded.notes, loaded.texts) == (catalog.fields, catalog.template, catalog.notes, catalog.texts)
    assert loaded.content_hash == catalog.content_hash


def test_the_hash_knows_types_texts_and_order():
    def digest(ids, texts):
        return ItemCatalog(IdMap(ids), {"title": texts}).content_hash

    assert len({digest([1, 2], ["a", "b"]), digest(["1", "2"], ["a", "b"]), digest([2, 1], ["a", "b"]), digest([1, 2], ["ab", ""])}) == 4


def test_damaged_catalogue_files_are_named(tmp_path):
    catalog = ItemCatalog(IdMap(["a", "b"]), {"title": ["x", "y"]})
    with pytest.raises(ModelError, match=r"items\.json is missing"):
        ItemCatalog.load(tmp_path)
    catalog.save(tmp_path)
    about = json.loads((tmp_path / "items.json").read_text())
    (tmp_path / "items.json").write_text(json.dumps({**about, "content_hash": "0"}))
    with pytest.raises(ModelError, match="does not belong"):
        ItemCatalog.load(tmp_path)
    content = (tmp_path / "items.parquet").read_bytes()
    (tmp_path / "items.parquet").write_bytes(content[:40])
    with pytest.raises(ModelError, match=r"items\.parquet is damaged"):
        ItemCatalog.load(tmp_path)
    (tmp_path / "items.parquet").unlink()
    with pytest.raises(ModelError, match=r"items\.parquet"):
        ItemCatalog.load(tmp_path)


def test_users_have_a_catalogue_of_their_own(tmp_path):
    users = UserCatalog.from_frame(pd.DataFrame({"user_id": [1, 2], "job": ["cook", ""]}))
    assert UserCatalog.from_frame(pd.DataFrame({"user_id": [1], "age": ["24"]})).texts == ["24"]
    users.save(tmp_path)
    assert (tmp_path / "users.parquet").exists()
    assert UserCatalog.load(tmp_path).texts == ["cook", ""]


def test_take_keeps_the_asked_order():
    catalog = ItemCatalog(IdMap(["a", "b", "c"]), {"title": ["A", "B", "C"]})
    assert catalog.take([2, 0]).ids.ids == ["c", "a"]
    assert catalog.take([2, 0]).texts == ["C", "A"]


@given(st.text(max_size=40), st.integers(1, 5))
def test_cut_texts_have_at_most_so_many_words_and_are_a_beginning(text, words):
    cut = cut_words(text, words)
    assert cut.split() == text.split()[:words]


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=5))
def test_without_a_template_fields_are_joined_by_one_space(rows):
    columns = {"x": [row[0] for row in rows], "y": [row[1] for row in rows]}
    assert render(columns, len(rows), None) == [" ".join(part for part in row if part) for row in rows]


def test_template_fields_are_listed_in_order():
    assert template_fields("{a} and {b}: {{literal}}") == ["a", "b"]


def test_what_is_saved_says_nothing_of_folders(tmp_path):
    notes = ("/home/jo the 2nd/x.csv: columns: carried 'price'", "s3://jo:word@lake/x.csv: 3 rows dropped", "items: none and/or some")
    ItemCatalog(IdMap(["a"]), {"title": ["kettle"]}, notes=notes).save(tmp_path)
    assert ItemCatalog.load(tmp_path).notes == ("x.csv: columns: carried 'price'", "x.csv: 3 rows dropped", "items: none and/or some")

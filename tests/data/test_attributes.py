"""Columns of the item table that are no text, with their types."""

import datetime as dt
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertrec.core.errors import DataError, ModelError
from bertrec.data import IdMap, ItemCatalog, load
from bertrec.data.attributes import inferred
from bertrec.data.convert import convert
from bertrec.data.options import LoadOptions

SEEN = "user_id,item_id\nu,1\nu,2\nv,2\nv,1\n"


@pytest.mark.parametrize(
    ("texts", "values", "kind"),
    [
        (["true", "", "False"], [True, None, False], pa.bool_()),
        (["3", "NaN", "-12"], [3, None, -12], pa.int64()),
        (["+3", " 4 "], [3, 4], pa.int64()),
        (["3", "1.5", "n/a"], [3.0, 1.5, None], pa.float64()),
        (["1e3", ".5"], [1000.0, 0.5], pa.float64()),
        (["$1,299.00", "$5"], [1299.0, 5.0], pa.float64()),
        (["2020-02-29", ""], [dt.date(2020, 2, 29), None], pa.date32()),
        (["2020-02-29 10:30", "2020-03-01T00:00:01"], [dt.datetime(2020, 2, 29, 10, 30), dt.datetime(2020, 3, 1, 0, 0, 1)], None),
        (["007", "12"], ["007", "12"], pa.large_string()),
        (["2020-02-31", "2020-01-01"], ["2020-02-31", "2020-01-01"], pa.large_string()),
        (["99999999999999999999", "1"], ["99999999999999999999", "1"], pa.large_string()),
        (["nan is no number", "1"], ["nan is no number", "1"], pa.large_string()),
        (["1.2.3", "4"], ["1.2.3", "4"], pa.large_string()),
        (["", "null"], [None, None], pa.null()),
    ],
)
def test_texts_get_the_type_that_all_of_them_have(texts, values, kind):
    found = inferred(pa.array(texts))
    assert found.to_pylist() == values
    assert kind is None or found.type == kind


def test_a_type_is_not_taken_from_the_first_values_alone():
    assert inferred(pa.array(["1"] * 500 + ["x"])).type == pa.large_string()


def test_a_csv_table_keeps_its_columns_typed_and_its_texts_as_they_are(tmp_path):
    (tmp_path / "interactions.csv").write_text(SEEN)
    table = "item_id,title,price,in_stock,since,code\n1,Mug,12.50,true,2021-01-02,007\n2,Bowl,,false,,12\n"
    (tmp_path / "items.csv").write_text(table)
    catalog = load(tmp_path).catalog
    assert (catalog.ids.ids, list(catalog.fields)) == (["1", "2"], ["title"])
    assert catalog.texts == ["Mug", "Bowl"]
    assert catalog.attributes.to_pydict() == {
        "price": [12.5, None],
        "in_stock": [True, False],
        "since": [dt.date(2021, 1, 2), None],
        "code": ["007", "12"],
    }


def test_prices_dates_and_times_of_a_csv_table_are_no_text_and_the_note_says_what_is(tmp_path):
    (tmp_path / "interactions.csv").write_text(SEEN)
    rows = ['1,Mug,"₩12,000",2021-01-02,2021-01-02 09:30,clay', "2,Bowl,₩900,2020-05-06,2021-01-03 10:00,wood"]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,title,price,since,sold,made_of", *rows]) + "\n")
    read = load(tmp_path)
    assert list(read.catalog.fields) == ["title", "made_of"]
    assert read.catalog.attributes["price"].to_pylist() == [12000.0, 900.0]
    assert "columns: read as text 'title', 'made_of'; carried 'price', 'since', 'sold' (" in read.notes[0]
    chosen = load(tmp_path, LoadOptions(text_fields=("title", "since")))
    assert chosen.catalog.texts == ["Mug 2021-01-02", "Bowl 2020-05-06"]
    assert "columns: carried 'price'" in chosen.notes[0]


def test_json_and_parquet_keep_the_types_they_have(tmp_path):
    rows = [{"item_id": 1, "title": "Mug", "size": "10", "tags": ["a", "b"], "price": 3}, {"item_id": 2, "title": "Bowl", "price": 4.5}]
    (tmp_path / "interactions.csv").write_text(SEEN)
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    read = load(tmp_path)
    assert read.catalog.attributes.to_pydict() == {"size": ["10", None], "tags": [["a", "b"], None], "price": [3.0, 4.5]}
    convert(read, tmp_path / "parquet")
    again = load(tmp_path / "parquet").catalog
    assert again.content_hash == read.catalog.content_hash
    assert again.attributes.to_pydict() == {"tags": [["a", "b"], None], "price": [3.0, 4.5]}


def test_what_cannot_be_written_as_more_than_text_is_noted(tmp_path):
    (tmp_path / "interactions.csv").write_text(SEEN)
    (tmp_path / "items.jsonl").write_text('{"item_id": 1, "title": "Mug", "size": "10"}\n{"item_id": 2, "title": "Bowl", "size": "x1"}')
    from bertrec.data.options import LoadOptions

    read = load(tmp_path, LoadOptions(text_fields=("title",)))
    assert read.catalog.attributes.to_pydict() == {"size": ["10", "x1"]}
    assert convert(read, tmp_path / "parquet").notes == ["item columns are not written, since they would be read as text: 'size'"]
    assert load(tmp_path / "parquet").catalog.attributes is None


def test_an_item_file_of_recbole_has_numbers_and_lists_of_labels(tmp_path):
    name = tmp_path.name
    (tmp_path / f"{name}.inter").write_text("user_id:token\titem_id:token\nu\t1\nu\t2\n")
    header = "item_id:token\ttitle:token_seq\tyear:token\tclass:token_seq\tprice:float\n"
    (tmp_path / f"{name}.item").write_text(f"{header}1\tToy Story\t1995\tAnimation Comedy\t2.5\n2\tHeat\t\t\t\n")
    catalog = load(tmp_path).catalog
    assert catalog.fields["class"] == ["Animation Comedy", ""]
    assert catalog.attributes.to_pydict() == {"year": [1995, None], "price": [2.5, None], "class": [["Animation", "Comedy"], None]}


def test_movielens_has_year_and_genres(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::1::5::978300760\n1::2::4::978300761\n")
    (tmp_path / "movies.dat").write_text("1::Toy Story (1995)::Animation|Comedy\n2::Nameless::(no genres listed)\n")
    catalog = load(tmp_path).catalog
    assert catalog.fields["genres"] == ["Animation, Comedy", ""]
    assert catalog.attributes.to_pydict() == {"genres": [["Animation", "Comedy"], None], "year": [1995, None]}


def test_attributes_follow_their_items():
    table = pd.DataFrame({"item_id": [7, 7, 8, 9], "title": ["a", "a", "", "c"], "price": [1, 2, 3, 4]})
    catalog = ItemCatalog.from_frame(table, on_empty="drop")
    assert (catalog.ids.ids, catalog.attributes["price"].to_pylist()) == ([7, 9], [1, 4])
    assert catalog.take([1]).attributes["price"].to_pylist() == [4]
    with pytest.raises(DataError, match="attributes have 1 rows for 2 items"):
        ItemCatalog(IdMap([1, 2]), {}, attributes=pa.table({"price": [1]}))


def test_objects_are_ignored_with_a_note():
    table = pa.table({"item_id": [1, 2], "title": ["a", "b"], "size": [{"w": 1}, {"w": 2}]})
    catalog = ItemCatalog.from_frame(table)
    assert catalog.attributes is None
    assert catalog.notes == ("the item table: columns: ignored 'size' (of a type that cannot be compared)",)


def test_attributes_are_saved_and_no_part_of_the_hash(tmp_path):
    columns = {"price": pa.array([1.5, None]), "tags": pa.array([["a"], None]), "day": pa.array([dt.date(2020, 1, 1), None])}
    with_some = ItemCatalog(IdMap([1, 2]), {"title": ["a", "b"]}, attributes=pa.table(columns))
    without = ItemCatalog(IdMap([1, 2]), {"title": ["a", "b"]})
    assert with_some.content_hash == without.content_hash
    with_some.save(tmp_path)
    assert ItemCatalog.load(tmp_path).attributes.equals(with_some.attributes)


def test_a_catalogue_of_before_attributes_loads_and_a_damaged_list_is_an_error(tmp_path):
    ItemCatalog(IdMap([1]), {"title": ["a"]}, attributes=pa.table({"price": [2]})).save(tmp_path)
    about = json.loads((tmp_path / "items.json").read_text())
    (tmp_path / "items.json").write_text(json.dumps({**about, "attributes": ["prize"]}))
    with pytest.raises(ModelError, match="damaged"):
        ItemCatalog.load(tmp_path)
    del about["attributes"]
    (tmp_path / "items.json").write_text(json.dumps(about))
    pq.write_table(pq.read_table(tmp_path / "items.parquet").drop_columns("attribute:price"), tmp_path / "items.parquet")
    assert ItemCatalog.load(tmp_path).attributes is None

"""Files of other forms than the usual, and what is said of data before they mislead."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest

from bertrec.core.errors import DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.convert import convert
from bertrec.data.describe import describe
from bertrec.data.interactions import Interactions
from bertrec.data.load import LoadOptions, load
from bertrec.data.readers.delimited import read_table
from bertrec.data.readers.markup import plain_text
from bertrec.data.times import odd_times
from bertrec.models.registry import create

NOW = time.time()


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = "".join(f"u{user},i{(user + step) % 5},{1_600_000_000 + step}\n" for user in range(6) for step in range(4))
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\n" + rows)
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"i{item},Thing {item}\n" for item in range(5)))
    return folder


# --- forms ------------------------------------------------------------------------------------------------------------------------------


def test_reviews_with_names_of_their_own_are_read_by_a_mapping(tmp_path):
    reviews = [
        {"review_id": "r", "user_id": "u", "business_id": item, "stars": stars, "date": day, "text": "x"}
        for item, stars, day in (("b", 4.0, "2018-07-08 22:09:11"), ("a", 3.0, "2018-07-07 22:09:11"))
    ]
    places = [{"business_id": "a", "name": "Cafe", "categories": "Food, Coffee", "attributes": {"WiFi": "free"}, "hours": None}]
    places += [{"business_id": "b", "name": "Bar \ud83d", "categories": None, "attributes": None, "hours": None}]
    for name, rows in (("review", reviews), ("business", places)):
        (tmp_path / f"{name}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "d.yaml").write_text("interactions: review.json\nitems: business.json\ncolumns: {item_id: business_id, rating: stars}\n")
    data = load(tmp_path / "d.yaml")
    assert data.catalog.ids.decode(data.interactions.sequences.values) == ["a", "b"]
    assert data.interactions.rating.tolist() == [3, 4]
    assert data.catalog.texts == ["Cafe Food, Coffee WiFi: free", "Bar ?"]
    with pytest.raises(DataError, match=r"no known format: .*write a YAML description"):
        load(tmp_path)


def test_numbers_as_ids_in_json_meet_those_of_a_csv(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,7\nu,8\n")
    (tmp_path / "items.jsonl").write_text('{"item_id": 7, "title": "A"}\n{"item_id": 8, "title": "B"}\n')
    assert load(tmp_path).catalog.ids.ids == ["7", "8"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"item_id": 1}\n{oops\n', "line 2 is no JSON"),
        ('{"item_id": 1}\n[1]\n', "line 2 is no JSON object"),
        ("[1, 2]", "entry 1 is no JSON object"),
        ("[{]", "is no JSON"),
        ('{"a": ' + "[" * 100_000 + "\n", "line 1 is no JSON"),
    ],
)
def test_json_that_is_no_table_is_named(tmp_path, text, said):
    (tmp_path / "items.jsonl").write_text(text)
    with pytest.raises(DataError, match=rf"items\.jsonl: {said}"):
        read_table(tmp_path / "items.jsonl")


@pytest.mark.parametrize("header", ["item_id,title " + "x" * 140_000, '"item_id","' + "y" * 200_000 + '"', "item_id\t" + "z" * 131_073])
def test_a_header_without_end_is_one_clear_line(tmp_path, header):
    (tmp_path / "items.csv").write_text(header + "\ni1,Lamp\n")
    with pytest.raises(DataError, match=r"line 1 names a column in [12][0-9]{2},[0-9]{3} characters.*header: false") as caught:
        read_table(tmp_path / "items.csv")
    assert len(str(caught.value)) < 500


def test_a_long_text_is_no_long_header(tmp_path):
    (tmp_path / "items.csv").write_text(f'item_id,title\ni1,"{"x " * 200_000}"\n')
    assert len(read_table(tmp_path / "items.csv")["title"][0].as_py()) == 400_000


def test_keys_of_tables_are_refused_by_formats_with_their_own(tmp_path):
    (tmp_path / "s.inter").write_text("user_id:token\titem_id:token\nu\ta\n")
    (tmp_path / "s.item").write_text("item_id:token\ttitle:token_seq\na\tA\n")
    with pytest.raises(DataError, match="'separator' is for tables, and the format atomic has its own"):
        load(tmp_path, LoadOptions(separator=";"))


def test_commas_and_semicolons_within_texts_do_not_mislead(tmp_path):
    (tmp_path / "a.csv").write_text("item_id,title;long\n1,a;b\n2,c;d;e\n")
    assert read_table(tmp_path / "a.csv").column_names == ["item_id", "title;long"]
    (tmp_path / "b.csv").write_text("item_id;title, short\n1;a, b\n2;c\n")
    assert read_table(tmp_path / "b.csv").column_names == ["item_id", "title, short"]
    (tmp_path / "c.csv").write_text("item_id\na;b\nc;d\n")
    assert read_table(tmp_path / "c.csv")["item_id"].to_pylist() == ["a;b", "c;d"]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("A <b>bold</b> thing", "A bold thing"),
        ("one<br/>two<p class='x'>three", "one two three"),
        ("&lt;b&gt;Tom &amp;amp; Jerry&lt;/b&gt; &#39;x&#39;", "Tom & Jerry 'x'"),
        ("<script>var a = 1;</script>Lamp<style>b {}</style>", "Lamp"),
        ("<!-- hidden -->Lamp", "Lamp"),
        ("<span id='t'>var aPageStart = 1;</span>", ""),
        ("if (x) { function go() { document.write(1) } }", ""),
        (".a-box { color: red; }", ""),
    ],
)
def test_markup_goes(text, plain):
    assert plain_text(text, script_is_none=True) == (plain, True)


@pytest.mark.parametrize(
    "text", ["I <3 you", "3 < 4 > 2", "AT&T", "R&B; soul", "Function of beauty", "Let it be", "a variable = x", "C:\\x {y}"]
)
def test_what_only_looks_like_markup_stays(text):
    assert plain_text(text, script_is_none=True) == (text, False)


# --- what is said -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([1.6e9, 1.6e12, 1.6e9], "times are of several units (2 in seconds, 1 in milliseconds): their order is wrong; write all in one"),
        ([5.0, 5.0], "all times are equal (1970-01-01): the order of the rows counts"),
        ([1.6e9, NOW + 1e8], "1 of 2 times lie in the future"),
        ([1.6e9, 9e10], "1 of 2 times lie in the future"),
        ([1.6e9, 0.0, -5.0], "2 of 3 times lie before 1970-01-12, the first on 1969-12-31"),
        ([1.6e6, 1.7e6], "all times lie before 1970-02-27: they were perhaps seconds that were taken for milliseconds"),
        ([1.6e12, 1.7e12], "times are in milliseconds, not in seconds"),
    ],
)
def test_odd_times_are_remarked(times, said):
    (found,) = odd_times(np.array(times))
    assert found.startswith(said)


@pytest.mark.parametrize("times", [[1.6e9, 1.5e9], [1.0, 2.0, 7.0], [NOW], [0.0, 5000.0]])
def test_plain_times_and_counts_are_not(times):
    assert odd_times(np.array(times)) == []


def test_describe_warns_of_odd_times(shop):
    (shop / "interactions.csv").write_text("user_id,item_id,timestamp\nu,i1,1600000000\nu,i2,1600000000000\n")
    assert any("several units" in line for line in describe(load(shop))["warnings"])


def test_a_text_model_refuses_items_without_text_and_an_id_model_does_not(shop):
    (shop / "items.csv").write_text("item_id\n" + "".join(f"i{item}\n" for item in range(5)))
    train = load(shop).interactions
    for name in ("morec", "unisrec", "text-similarity"):
        with pytest.raises(DataError, match=f"{name} has nothing to read: no item has any text .*idrec") as caught:
            create(name).fit(train, progress=False)
        assert "\n" not in str(caught.value)
    assert create("popularity").fit(train).counts.sum() == len(train)


# --- converting -------------------------------------------------------------------------------------------------------------------------


def test_a_folder_is_not_converted_into_itself(shop, tmp_path):
    (tmp_path / "link").symlink_to(shop)
    (shop / "d.yaml").write_text("interactions: interactions.csv\nitems: items.csv\n")
    before = sorted(path.name for path in shop.iterdir())
    for source in (shop, shop / "d.yaml", tmp_path / "link"):
        for out in (shop, tmp_path / "link", shop / ".." / "shop", tmp_path):
            with pytest.raises(DataError, match="the data that are converted lie here"):
                convert(load(source), out)
    assert sorted(path.name for path in shop.iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "shop"]


@pytest.mark.parametrize("name", ["interactions.csv", "x.inter", "u.data", "behaviors.tsv"])
def test_a_folder_that_holds_data_is_not_written_into(shop, tmp_path, name):
    other = tmp_path / "other"
    other.mkdir()
    (other / name).write_text("x\n")
    with pytest.raises(DataError, match="there are data here already"):
        convert(load(shop), other, format="atomic")
    assert [path.name for path in other.iterdir()] == [name]


def test_a_new_folder_within_the_data_is_fine(shop):
    convert(load(shop), shop / "new")
    assert load(shop / "new").interactions.content_hash == load(shop).interactions.content_hash


# --- accessors --------------------------------------------------------------------------------------------------------------------------


def test_interactions_say_what_they_hold_and_cannot_be_written():
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": [7, 8, 9], "title": ["A", "B", "C"], "brand": ["x", "", "y"]}))
    weights = np.array([1.0, 2.0, 3.0], np.float32)
    rows = {"user_id": ["v", "u", "u"], "item_id": [8, 9, 7], "timestamp": [3.0, 2.0, 1.0], "label": [1, 1, 2], "weight": weights}
    built = Interactions.from_frame(pd.DataFrame(rows), catalog)
    assert (built.n_users, built.n_items, len(built)) == (2, 3, 3)
    assert built.timestamp.tolist() == [3, 1, 2]
    assert built.label.tolist() == [1, 2, 1]
    assert built.weight.tolist() == [1, 3, 2]
    for name in ("timestamp", "label", "weight"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(built, name)[0] = 5
    own = Interactions(catalog, built.users, built.sequences, weight=weights)
    weights[0] = 9  # the caller's array stays the caller's
    assert own.weight.flags.writeable is False
    frame = built.to_frame()
    assert frame.to_dict("list") == {
        "user_id": ["v", "u", "u"],
        "item_id": [8, 7, 9],
        "timestamp": [3.0, 1.0, 2.0],
        "label": [1.0, 2.0, 1.0],
        "weight": [1.0, 3.0, 2.0],
    }
    assert Interactions.from_frame(frame, catalog).content_hash == built.content_hash
    frame.loc[0, "weight"] = 7
    assert built.weight.tolist() == [1, 3, 2]


def test_a_catalogue_as_a_table_is_the_catalogue_again():
    rows = {"item_id": ["a", "b"], "title": ["A", ""], "brand": ["x", "y"]}
    catalog = ItemCatalog.from_frame(pd.DataFrame(rows))
    assert (catalog.ids.ids, catalog.titles, catalog.texts) == (["a", "b"], ["A", "b"], ["A x", "y"])
    assert catalog.to_frame().to_dict("list") == rows
    assert ItemCatalog.from_frame(catalog.to_frame()).content_hash == catalog.content_hash

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bertrec.core.errors import BertrecError, ConfigError, DataError, MissingExtraError
from bertrec.data.convert import convert, split_labels
from bertrec.data.describe import describe
from bertrec.data.load import LoadOptions, load, make_split

SHARED = Path(os.environ.get("BERTREC_TEST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    events = [("u", "a"), ("u", "b"), ("u", "c"), ("u", "a"), ("v", "b"), ("v", "c"), ("v", "a"), ("w", "d")]
    rows = "".join(f"{user},{item},{time},{4 if item != 'd' else 1}\n" for time, (user, item) in enumerate(events, start=100))
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp,rating\n" + rows)
    (folder / "items.csv").write_text('item_id,title,plot\na,"A ""x""",안녕 세상\nb,B,\nc,,\nd,D,one two three\n', encoding="utf-8")
    (folder / "users.csv").write_text("user_id,job\nu,cook\nv,\nw,pilot\n")
    return folder


def test_options_reach_catalogue_and_filters(shop):
    data = load(shop, LoadOptions(max_words=1, template="{title}: {plot}", min_rating=2, duplicates="first"))
    assert data.catalog.texts == ["A: 안녕", "B:", "", "D: one"]
    assert data.interactions.users.ids == ["u", "v"]
    assert data.interactions.sequences.lengths.tolist() == [3, 3]
    assert data.interactions.filters == ("min_rating=2", "duplicates=first")
    assert any("1 of 4 items have no text (kept)" in note for note in data.notes)


def test_dropping_items_without_text_drops_their_interactions_counted(shop):
    data = load(shop, LoadOptions(on_empty="drop"))
    assert data.catalog.ids.ids == ["a", "b", "d"]
    assert any("2 of 8 interactions are of items absent" in note for note in data.notes)


def test_notes_on_users_are_among_the_notes(shop):
    found = load(shop)
    note = f"{shop}/users.csv: 1 of 3 users have no text (kept)"
    assert note in found.notes
    assert note in make_split(found).manifest["notes"]


def test_the_hash_follows_the_data(shop):
    first = load(shop).content_hash
    assert load(shop).content_hash == first
    assert load(shop, LoadOptions(text_fields=("plot",))).content_hash != first


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("auto", "leave_one_out"),
        ("leave-one-out", "leave_one_out"),
        ("time", "time"),
        ("ratio", "ratio_by_user"),
        ("cold-items", "cold_items"),
    ],
)
def test_splits_by_name_carry_a_manifest(shop, method, name):
    options = {"share": 0.25} if name == "cold_items" else {}
    data = load(shop)
    manifest = make_split(data, method, **options).manifest
    assert manifest["method"] == name
    assert (manifest["data"], manifest["format"], manifest["data_hash"]) == ("shop", "tables", data.content_hash)
    assert manifest["counts"]["interactions"] == 8


def test_unknown_splits_and_options_get_a_hint(shop):
    data = load(shop)
    with pytest.raises(DataError, match="did you mean 'ratio'"):
        make_split(data, "ration")
    with pytest.raises(DataError, match="did you mean 'share'"):
        make_split(data, "cold_items", shares=0.1)
    with pytest.raises(DataError, match="no given split"):
        make_split(data, "given")


def test_a_yaml_says_where_things_are(shop, tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "log.csv").write_text("uid,thing\nu,a\nu,b\n")
    (tmp_path / "t" / "things.csv").write_text("thing,title\na,A b\nb,B b\n")
    text = "name: mine\ninteractions: t/log.csv\nitems: t/things.csv\ncolumns: {user_id: uid, item_id: thing}\nmax_words: 1\n"
    (tmp_path / "data.yaml").write_text(text)
    data = load(tmp_path / "data.yaml")
    assert (data.name, data.catalog.texts) == ("mine", ["A", "B"])
    assert load(tmp_path / "data.yaml", LoadOptions(max_words=5)).catalog.texts == ["A b", "B b"]
    (tmp_path / "folder.yaml").write_text("folder: shop\nformat: tables\ntext_fields: [plot]\n")
    assert load(tmp_path / "folder.yaml").name == "folder"
    assert list(load(tmp_path / "folder.yaml").catalog.fields) == ["plot"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("foldr: shop\n", ConfigError, r"data\.yaml: unknown setting 'foldr': did you mean 'folder'"),
        ("folder: nowhere\n", DataError, "does not exist"),
        ("folder: [\n", DataError, r"data\.yaml is not readable YAML"),
        ("- a\n", DataError, "must hold a description"),
        ("name: x\n", DataError, "give either 'folder' or"),
        ("interactions: shop/interactions.csv\n", DataError, "'items' is missing"),
        (
            "folder: shop\ncolumns: {user_id: uid}\n",
            DataError,
            "is to be 'user_id' .interactions: user_id, item",
        ),
        (
            "interactions: shop/interactions.csv\nitems: shop/items.csv\ncolumns: {user_id: uid}\n",
            DataError,
            "no table has the column 'uid'",
        ),
        ("interactions: shop/interactions.csv\nitems: shop/items.csv\ncolumns: {user_id: rating}\n", DataError, "'user_id' already"),
        ("folder: shop\nmax_words: 0\n", ConfigError, "max_words"),
        ("interactions: shop/x.csv\nitems: shop/items.csv\n", DataError, r"x\.csv: no such file"),
        ("interactions: shop/x.xls\nitems: shop/items.csv\n", DataError, r"a table is one of \.csv"),
    ],
)
def test_a_bad_yaml_is_named(shop, tmp_path, text, error, message):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(error, match=message):
        load(tmp_path / "data.yaml")


def test_what_is_no_data_set_is_an_error(shop, tmp_path):
    with pytest.raises(DataError, match="no such folder or YAML file"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="name its folder"):
        load(shop / "items.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no known format"):
        load(tmp_path / "empty")
    (shop / "toy.inter").write_text("user_id:token\titem_id:token\nu\ta\n")
    with pytest.raises(DataError, match=r"several formats \(tables, atomic\): say which, .*--data-format tables .*format: tables"):
        load(shop)
    assert load(shop, LoadOptions(format="tables")).format == "tables"


def test_ml_100k_names_the_extra_where_recbole_is_absent(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'bertrec\[recbole\]'"):
        load("ml-100k")


@pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="RecBole's wheel is not installed")
def test_ml_100k_is_read_without_importing_recbole():
    code = (
        "import sys; from bertrec.data.load import load; d = load('ml-100k'); assert not {'recbole', 'torch'} & set(sys.modules); "
        "print(len(d.interactions.users), len(d.catalog), len(d.interactions), d.catalog.texts[0], sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "943|1682|100000|Toy Story 1995 Animation Children's Comedy"


def test_describe_by_hand(shop):
    found = describe(load(shop))
    assert (found["users"], found["items"], found["interactions"]) == (3, 4, 8)
    assert found["density"] == pytest.approx(8 / 12)
    assert found["per_user"] == pytest.approx({"min": 1, "median": 3, "mean": 8 / 3, "p95": 3.9, "max": 4})
    assert (found["items_never_met"], found["users_too_short_to_evaluate"]) == (0, 1)
    assert found["text"]["empty_by_field"] == {"title": 1, "plot": 2}
    assert found["text"]["share_without_text"] == 0.25
    assert found["text"]["words"]["max"] == 4
    assert found["timestamps"] == "times"
    assert found["warnings"] == []


@pytest.mark.parametrize(
    ("times", "days"),
    [
        (["2024-01-02", "2024-03-01T23:59:59Z"], {"first": "2024-01-02", "last": "2024-03-01"}),
        ([1700000000, 1700086400], {"first": "2023-11-14", "last": "2023-11-15"}),
        ([5, 7], None),  # a count
        ([1700000000000, 1700000000001], None),  # milliseconds
    ],
)
def test_describe_names_the_first_and_the_last_day(tmp_path, times, days):
    rows = [f"u,{item},{time}" for item, time in enumerate(times)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    (tmp_path / "items.csv").write_text("item_id,title\n0,Mug\n1,Bowl\n")
    assert describe(load(tmp_path))["days"] == days


def test_describe_counts_pieces_and_warns_of_unknown_ones(shop):
    def tokenize(texts):
        return [[101, *(1 if word.isascii() else 100 for word in text.split()), 102] for text in texts]

    found = describe(load(shop), tokenize=tokenize, unknown_id=100, special_ids=(101, 102))
    assert found["text"]["pieces"]["max"] == 4
    assert found["text"]["share_unknown_pieces"] == pytest.approx(2 / 9)
    assert found["warnings"] == ["22.2% of word pieces are unknown to the encoder: choose one that was trained on this language"]
    assert describe(load(shop), tokenize=tokenize, unknown_id=7)["warnings"] == []


def test_parquet_holds_the_same_data(shop, tmp_path):
    data = load(shop, LoadOptions(max_words=None))
    written = convert(data, tmp_path / "out")
    again = load(tmp_path / "out")
    assert [path.name for path in written.paths] == ["interactions.parquet", "items.parquet", "users.parquet"]
    assert again.content_hash == data.content_hash
    assert again.users.texts == data.users.texts


def test_atomic_files_hold_the_same_ids_times_and_split(shop, tmp_path):
    data = load(shop)
    split = make_split(data)
    written = convert(data, tmp_path / "out", format="atomic", split=split)
    again = load(tmp_path / "out")
    assert again.name == "shop"
    assert np.array_equal(again.interactions.sequences.values, data.interactions.sequences.values)
    assert np.array_equal(again.interactions.timestamp, data.interactions.timestamp)
    assert again.catalog.fields["title"] == ["A 'x'", "B", "-", "D"]
    assert any("4 item texts were changed" in note for note in written.notes)
    given = make_split(again)
    assert given.manifest["method"] == "given"
    # v has a single training item, from which no training row can be made.
    assert [row.tolist() for row in given.train.sequences if len(row)] == [[1, 2]]
    for part in ("validation", "test"):
        mine, theirs = getattr(split, part), getattr(given, part)
        assert mine.content_hash == theirs.content_hash


def test_a_split_becomes_a_column_where_it_parts_the_interactions(shop, tmp_path):
    data = load(shop)
    split = make_split(data)
    assert split_labels(data.interactions, split).tolist() == ["train", "train", "valid", "test", "train", "valid", "test", "train"]
    convert(data, tmp_path / "out", split=split)
    assert make_split(load(tmp_path / "out"), "given").test.content_hash == split.test.content_hash
    cold = make_split(data, "cold_items", share=0.5)
    assert split_labels(data.interactions, cold) is None
    assert "the split is not written" in convert(data, tmp_path / "cold", split=cold).notes[0]


def test_atomic_files_say_what_of_a_split_they_do_not_hold(tmp_path):
    clicks = pd.DataFrame({"user_id": ["u"] * 10 + ["v"] * 3, "item_id": [*"abcdefghij", *"abc"]})
    data = load(clicks, items=pd.DataFrame({"item_id": list("abcdefghij")}))
    split = make_split(data, "ratio", validation_share=0.2, test_share=0.3)
    written = convert(data, tmp_path / "out", format="atomic", split=split)
    lost = "1 further validation targets of users who have several; 2 further test targets of users who have several"
    alone = "the training interaction of 1 users who have one alone"
    assert written.notes == [f"the split is not written whole, as the format has no place for: {lost}; {alone}"]
    assert [row.tolist() for row in make_split(load(tmp_path / "out")).test.targets] == [[8], [3]]
    cold = convert(data, tmp_path / "cold", format="atomic", split=make_split(data, "cold-items", share=0.3, seed=1))
    assert "which 3 items were held out" in cold.notes[0]


@pytest.mark.parametrize("former", ["atomic", "parquet"])
@pytest.mark.parametrize("format", ["atomic", "parquet"])
def test_files_of_a_former_conversion_are_not_read_with_the_new_ones(shop, tmp_path, former, format):
    data = load(shop)
    convert(data, tmp_path / "out", format=former, split=make_split(data))
    (tmp_path / "out" / "notes.md").write_text("mine")
    written = convert(data, tmp_path / "out", format=format, overwrite=True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"notes.md", *(path.name for path in written.paths)}
    assert make_split(load(tmp_path / "out")).manifest["method"] == "leave_one_out"
    assert any("left from before" in note for note in written.notes) == ((former, format) != ("parquet", "parquet"))


def test_convert_refuses_what_it_cannot_write(shop, tmp_path):
    data = load(shop)
    with pytest.raises(DataError, match="did you mean 'parquet'"):
        convert(data, tmp_path, format="parket")
    (tmp_path / "file").write_text("")
    with pytest.raises(BertrecError, match="cannot write"):
        convert(data, tmp_path / "file" / "x")
    (shop / "items.csv").write_text("item_id,title\na,A\nb,B\nc,C\nd,D\ne f,E\n")
    spaced = load(shop)
    with pytest.raises(DataError, match="hold white space"):
        convert(spaced, tmp_path / "out", format="atomic", split=make_split(spaced))


REAL = {  # users, items, interactions, fields, positions, method of the default split, evaluated test rows
    "amazon-scientific": (8442, 4385, 59384, 1, True, "given", 8442),
    "amazon-beauty": (22363, 12101, 198502, 1, True, "leave_one_out", 22363),
    "ml-latest-small": (610, 9742, 100836, 5, False, "leave_one_out", 610),
    "mind-mini": (1001, 5527, None, 4, False, "given", 400),
}


@pytest.mark.parametrize("name", REAL)
def test_real_data_load_as_published(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"BERTREC_TEST_DATA names no folder that holds {name}")
    users, items, interactions, fields, positions, method, tested = REAL[name]
    started = time.process_time()
    data = load(SHARED / name)
    split = make_split(data)
    assert time.process_time() - started < 10  # about a second; the time of this process only
    assert (len(data.interactions.users), len(data.catalog), len(data.catalog.fields)) == (users, items, fields)
    assert interactions in (None, len(data.interactions))
    assert data.interactions.timestamp_is_position == positions
    assert (split.manifest["method"], len(split.test)) == (method, tested)
    if name == "amazon-scientific":  # the given training sequences are the flat ones without the last two
        flat = data.interactions
        mine = dict(zip(flat.users.ids, flat.sequences, strict=True))
        rows = zip(split.train.users.ids, split.train.sequences, strict=True)
        assert all(np.array_equal(mine[user][:-2][-48:], row[-48:]) for user, row in rows)
    if positions:
        with pytest.raises(DataError, match="only positions"):
            make_split(data, "time")

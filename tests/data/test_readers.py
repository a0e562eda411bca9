from __future__ import annotations

import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertrec.core.errors import DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.load import LoadOptions, load, make_split
from bertrec.data.readers.delimited import read_delimited, read_table


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def tables(
    folder, interactions="user_id,item_id\nu,007\nu,8\nv,007\n", items="item_id,title,year\n007,Bond,1962\n8,기생충 🎬,2019\n", **more
):
    return write(folder, interactions__csv=interactions, items__csv=items, **more)


def sequences(interactions):
    decode = interactions.catalog.ids.decode
    return {user: decode(row) for user, row in zip(interactions.users.ids, interactions.sequences, strict=True)}


# --- tables -----------------------------------------------------------------------------------------------------------------------------


def test_csv_tables_keep_ids_as_text_and_numbers_out_of_the_text(tmp_path):
    data = load(tables(tmp_path / "shop", users__csv="user_id,job\nu,요리사\nv,\n"))
    assert (data.name, data.format) == ("shop", "tables")
    assert sequences(data.interactions) == {"u": ["007", "8"], "v": ["007"]}
    assert data.catalog.fields == {"title": ["Bond", "기생충 🎬"]}
    assert data.users.texts == ["요리사", ""]
    assert data.notes[0].startswith(f"{tmp_path}/shop/items.csv: columns: carried 'year' (to filter and boost by; to read one as text")
    assert data.catalog.attributes.schema == pa.schema({"year": pa.int64()})
    assert load(tmp_path / "shop", LoadOptions(text_fields=("year",))).catalog.texts == ["1962", "2019"]


def test_titles_of_numbers_are_the_same_in_every_kind_of_table(tmp_path):
    rows = {"item_id": ["007", "8"], "title": [1980, None], "brand": ["Acme", "Bolt"], "price": ["5", "7"]}
    fields = {"title": ["1980", ""], "brand": ["Acme", "Bolt"]}
    csv = load(tables(tmp_path / "a", items="item_id,title,brand,price\n007,1980,Acme,5\n8,,Bolt,7\n"))
    parquet = tables(tmp_path / "b")
    (parquet / "items.csv").unlink()
    pq.write_table(pa.table(rows), parquet / "items.parquet")
    assert csv.catalog.fields == load(parquet).catalog.fields == ItemCatalog.from_frame(pd.DataFrame(rows)).fields == fields


def test_tsv_parquet_and_gzip_hold_the_same(tmp_path):
    expected = load(tables(tmp_path / "a"))
    rows = {name: (tmp_path / "a" / f"{name}.csv").read_text() for name in ("interactions", "items")}
    tsv = write(tmp_path / "b", interactions__tsv=rows["interactions"].replace(",", "\t"), items__tsv=rows["items"].replace(",", "\t"))
    (tmp_path / "c").mkdir()
    for name, text in rows.items():
        with gzip.open(tmp_path / "c" / f"{name}.csv.gz", "wb") as stream:
            stream.write(text.encode())
    (tmp_path / "d").mkdir()
    for name in rows:
        pq.write_table(read_table(tmp_path / "a" / f"{name}.csv"), tmp_path / "d" / f"{name}.parquet")
    assert {load(folder).content_hash for folder in (tsv, tmp_path / "c", tmp_path / "d")} == {expected.content_hash}


def test_quotes_in_csv_and_in_both_kinds_of_tsv(tmp_path):
    quoted = write(
        tmp_path, a__csv='item_id,title\n1,"Hello, ""you""\nthere"\n', b__tsv='item_id\ttitle\n1\t"Hello ""you""\tthere"\n2\tx\n'
    )
    assert read_table(quoted / "a.csv")["title"].to_pylist() == ['Hello, "you"\nthere']
    assert read_table(quoted / "b.tsv")["title"].to_pylist() == ['Hello "you"\tthere', "x"]
    write(tmp_path, c__tsv='item_id\ttitle\n1\t"Patton" tells\n2\t"open\n3\tsaid "so"\n')
    assert read_table(tmp_path / "c.tsv")["title"].to_pylist() == ['"Patton" tells', '"open', 'said "so"']


def test_a_byte_order_mark_and_windows_line_ends_are_taken_off(tmp_path):
    write(tmp_path, a__csv=b"\xef\xbb\xbfitem_id,title\r\n1,x\r\n")
    assert read_table(tmp_path / "a.csv").to_pylist() == [{"item_id": "1", "title": "x"}]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"interactions": ""}, r"interactions\.csv: the file is empty"),
        ({"interactions": "user_id,item_id\n"}, r"interactions\.csv: no rows"),
        ({"items": "item_id,title"}, r"items\.csv: no rows"),
        ({"interactions": "user_id,thing\nu,1\n"}, r"interactions\.csv: no column 'item_id' \(columns: user_id, thing\)"),
        ({"interactions": b"user_id,item_id\nu,007\nu,\xff\xfe\n"}, r"interactions\.csv: line 3 is not UTF-8 \(byte 0xff\)"),
        ({"items": "item_id,title\n007,caf\xe9\n".encode("latin-1")}, r"items\.csv: line 2 is not UTF-8"),
        (
            {"interactions": "user_id,item_id,timestamp\nu,007,1\nu,8,nan\n"},
            r"interactions\.csv: row 2, column 'timestamp': the value is missing",
        ),
        ({"interactions": "user_id,item_id\nu,007\nu\n"}, r"interactions\.csv: line 3 has 1 columns where 2 are wanted"),
        ({"interactions": "user_id,user_id\nu,007\n"}, r"interactions\.csv: the header names column 'user_id' twice"),
        ({"items": "item_id,title\n007,a\n8,b\n007,c\n"}, r"items\.csv: rows 1 and 3 have the same item id '007' but different 'title'"),
        ({"items": "item_id,title\nx,a\ny,b\n"}, r"interactions\.csv: 3 of 3 interactions are of items absent"),
        ({"items": "item_id,title\n,a\n"}, r"items\.csv: row 1, column 'item_id': the id is empty"),
    ],
)
def test_bad_tables_name_file_and_place(tmp_path, files, message):
    with pytest.raises(DataError, match=message) as caught:
        load(tables(tmp_path, **files))
    assert "\n" not in str(caught.value)


def test_a_truncated_parquet_is_named(tmp_path):
    tables(tmp_path)
    pq.write_table(pa.table({"user_id": ["u"], "item_id": ["007"]}), tmp_path / "whole.parquet")
    (tmp_path / "interactions.csv").unlink()
    (tmp_path / "interactions.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"interactions\.parquet: cannot be read as Parquet, it is truncated or damaged"):
        load(tmp_path)


def test_two_tables_of_one_name_or_none_are_errors(tmp_path):
    tables(tmp_path, interactions__tsv="user_id\titem_id\nu\t8\n")
    with pytest.raises(DataError, match=r"both interactions\.csv and interactions\.tsv"):
        load(tmp_path)
    write(tmp_path / "x", interactions__csv="user_id,item_id\nu,1\n")
    with pytest.raises(DataError, match=r"no items\.csv, \.tsv, \.jsonl or \.parquet"):
        load(tmp_path / "x")


def test_a_damaged_gzip_is_named(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n" * 99)[:-12])
    with pytest.raises(DataError, match=r"a\.csv\.gz: cannot be read"):
        read_table(tmp_path / "a.csv.gz")


def test_the_split_column_counts_only_when_asked_for(tmp_path):
    text = "user_id,item_id,split\nu,007,train\nu,8,train\nu,007,valid\nu,8,test\n"
    data = load(tables(tmp_path, interactions=text))
    assert data.given is None
    assert make_split(data).manifest["method"] == "leave_one_out"
    given = make_split(data, "given")
    assert (given.manifest["method"], given.train.sequences.values.tolist()) == ("given", [1, 2])
    assert given.test.histories.values.tolist() == [1, 2, 1]
    data = load(tables(tmp_path, interactions=text.replace("valid", "vaild")))
    with pytest.raises(DataError, match=r"no given split: .*interactions\.csv: column 'split' is ignored: row 3 holds 'vaild'.*: correct"):
        make_split(data, "given")
    assert make_split(data).manifest["method"] == "leave_one_out"


# --- atomic files -----------------------------------------------------------------------------------------------------------------------

ITEM = "item_id:token\tmovie_title:token_seq\tyear:token\tscore:float\n"
ITEMS = ITEM + "".join(f"i{n}\tFilm {n} 영화\t19{n}0\t0.5\n" for n in range(1, 7))
HEAD = "user_id:token\titem_id_list:token_seq\titem_id:token\n"


def atomic(folder, **files):
    return write(folder, **{f"toy__{name}": content for name, content in {"item": ITEMS, **files}.items()})


def test_flat_atomic_files_are_typed_by_their_headers(tmp_path):
    inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\ti2\t4\t881250949\n7\ti1\t3.5\t881250948\n"
    data = load(atomic(tmp_path, inter=inter, user="user_id:token\tjob:token\n7\tdoctor\n"))
    assert data.format == "atomic"
    assert data.name == "toy"
    assert sequences(data.interactions) == {"7": ["i1", "i2"]}
    assert data.interactions.timestamp.tolist() == [881250948, 881250949]
    assert data.interactions.rating.tolist() == [3.5, 4]
    assert list(data.catalog.fields) == ["movie_title", "year"]
    assert data.catalog.texts[0] == "Film 1 영화 1910"
    assert data.users.texts == ["doctor"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_sequential_benchmark_is_rebuilt_and_wins_over_the_flat_file(tmp_path, order):
    train = [HEAD.strip(), *["u\ti1\ti2", "u\ti1 i2\ti3", "v\ti6\ti5"][::order]]
    valid = HEAD + "u\ti1 i2 i3\ti4\nv\ti6 i5\ti1\n"
    test = HEAD + "u\ti1 i2 i3 i4\ti5\nv\ti6 i5 i1\ti2\n"
    flat = "user_id:token\titem_id:token\ttimestamp:float\nu\ti1\t0\nu\ti2\t1\n"
    data = load(atomic(tmp_path, inter=flat, train__inter="\n".join(train) + "\n", valid__inter=valid, test__inter=test))
    split = make_split(data)
    assert split.manifest["method"] == "given"
    assert sequences(split.train) == {"u": ["i1", "i2", "i3"], "v": ["i6", "i5"]}
    assert [split.catalog.ids.decode(row) for row in split.validation.histories] == [["i1", "i2", "i3"], ["i6", "i5"]]
    assert split.catalog.ids.decode(split.test.targets.values) == ["i5", "i2"]
    assert sequences(data.interactions) == {"u": ["i1", "i2"]}
    assert data.interactions.timestamp_is_position
    assert load(tmp_path, LoadOptions(given=False)).given is None


def test_without_a_flat_file_interactions_are_training_and_targets(tmp_path):
    test = HEAD + "u\ti1 i2 i3\ti5\nw\ti4\ti6\n"
    data = load(atomic(tmp_path, train__inter=HEAD + "u\ti1\ti2\n", valid__inter=HEAD + "u\ti1 i2\ti3\n", test__inter=test))
    assert sequences(data.interactions) == {"u": ["i1", "i2", "i3", "i5"], "w": ["i4", "i6"]}
    assert sequences(data.given.train) == {"u": ["i1", "i2"], "w": []}
    assert data.given.manifest["counts"]["users_without_training_row"] == 1


def test_of_equally_long_cut_histories_the_newest_is_taken(tmp_path):
    # Histories cut to two: file order does not say which row is the last, the validation history does.
    train = HEAD + "u\ti2 i3\ti4\nu\ti1 i2\ti3\n"
    data = load(atomic(tmp_path, train__inter=train, valid__inter=HEAD + "u\ti3 i4\ti5\n"))
    assert sequences(data.given.train) == {"u": ["i2", "i3", "i4"]}


def test_unknown_items_in_benchmark_histories_are_dropped_and_counted(tmp_path):
    train = HEAD + "u\ti1 gone i2\ti3\nv\ti1 i2\ti4\n"
    data = load(atomic(tmp_path, train__inter=train, test__inter=HEAD + "u\ti1 i2\tgone\nv\ti1\ti2\n"))
    assert sequences(data.given.train)["u"] == ["i1", "i2", "i3"]
    assert data.given.test.users == ["v"]
    assert any("train.inter: 1 of 7 item ids are absent" in note for note in data.notes)
    assert data.given.manifest["counts"]["test_rows_without_history_or_target"] == 1
    with pytest.raises(DataError, match=r"3 of 4 item ids are absent .* more than half"):
        load(atomic(tmp_path / "x", train__inter=HEAD + "u\ta b\ti3\nv\t\tc\n"))


def test_a_flat_benchmark_is_a_given_split(tmp_path):
    head = "user_id:token\titem_id:token\ttimestamp:float\n"
    data = load(
        atomic(tmp_path, train__inter=head + "u\ti1\t5\nu\ti2\t6\n", valid__inter=head + "u\ti3\t7\n", test__inter=head + "u\ti4\t8\n")
    )
    assert sequences(data.given.train) == {"u": ["i1", "i2"]}
    assert data.given.catalog.ids.decode(data.given.test.histories[0]) == ["i1", "i2", "i3"]
    assert sequences(data.interactions) == {"u": ["i1", "i2", "i3", "i4"]}


def test_filters_do_not_touch_a_given_split_in_silence(tmp_path):
    atomic(tmp_path, train__inter=HEAD + "u\ti1\ti2\n", test__inter=HEAD + "u\ti1 i2\ti3\n")
    with pytest.raises(DataError, match=r"filters do not apply to the given split: .*--no-given .*given: false"):
        load(tmp_path, LoadOptions(k_core=1))
    assert load(tmp_path, LoadOptions(k_core=1, given=False)).catalog.ids.ids == ["i1", "i2", "i3"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"inter": "user_id\titem_id:token\nu\ti1\n"}, r"toy\.inter: column 'user_id' has no type"),
        ({"inter": "user_id:tokn\titem_id:token\nu\ti1\n"}, r"toy\.inter: column 'user_id': unknown type 'tokn': did you mean 'token'"),
        ({"inter": "user_id:token\titem_id:token\n"}, r"toy\.inter: no rows"),
        ({"inter": "user_id:token\titem_id:token\trating:float\nu\ti1\tgood\n"}, r"toy\.inter: row 1, column 'rating': 'good'"),
        ({"valid__inter": HEAD + "u\ti1\ti2\n"}, r"toy\.train\.inter is missing"),
        ({"train__inter": HEAD + "u\ti1\ti2\n", "test__inter": HEAD + "u\ti1\ti2\nu\ti1\ti3\n"}, "a user has several rows"),
        ({"train__inter": HEAD}, r"toy\.train\.inter: no rows"),
        (
            {"inter": "user_id:token\titem_id:token\nu\ti1\n", "user": "uid:token\tjob:token\nu\tcook\n"},
            r"toy\.user: no column 'user_id' \(columns: uid, job\): say which it is",
        ),
    ],
)
def test_bad_atomic_files_are_named(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        load(atomic(tmp_path, **files))


def test_an_atomic_folder_needs_items_and_one_name(tmp_path):
    inter = "user_id:token\titem_id:token\nu\ti1\n"
    with pytest.raises(DataError, match=r"b\.item: no such file: it is to hold the items, .* item_id:token title:token_seq"):
        load(write(tmp_path / "a", b__inter=inter))
    with pytest.raises(DataError, match=r"several data sets \(b, c\)"):
        load(write(tmp_path / "b", b__inter=inter, c__train__inter=inter))


# --- MovieLens --------------------------------------------------------------------------------------------------------------------------


def test_movielens_100k(tmp_path):
    flags = "|".join("1" if n in (5, 8) else "0" for n in range(19))
    item = f"1|Misérables, Les (1995)|01-Jan-1995||http://x|{flags}\n2|Up|||x|{flags}\n".encode("latin-1")
    files = {"u__data": "9\t1\t4\t100\n9\t2\t5\t90\n", "u__item": item, "u__user": "9|24|M|technician|85711\n"}
    data = load(write(tmp_path, **files))
    assert data.format == "movielens"
    assert sequences(data.interactions) == {"9": ["2", "1"]}
    assert data.catalog.texts[0] == "Misérables, Les (1995) Comedy, Drama"
    assert data.users.texts == ["24 M technician"]


def test_movielens_1m(tmp_path):
    files = {
        "ratings__dat": "1::10::5::978300760\n1::20::3::978300000\n",
        "movies__dat": "10::Café: Part 2 (1990)::Drama|War\n20::Up::Comedy\n".encode("latin-1"),
        "users__dat": "1::F::1::10::48067\n",
    }
    data = load(write(tmp_path, **files))
    assert sequences(data.interactions) == {"1": ["20", "10"]}
    assert data.catalog.texts == ["Café: Part 2 (1990) Drama, War", "Up Comedy"]
    assert data.users.texts == ["under 18 F K-12 student"]


def test_movielens_latest(tmp_path):
    files = {
        "ratings__csv": "userId,movieId,rating,timestamp\n1,10,4.5,978300760\n1,20,3.0,978300000\n",
        "movies__csv": 'movieId,title,genres\n10,"American President, The (1995)",Comedy|Drama\n20,Up,(no genres listed)\n',
    }
    data = load(write(tmp_path, **files))
    assert sequences(data.interactions) == {"1": ["20", "10"]}
    assert data.catalog.texts == ["American President, The (1995) Comedy, Drama", "Up"]
    with pytest.raises(DataError, match=r"ratings\.csv: no column 'userId'"):
        load(write(tmp_path, ratings__csv="user,movieId\n1,10\n"))
    for header, name in {"movieId,title": "genres", "movieId,genres": "title", "movie,title": "movieId"}.items():
        with pytest.raises(DataError, match=rf"movies\.csv: no column '{name}' \(columns: {header.replace(',', ', ')}\): say which it is"):
            load(write(tmp_path, **{**files, "movies__csv": f"{header}\n10,Up\n"}))


# --- Amazon -----------------------------------------------------------------------------------------------------------------------------

OLD_REVIEWS = [
    {"reviewerID": "A", "asin": "01", "overall": 5.0, "unixReviewTime": 200, "reviewText": "great", "helpful": [1, 2]},
    {"reviewerID": "A", "asin": "02", "overall": 1, "unixReviewTime": 100},
]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_amazon_2014_with_literal_metadata_in_gzip(tmp_path):
    (tmp_path / "reviews_Toy_5.json.gz").write_bytes(gzip.compress(lines(OLD_REVIEWS).encode()))
    meta = "{'asin': '01', 'title': 'Lip &amp; Gloss', 'brand': 'Acme', 'categories': [['Beauty', 'Lips'], ['Beauty']]}\n{'asin': '02'}\n"
    (tmp_path / "meta_Toy.json.gz").write_bytes(gzip.compress(meta.encode()))
    data = load(tmp_path)
    assert data.format == "amazon"
    assert sequences(data.interactions) == {"A": ["02", "01"]}
    assert data.interactions.text == ["", "great"]
    assert data.catalog.texts == ["Lip & Gloss Acme Beauty, Lips", ""]


def test_amazon_2018(tmp_path):
    write(
        tmp_path,
        Toy_5__json=lines([{**OLD_REVIEWS[0], "vote": "3", "style": {"Size:": "L"}}, OLD_REVIEWS[1]]),
        meta_Toy__json=lines(
            [{"asin": "01", "title": "샴푸", "category": ["Hair"], "description": ["a", "b"]}, {"asin": "02", "title": "x"}] * 2
        ),
    )
    data = load(tmp_path)
    assert data.catalog.texts == ["샴푸 Hair a b", "x"]
    assert data.interactions.rating.tolist() == [1, 5]
    assert any("2 lines repeat an item" in note for note in data.notes)


def test_amazon_2023_in_milliseconds(tmp_path):
    review = {"user_id": "A", "asin": "variant", "parent_asin": "P", "rating": 4.0, "timestamp": 1588687728923, "text": "ok", "images": []}
    meta = {"parent_asin": "P", "title": "Comb", "store": "Acme", "categories": ["Hair"], "description": [], "price": "None"}
    data = load(write(tmp_path, Toy__jsonl=lines([review]), meta_Toy__jsonl=lines([meta])))
    assert sequences(data.interactions) == {"A": ["P"]}
    assert data.interactions.timestamp.tolist() == [1588687728.923]
    assert data.catalog.texts == ["Comb Acme Hair"]


@pytest.mark.parametrize(
    ("reviews", "meta", "message"),
    [
        (lines(OLD_REVIEWS) + '{"reviewerID": \n', lines([{"asin": "01"}]), r"reviews\.json: line 3 is no JSON"),
        (lines([*OLD_REVIEWS, {"reviewerID": "A", "asin": "01"}]), lines([{"asin": "01"}]), r"reviews\.json: row 3, column 'timestamp'"),
        (lines([*OLD_REVIEWS, {"asin": "01"}]), lines([{"asin": "01"}]), r"reviews\.json: row 3, column 'user_id': the id is missing"),
        (lines(OLD_REVIEWS), lines([{"asin": "01"}]) + "{oops\n", r"meta\.json: line 2 is neither JSON nor a literal"),
        (lines(OLD_REVIEWS), lines([{"asin": "01"}, {"title": "x"}]), r"meta\.json: row 2 has neither"),
        (lines(OLD_REVIEWS), "[]", "no file of metadata"),
        (
            lines([*OLD_REVIEWS, {**OLD_REVIEWS[0], "asin": 7}]),
            lines([{"asin": "01"}]),
            r"reviews\.json: line 3: 'asin' is 7: write it as text, in quotation marks, in every line$",
        ),
        (
            lines(OLD_REVIEWS) + "\n" + lines([{**OLD_REVIEWS[0], "overall": "5"}]),
            lines([{"asin": "01"}]),
            r"reviews\.json: line 4: 'overall' is '5': write it as a number, without quotation marks, in every line$",
        ),
        (lines(OLD_REVIEWS) + "7\n", lines([{"asin": "01"}]), r"reviews\.json: line 3 is no JSON object: each line holds one review"),
        (lines(OLD_REVIEWS).encode() + b"\xff\n", lines([{"asin": "01"}]), r"reviews\.json: line 3 is not UTF-8"),
    ],
)
def test_bad_amazon_files_are_named(tmp_path, reviews, meta, message):
    with pytest.raises(DataError, match=message):
        load(write(tmp_path, reviews__json=reviews, meta__json=meta))


# --- MIND -------------------------------------------------------------------------------------------------------------------------------

NEWS = "".join(f'N{n}\tnews\tworld\tTitle "{n}" 뉴스\tAbstract {n}\turl\t[{{"a": 1}}]\t[]\n' for n in range(1, 7))
TRAIN = (
    "1\tU1\t11/9/2019 6:42:51 PM\tN1 N2\tN3-0 N4-1\n"
    "2\tU1\t11/9/2019 6:42:50 AM\tN1 N2\tN5-1 N9-0\n"  # earlier, with an unknown candidate
    "3\tU2\t11/10/2019 1:00:00 AM\t\tN6-1 N1-0\n"
)
TEST = "1\tRP1\t11/15/2019 12:00:00 PM\tN1 N9\tN2-0 N3-1\n2\tRP2\t11/15/2019 12:00:00 PM\t\tN2-1 N3-0\n"


@pytest.mark.parametrize("shared", [True, False])
def test_mind_in_both_layouts(tmp_path, shared):
    for name, rows in {"MINDsmall_train": TRAIN, "MINDsmall_dev": TEST}.items():
        write(tmp_path / name, behaviors__tsv=rows, **({} if shared else {"news__tsv": NEWS}))
    if shared:
        write(tmp_path, news__tsv=NEWS)
    data = load(tmp_path)
    assert data.format == "mind"
    assert data.catalog.texts[0] == 'Title "1" 뉴스 Abstract 1 news world'
    train, valid = data.impressions["train"], data.impressions["valid"]
    assert [row.tolist() for row in train.histories] == [[1, 2], [1, 2], []]
    assert [row.tolist() for row in train.candidates] == [[3, 4], [5], [6, 1]]
    assert train.labels.tolist() == [0, 1, 1, 1, 0]
    assert train.timestamp.tolist()[0] == 1573324971  # 2019-11-09 18:42:51 UTC
    assert [row.tolist() for row in valid.clicks] == [[3], [2]]
    assert sequences(data.interactions) == {"U1": ["N1", "N2", "N5", "N4"], "U2": ["N6"]}
    # RP2 has no history, so that only RP1 is evaluated.
    assert (data.given.validation.users, data.given.validation.histories.values.tolist()) == (["RP1"], [1])
    assert any("1 candidates absent" in note for note in data.notes)
    assert any("1 history items absent" in note for note in data.notes)


def test_mind_without_labels_is_shown_but_not_evaluated(tmp_path):
    write(tmp_path / "train", behaviors__tsv=TRAIN)
    write(tmp_path / "test", behaviors__tsv="1\tU9\t11/15/2019 8:55:22 AM\tN1\tN2 N3\n")
    data = load(write(tmp_path, news__tsv=NEWS))
    assert data.impressions["test"].labels is None
    assert data.given is None
    with pytest.raises(DataError, match="no labels"):
        _ = data.impressions["test"].clicks


def test_impressions_of_a_day_alone_are_read_by_their_histories(tmp_path):
    """Nothing to train on is there: a user has the longest history of all parts, and no click of any."""
    write(tmp_path / "dev", behaviors__tsv="1\tU1\t11/14/2019 8:00:00 AM\tN1 N2 N3\tN4-1 N5-0\n")
    rows = "1\tU1\t11/15/2019 8:00:00 AM\tN1 N2\tN5 N6\n2\tU2\t11/15/2019 8:00:00 AM\tN6\tN2 N3\n3\tU3\t11/15/2019 8:00:00 AM\t\tN2 N3\n"
    write(tmp_path / "test", behaviors__tsv=rows)
    data = load(write(tmp_path, news__tsv=NEWS))
    assert sequences(data.interactions) == {"U1": ["N1", "N2", "N3"], "U2": ["N6"]}
    assert [len(data.impressions[name]) for name in ("valid", "test")] == [1, 3]
    assert "no part to train on has labels: the histories of the impressions are the interactions" in data.notes
    write(tmp_path / "none" / "test", behaviors__tsv="1\tU1\t11/15/2019 8:00:00 AM\t\tN2 N3\n")
    with pytest.raises(DataError, match="without a labelled training part or a history: a folder 'train'"):
        load(write(tmp_path / "none", news__tsv=NEWS))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("1\tU1\tsoon\tN1\tN2-1\n", r"behaviors\.tsv: line 1: 'soon' is no time"),
        ("1\tU1\t11/9/2019 6:42:51 PM\tN1\tN2-1 N3\n", r"behaviors\.tsv: line 1: candidate 'N3' has no label"),
        ("1\tU1\t11/9/2019 6:42:51 PM\tN1\n", r"behaviors\.tsv: line 1 has 4 columns where 5"),
        ("1\tU1\t11/9/2019 6:42:51 PM\tN1\tX-1 Y-0 N2-0\n", "2 of 3 candidates are absent"),
        ("", r"behaviors\.tsv: the file is empty"),
    ],
)
def test_bad_impressions_are_named(tmp_path, train, message):
    write(tmp_path / "train", behaviors__tsv=train)
    with pytest.raises(DataError, match=message):
        load(write(tmp_path, news__tsv=NEWS))


def test_mind_folders_and_news_that_contradict(tmp_path):
    write(tmp_path / "a" / "monday", behaviors__tsv=TRAIN)
    with pytest.raises(DataError, match=r"monday: a folder with behaviors\.tsv is named"):
        load(tmp_path / "a")
    with pytest.raises(DataError, match=r"no news\.tsv"):
        load(write(tmp_path / "b", behaviors__tsv=TRAIN))
    write(tmp_path / "c" / "train", behaviors__tsv=TRAIN, news__tsv=NEWS)
    write(tmp_path / "c" / "dev", behaviors__tsv=TEST, news__tsv=NEWS.replace("Abstract 3", "Other"))
    with pytest.raises(DataError, match="same item id 'N3' but different 'abstract'"):
        load(tmp_path / "c")


def test_delimiters_of_two_characters(tmp_path):
    write(tmp_path, x__dat="1::a b::c\n")
    assert read_delimited(tmp_path / "x.dat", delimiter="::", names=["x", "y", "z"]).to_pylist() == [{"x": "1", "y": "a b", "z": "c"}]

"""Every row of the page's table of what is read has an input here, and every input here a row."""

from __future__ import annotations

import datetime as dt
import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertrec.core.errors import DataError
from bertrec.data.load import Dataset, LoadOptions, load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"
MORNING = dt.datetime(2024, 1, 31, 9, 30, tzinfo=dt.UTC).timestamp()
ROWS = [("u", "b"), ("u", "a"), ("v", "a")]
ITEMS = "item_id,title\na,Lamp\nb,Chair\n"
# Without times the rows' order counts, with those of TIMES user u met item a first.
IN_ORDER, BY_TIME = {"u": ["b", "a"], "v": ["a"]}, {"u": ["a", "b"], "v": ["a"]}


def put(folder: Path, **files: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def shop(folder: Path, column: str = "", values: tuple[str, ...] = (), items: str = ITEMS, **more: str | bytes) -> Path:
    """A folder of tables with one more column of interactions."""
    extra = [f",{value}" for value in values] or [""] * len(ROWS)
    rows = "".join(f"{user},{item}{value}\n" for (user, item), value in zip(ROWS, extra, strict=True))
    header = f"user_id,item_id{',' if column else ''}{column}\n"
    return put(folder, **{"interactions__csv": header + rows, "items__csv": items, **more})


def met(data: Dataset) -> dict:
    decode = data.catalog.ids.decode
    return {user: decode(row) for user, row in zip(data.interactions.users.ids, data.interactions.sequences, strict=True)}


def at(value: str, later: str, seconds: float, **options: str) -> Callable[[Path], None]:
    """A time that is read as so many seconds, and one after it that orders the rows."""

    def check(folder: Path) -> None:
        data = load(shop(folder, "timestamp", (f'"{later}"', f'"{value}"', f'"{value}"')), LoadOptions(**options))
        assert met(data) == BY_TIME
        assert data.interactions.timestamp[0] == pytest.approx(seconds, abs=1e-6)

    return check


def ids(folder: Path) -> None:
    assert met(load(shop(folder))) == IN_ORDER
    pq.write_table(pa.table({"user_id": [7, 7, 8], "item_id": [2, 1, 1]}), folder / "interactions.parquet")
    pq.write_table(pa.table({"item_id": [1, 2], "title": ["Lamp", "Chair"]}), folder / "items.parquet")
    for name in ("interactions", "items"):
        (folder / f"{name}.csv").unlink()
    assert met(load(folder)) == {7: [2, 1], 8: [1]}


def other_times(folder: Path) -> None:
    for name in ("datetime", "event_time", "last_watch_dt"):
        data = load(shop(folder, name, ("2024-01-02", "2024-01-01", "2024-01-01")))
        assert met(data) == BY_TIME
        assert any(f"'{name}' is taken as the time" in note for note in data.notes)


def label(folder: Path) -> None:
    data = load(shop(folder, "label", ("1", "0", "1")))
    assert met(data) == {"u": ["b"], "v": ["a"]}
    assert data.interactions.negatives.to_pylist() == [{"user_id": "u", "item_id": "a"}]


def weight(folder: Path) -> None:
    data = load(shop(folder, "weight", ("5", "1", "1")))
    assert data.interactions.weight.tolist() == [5, 1, 1]
    assert any("counted by popularity, ignored by every other model" in note for note in data.notes)


def rating(folder: Path) -> None:
    assert met(load(shop(folder, "rating", ("5", "1", "4")), LoadOptions(min_rating=4))) == {"u": ["b"], "v": ["a"]}


def missing(folder: Path) -> None:
    for value in ("", "NaN", "null", "None", "N/A"):
        for name in ("timestamp", "rating", "label", "weight"):
            shop(folder, name, ("1", value, "1"))
            with pytest.raises(DataError, match=f"row 2, column '{name}'.*on_missing: drop"):
                load(folder)
            assert met(load(folder, LoadOptions(on_missing="drop"))) == {"u": ["b"], "v": ["a"]}


def review(folder: Path) -> None:
    data = load(shop(folder, "text", ("good", "bad", "ok")))
    assert data.interactions.text == ["good", "bad", "ok"]
    assert any(
        "carried 'text' (read by encoder adapt, the pre-training task reviews, prompts with {reviews} and the rankers ubert and p5)" in note
        for note in data.notes
    )


def split(folder: Path) -> None:
    assert load(shop(folder, "split", ("train", "valid", "test"))).interactions.part.tolist() == [0, 1, 2]


def ignored(folder: Path) -> None:
    assert any("ignored 'page'" in note for note in load(shop(folder, "page", ("x", "y", "z"))).notes)


def texts(folder: Path) -> None:
    items = "item_id,price,brand,name,title\na,5,Acme,L-1,Lamp\nb,7,Bolt,C-2,Chair\n"
    assert load(shop(folder, items=items)).catalog.texts == ["Lamp L-1 Acme", "Chair C-2 Bolt"]
    assert load(folder, LoadOptions(text_fields=["price"])).catalog.texts == ["5", "7"]


def lists(folder: Path) -> None:
    shop(folder, items__jsonl='{"item_id": "a", "tags": ["x", "y"]}\n{"item_id": "b", "tags": []}\n')
    (folder / "items.csv").unlink()
    assert load(folder).catalog.texts == ["x, y", ""]


def placeholders(folder: Path) -> None:
    for word in ("NaN", "null", "None", "N/A", "nan", "n/a", "NULL"):
        data = load(shop(folder, items=f"item_id,title\na,{word}\nb,None of this\n"))
        assert data.catalog.texts == ["", "None of this"]
        assert any("1 texts are NaN, null, None or N/A alone (read as empty)" in note for note in data.notes)
    assert met(load(put(folder, interactions__csv="user_id,item_id\nnull,None\n", items__csv="item_id,title\nNone,x\n"))) == {
        "null": ["None"]
    }


def users(folder: Path) -> None:
    data = load(shop(folder, users__csv="user_id,job\nu,cook\n"))
    assert data.users.texts == ["cook"]
    assert any(
        "texts of users are read by prompts with {profile}, the rankers ubert and p5, and recommend --profile-start" in note
        for note in data.notes
    )


def quoted_csv(folder: Path) -> None:
    assert load(shop(folder, items='item_id,title\na,"Lamp, ""old""\nand big"\nb,Chair\n')).catalog.titles == [
        'Lamp, "old"\nand big',
        "Chair",
    ]


def tsv(folder: Path) -> None:
    rows = "".join(f"{user}\t{item}\n" for user, item in ROWS)
    put(folder, interactions__tsv="user_id\titem_id\n" + rows, items__tsv='item_id\ttitle\na\t"Great" Lamp\nb\t"Chair"\n')
    assert load(folder).catalog.titles == ['"Great" Lamp', '"Chair"']
    put(folder, items__tsv='item_id\ttitle\na\t"Lamp"\nb\tChair\n')
    assert load(folder).catalog.titles == ["Lamp", "Chair"]


JSON_ROWS = [f'{{"user_id": "{user}", "item_id": "{item}", "timestamp": {10 - number}}}' for number, (user, item) in enumerate(ROWS)]


def json_lines(folder: Path) -> None:
    literals = [row.replace('"', "'").replace("{'", "{u'") for row in JSON_ROWS]
    for name, content in (("jsonl", "\n".join(JSON_ROWS)), ("json", f"[{','.join(JSON_ROWS)}]"), ("ndjson", "\n".join(literals))):
        put(
            folder,
            **{f"interactions__{name}": content},
            items__jsonl='{"item_id": "a", "title": "Lamp"}\n{"item_id": "b", "title": null}\n',
        )
        data = load(folder)
        assert (met(data), data.catalog.texts) == (BY_TIME, ["Lamp", ""])
        (folder / f"interactions.{name}").unlink()


def parquet(folder: Path) -> None:
    ids(folder)


def packed(folder: Path) -> None:
    rows = "".join(f"{user},{item}\n" for user, item in ROWS)
    put(folder, interactions__csv__gz=gzip.compress(f"user_id,item_id\n{rows}".encode()))
    put(folder, items__jsonl__gz=gzip.compress(b'{"item_id": "a", "title": "Lamp"}\n{"item_id": "b", "title": "Chair"}\n'))
    assert met(load(folder)) == IN_ORDER


def separators(folder: Path) -> None:
    for mark in (";", "\t", "|", "::", " "):
        data = load(put(folder, interactions__csv=shop_text(mark), items__csv=ITEMS.replace(",", mark)))
        assert (met(data), data.catalog.titles) == (IN_ORDER, ["Lamp", "Chair"])
        assert any("read with columns separated by" in note for note in data.notes)
    put(folder, interactions__csv=shop_text("^"), items__csv=ITEMS.replace(",", "^"))
    with pytest.raises(DataError, match="separator: MARK"):
        load(folder)
    assert met(load(folder, LoadOptions(separator="^"))) == IN_ORDER


def shop_text(mark: str) -> str:
    return f"user_id{mark}item_id\n" + "".join(f"{user}{mark}{item}\n" for user, item in ROWS)


def said_separator(folder: Path) -> None:
    assert met(load(shop(folder, interactions__csv="sep=;\r\n" + shop_text(";")))) == IN_ORDER


def marked(folder: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert load(shop(folder, items__csv=ITEMS.replace("Lamp", "Café 기생충").encode(encoding))).catalog.titles[0] == "Café 기생충"


def unmarked(folder: Path) -> None:
    for encoding in ("cp1252", "latin-1", "utf-16-le"):
        shop(folder, items__csv=ITEMS.replace("Lamp", "Café").encode(encoding), interactions__csv=shop_text(",").encode(encoding))
        with pytest.raises(DataError, match="encoding: "):
            load(folder)
        assert load(folder, LoadOptions(encoding=encoding)).catalog.titles[0] == "Café"
        with pytest.raises(DataError, match="encoding 'latin-x' is unknown"):
            load(folder, LoadOptions(encoding="latin-x"))


def line_ends(folder: Path) -> None:
    for end in ("\n", "\r\n", "\r"):
        data = load(put(folder, interactions__csv=shop_text(",").replace("\n", end), items__csv=ITEMS.replace("\n", end)))
        assert (met(data), data.catalog.titles) == (IN_ORDER, ["Lamp", "Chair"])


def escapes(folder: Path) -> None:
    for quotes, value in (("doubled", '"Lamp ""A"", old"'), ("backslash", r'"Lamp \"A\", old"')):
        shop(folder, items=ITEMS.replace("Lamp", value))
        assert load(folder).catalog.titles == load(folder, LoadOptions(quotes=quotes)).catalog.titles == ['Lamp "A", old', "Chair"]


def unclosed(folder: Path) -> None:
    shop(folder, items=ITEMS.replace("Lamp", '"Lamp'))
    with pytest.raises(DataError, match=r"items\.csv: line 2: a quotation mark opens here.*quotes: none"):
        load(folder)
    assert load(folder, LoadOptions(quotes="none")).catalog.titles == ['"Lamp', "Chair"]


def headless(folder: Path) -> None:
    put(folder, ratings__csv="u,b,5,1600000009\nu,a,4,1600000000\nv,a,3,1600000001\n", items__csv=ITEMS)
    said = "interactions: ratings.csv\nitems: items.csv\n"
    put(folder, d__yaml=said)
    with pytest.raises(DataError, match=r"ratings\.csv: line 1 .*looks like data.*header: false  and  columns: "):
        load(folder / "d.yaml")
    put(folder, d__yaml=said + "columns: {user_id: 1, item_id: 2, rating: 3, timestamp: 4}\n")
    data = load(folder / "d.yaml")
    assert (met(data), data.interactions.rating.tolist()) == (BY_TIME, [4, 5, 3])
    put(
        folder, items__csv="a,Lamp\nb,Chair\n", d__yaml=said + "header: false\ncolumns: {user_id: 1, item_id: 2, rating: 3, timestamp: 4}\n"
    )
    data = load(folder / "d.yaml")
    assert (met(data), data.catalog.titles) == (BY_TIME, ["Lamp", "Chair"])


def sequence_lines(folder: Path) -> None:
    put(folder, train__txt="0 2 1 3 5 9\n1 1\n")
    data = load(folder)
    assert (met(data), data.format) == ({"0": ["2", "1", "3", "5", "9"], "1": ["1"]}, "sequences")
    assert any("items are their ids alone" in note for note in data.notes)
    put(folder, test__txt="0 7\n")
    assert met(load(folder))["0"] == ["2", "1", "3", "5", "9", "7"]
    (folder / "test.txt").unlink()
    put(folder, train__txt="0 2 1\n1 1 2\n")
    with pytest.raises(DataError, match=r"3 numbers on each line and no header: .*layout: sequences"):
        load(folder)
    assert met(load(folder, LoadOptions(layout="sequences"))) == {"0": ["2", "1"], "1": ["1", "2"]}
    put(folder, d__yaml="interactions: train.txt\nlayout: sequences\n")
    assert met(load(folder / "d.yaml")) == {"0": ["2", "1"], "1": ["1", "2"]}


def atomic(folder: Path) -> None:
    put(folder, s__inter="user_id:token\titem_id:token\nu\ta\n", s__item="item_id:token\ttitle:token_seq\na\tLamp\n")
    assert load(folder).format == "atomic"
    put(folder, s__item=b"item_id:token\ttitle:token_seq\na\tCaf\xe9\n")
    assert load(folder, LoadOptions(encoding="latin-1")).catalog.titles == ["Café"]
    put(folder, s__inter="user_id:token,item_id:token\nu,a\n")
    with pytest.raises(DataError, match="atomic files separate columns by tabs"):
        load(folder, LoadOptions(encoding="latin-1"))


def movielens(folder: Path) -> None:
    put(folder, ratings__csv="userId,movieId,rating,timestamp\n1,a,5,1\n", movies__csv="movieId,title,genres\na,Lamp,War|Drama\n")
    assert (load(folder).format, load(folder).catalog.texts) == ("movielens", ["Lamp War, Drama"])


META = (
    '{"parent_asin": "a", "title": "Lamp &amp; <b>shade</b>", "store": "Acme", "features": ["soft", "long"], "description": ["x<br>y"], '
    '"categories": ["Home"], "details": {"Size": "big"}, "price": "5"}\n'
    '{"parent_asin": "b", "title": "<span>var aPageStart = 1;</span>", "features": [], "details": {}}\n'
)
LAMP = "Lamp & shade Acme Home soft long x y Size: big"


def attributes(folder: Path) -> None:
    items = 'item_id,title,new,size,weight,price,since\na,x,true,3,1.5,$1,2024-01-31\nb,y,false,,2,"$1,299.00",\n'
    catalog = load(shop(folder, items=items)).catalog
    assert catalog.attributes is not None
    kinds = [str(kind) for kind in catalog.attributes.schema.types]
    assert kinds == ["bool", "int64", "double", "double", "date32[day]"]
    assert catalog.attributes["price"].to_pylist() == [1.0, 1299.0]


def amazon(folder: Path) -> None:
    reviews = "".join(
        f'{{"user_id": "{user}", "parent_asin": "{item}", "rating": 5.0, "timestamp": 1600000000000}}\n' for user, item in ROWS
    )
    put(folder, X__jsonl=reviews, meta_X__jsonl=META)
    data = load(folder)
    assert (data.format, data.catalog.texts) == ("amazon", [LAMP, ""])
    assert any("HTML tags, entities or scripts were taken out of 3 texts" in note for note in data.notes)
    assert any("'price' (to filter and boost by" in note for note in data.notes)
    assert load(folder, LoadOptions(text_fields=["features", "details", "price"])).catalog.texts[0] == "soft long Size: big 5"
    (folder / "X.jsonl").unlink()
    ratings = "user_id,parent_asin,rating,timestamp\n" + "".join(f"{user},{item},5.0,1600000000000\n" for user, item in ROWS)
    put(folder, X__csv=ratings, d__yaml="interactions: X.csv\nitems: meta_X.jsonl\ncolumns: {item_id: parent_asin}\n")
    for joined in (load(folder), load(folder / "d.yaml")):
        assert (met(joined), joined.catalog.texts) == (IN_ORDER, [LAMP, ""])


def mind(folder: Path) -> None:
    put(folder, news__tsv="a\tn\tx\tLamp\tbright\tu\t[]\t[]\nb\tn\tx\tChair\t\tu\t[]\t[]\n")
    put(folder, behaviors__tsv="1\tU\t11/15/2019 9:00:00 AM\ta\tb-1 a-0\n")
    assert load(folder).format == "mind"


SAMPLES: dict[tuple[str, str], Callable[[Path], None]] = {
    ("ids", "`user_id`, `item_id`"): ids,
    ("time", "`timestamp`"): at("5", "6", 5),
    ("time", "`datetime`, `event_time`, `last_watch_dt` and the like"): other_times,
    ("time", "`2024-01-31`"): at("2024-01-31", "2024-02-01", MORNING - 9.5 * 3600),
    ("time", "`2024-01-31 09:30:00`"): at("2024-01-31 09:30:00", "2024-01-31 09:30:01", MORNING),
    ("time", "`2024-01-31T09:30:00Z`"): at("2024-01-31T09:30:00Z", "2024-01-31T09:30:01Z", MORNING),
    ("time", "`2024-01-31 09:30:00 UTC`"): at("2024-01-31 09:30:00 UTC", "2024-01-31 09:30:01 UTC", MORNING),
    ("time", "`2024-01-31 10:30:00 +0100`"): at("2024-01-31 10:30:00 +0100", "2024-01-31 09:30:01 +0000", MORNING),
    ("time", "`20240131T093000Z`"): at("20240131T093000Z", "20240131T093001Z", MORNING),
    ("time", "`2024-01-31 09:30:00.123456789`"): at("2024-01-31 09:30:00.123456789", "2024-01-31 09:30:00.123457789", MORNING + 0.123456),
    ("time", "`1706693400`"): at("1706693400", "1706693401", MORNING),
    ("time", "`31/01/2024 09:30`"): at("31/01/2024 09:30", "01/02/2024 09:30", MORNING, time_format="%d/%m/%Y %H:%M"),
    ("label", "`label`"): label,
    ("weight", "`weight`"): weight,
    ("rating", "`rating`"): rating,
    ("missing", "a time, rating, label or weight that is empty, `NaN`, `null`, `None` or `N/A`"): missing,
    ("review", "`text`"): review,
    ("split", "`split` of `train`, `valid` and `test`"): split,
    ("other column", "of interactions"): ignored,
    ("text", "`title`, `name`, any column of text but values alone"): texts,
    ("text", "lists of texts (JSON lines, Parquet)"): lists,
    ("text", "`NaN`, `null`, `None`, `N/A` as the whole of a text"): placeholders,
    (
        "attribute",
        "other column of items: true and false, whole numbers, floats, `$1,299.00`, dates, times, lists, text",
    ): attributes,
    ("users", "`users.*` with `user_id`"): users,
    ("file", "CSV"): quoted_csv,
    ("file", "TSV"): tsv,
    ("file", "JSON lines, a JSON list of objects, Python literals"): json_lines,
    ("file", "Parquet"): parquet,
    ("file", "`.gz` of any of these but Parquet"): packed,
    ("separator", "`;`, tab, <code>&#124;</code>, `::`, spaces"): separators,
    ("first line", "`sep=;`"): said_separator,
    ("encoding", "UTF-8, UTF-16 with a byte-order mark"): marked,
    ("encoding", "cp1252, Latin-1 and others"): unmarked,
    ("line ends", "LF, CRLF, CR"): line_ends,
    ("quotation mark in a quoted value", "doubled, or after a backslash"): escapes,
    ("quotation mark that opens and does not close", "in CSV"): unclosed,
    ("no header", "numbers in the first line"): headless,
    ("sequences", "`train.txt` (`valid.txt`, `test.txt`): a user and the items in order, by spaces"): sequence_lines,
    ("folder", "RecBole atomic files"): atomic,
    ("folder", "MovieLens"): movielens,
    ("folder", "Amazon reviews of 2014, 2018, 2023, or their ratings in CSV"): amazon,
    ("folder", "MIND"): mind,
}


def documented() -> list[tuple[str, str]]:
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("| what | written as | read as |") :].split("\n\n")[0]
    rows = [re.split(r"\s*\|\s*", line.strip().strip("|").strip()) for line in table.splitlines()[2:]]
    return [(row[0], row[1]) for row in rows]


def test_every_row_of_the_page_has_an_input_and_every_input_a_row():
    assert documented() == list(SAMPLES)


@pytest.mark.parametrize("row", SAMPLES, ids=lambda row: f"{row[0]} {row[1]}"[:40])
def test_a_row_of_the_page_is_read_as_it_says(tmp_path, row):
    SAMPLES[row](tmp_path / "shop")

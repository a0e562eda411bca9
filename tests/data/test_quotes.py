"""Quotation marks in CSV and TSV: what a CSV writer wrote is read exactly, and a stray mark never swallows rows in silence."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.data.load import LoadOptions, load
from bertrec.data.readers.content import Form
from bertrec.data.readers.delimited import read_table

TITLES = ["Lamp", "Chair", "Monitor", "Rug", "Vase", "Desk", "Sofa", "Bed"]
# Texts as people write them: a comma is followed by a space. What looks like a row of the table is refused, whoever wrote it.
WORDS = st.sampled_from(["a", "It is", '"', '""', ", ", ",", "\n", "\r\n", '24"', "'", "기생충", "\\", " ", ";", "\t", "x,y"])
# One mark after a backslash is how others escape it: then every backslash reads so.
PLAIN = WORDS.filter(lambda word: word != "\\")
TEXTS = st.lists(WORDS, max_size=6).map("".join)


def rows_of(texts):
    return st.lists(st.tuples(st.integers(0, 99).map(str), texts, st.integers(0, 5).map(str)), min_size=1, max_size=8)


ROWS = rows_of(TEXTS)
PLAIN_ROWS = rows_of(st.lists(PLAIN, max_size=6).map("".join))


def written(rows, **options) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, **options).writerows([("item_id", "title", "stars"), *rows])
    return stream.getvalue()


def read(folder, text, suffix="csv", **form):
    path = folder / f"items.{suffix}"
    path.write_bytes(text.encode())
    return [tuple(row.values()) for row in read_table(path, Form(**form)).to_pylist()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("quotes")


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]), end=st.sampled_from(["\n", "\r\n"]))
def test_what_a_csv_writer_wrote_is_read_exactly(folder, rows, quoting, end):
    text = written(rows, quoting=quoting, lineterminator=end)
    assert read(folder, text) == rows
    assert read(folder, text, quotes="doubled") == rows


@settings(max_examples=200, deadline=None)
@given(rows=PLAIN_ROWS, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), place=st.integers(0, 10**6))
def test_one_mark_taken_away_is_an_error_or_loses_no_row(folder, rows, quoting, place):
    text = written(rows, quoting=quoting)
    marks = [at for at, letter in enumerate(text) if letter == '"' and at > text.index("\n")]
    if marks:
        at = marks[place % len(marks)]
        keeps_all_but_one_value(folder, text[:at] + text[at + 1 :], rows)


@settings(max_examples=200, deadline=None)
@given(rows=PLAIN_ROWS, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), place=st.integers(0, 10**6))
def test_one_mark_too_many_is_an_error_or_loses_no_row(folder, rows, quoting, place):
    text = written(rows, quoting=quoting)
    begin = text.index("\n") + 1
    at = begin + place % (len(text) - begin + 1)
    keeps_all_but_one_value(folder, text[:at] + '"' + text[at:], rows)


def keeps_all_but_one_value(folder, text, rows):
    try:
        found = read(folder, text)
    except DataError as error:
        found = str(error)
    if isinstance(found, str):
        assert "\n" not in found
        return
    if len(found) > len(rows):  # the opening mark of a text whose lines are rows by themselves: nothing tells that a mark is missing
        return
    assert len(found) == len(rows)
    assert sum(have != want for row, wanted in zip(found, rows, strict=True) for have, want in zip(row, wanted, strict=True)) <= 1


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("at", [0, 3])
def test_a_mark_that_a_later_stray_one_closes_is_named_with_its_line(tmp_path, at, count):
    titles = [*TITLES]
    titles[at], titles[at + count] = f'"{titles[at]}', f'{titles[at + count]}"'
    text = "item_id,title\n" + "".join(f"i{number},{title}\n" for number, title in enumerate(titles))
    (tmp_path / "items.csv").write_text(text)
    with pytest.raises(DataError, match=rf"items\.csv: line {at + 2}: a quotation mark opens here and closes on line {at + count + 2}"):
        read_table(tmp_path / "items.csv")
    trusted = read_table(tmp_path / "items.csv", Form(quotes="doubled"))
    assert trusted.num_rows == len(titles) - count
    plain = read_table(tmp_path / "items.csv", Form(quotes="none"))
    assert plain["title"].to_pylist() == titles


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('item_id,title\na,Lamp\nb,"Monitor 24 wide\nc,Chair\n', 3),
        ('item_id,title\n"a,Lamp\nb,Monitor\nc,Chair\n', 2),
        ('item_id,title\na,"one\nline, two"\nb,"x\nc,y\n', 4),
        ('item_id,title\na,"Great" Chair\n', 2),
        ('item_id,title\na,x\nb,y\nc,"z\nd,"w"\n', 4),
        ('item_id,"title\na,x\n', 1),
        ('item_id,title\na,"x, y",z"\n', 2),
        ('item_id,title\na,"long\ntext"\nb,24" wide\n', 2),
    ],
)
def test_a_mark_that_cannot_be_right_is_named_with_its_line(tmp_path, text, line):
    (tmp_path / "items.csv").write_text(text)
    with pytest.raises(DataError, match=rf"items\.csv: line {line}: a quotation mark .*quotes: ") as caught:
        read_table(tmp_path / "items.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "review",
    [
        "Great.\nLoved it, yes",
        "1, 2,\n3, 4",
        "First,\n\nthen, and",
        "a, b\nc, d\ne, f",
        "Mix well,\nbake, and cool,\nserve",
        'He said "no",\nand left',
    ],
)
@pytest.mark.parametrize("columns", [("item_id", "title"), ("item_id", "title", "price")])
def test_a_review_of_several_lines_with_commas_is_read(tmp_path, review, columns):
    rows = [(f"i{number}", title, "9.5")[: len(columns)] for number, title in enumerate([*TITLES, review])]
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([columns, *rows])
    (tmp_path / "items.csv").write_bytes(stream.getvalue().encode())
    assert read_table(tmp_path / "items.csv")["title"].to_pylist() == [*TITLES, review]


def test_plain_marks_within_values_stay(tmp_path):
    (tmp_path / "items.csv").write_text('item_id,title\na,24" wide\nb,said "so"\nc,"x, y"\n')
    assert read_table(tmp_path / "items.csv")["title"].to_pylist() == ['24" wide', 'said "so"', "x, y"]


BACKSLASHES = [
    (r'3,"Monitor 24\" wide"', 'Monitor 24" wide'),
    (r'3,"\"x\", he said"', '"x", he said'),
    (r'3,"24\""', '24"'),
    (r'3,"C:\\new, \"old\""', 'C:\\new, "old"'),
]


@pytest.mark.parametrize(("line", "title"), BACKSLASHES)
@pytest.mark.parametrize("quotes", [None, "backslash"])
def test_marks_after_a_backslash_are_read(tmp_path, line, title, quotes):
    (tmp_path / "items.csv").write_text(f'item_id,title\n1,T\n{line}\n4,"a, b"\n')
    notes = []
    found = read_table(tmp_path / "items.csv", Form(quotes=quotes), notes=notes)
    assert found["title"].to_pylist() == ["T", title, "a, b"]
    assert notes == [f"{tmp_path}/items.csv: read with quotation marks within values after a backslash"]


@settings(max_examples=200, deadline=None)
@given(rows=ROWS)
def test_what_was_written_with_backslashes_is_read_so_when_said(folder, rows):
    text = written(rows, escapechar="\\", doublequote=False, quoting=csv.QUOTE_ALL)
    assert read(folder, text, quotes="backslash") == rows


def test_the_key_reaches_the_reader(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,a\nu,b\n")
    (tmp_path / "items.csv").write_text('item_id,title\na,"Great" Chair\nb,x\n')
    with pytest.raises(DataError, match="quotes: none"):
        load(tmp_path)
    assert load(tmp_path, LoadOptions(quotes="none")).catalog.titles == ['"Great" Chair', "x"]


def test_a_tsv_keeps_its_marks_or_names_the_line(tmp_path):
    (tmp_path / "a.tsv").write_text('item_id\ttitle\n1\t"open\n2\tx"\n')
    assert read_table(tmp_path / "a.tsv")["title"].to_pylist() == ['"open', 'x"']
    (tmp_path / "b.tsv").write_text('item_id\ttitle\n1\t"two\nlines"\n2\t"open\n3\tx\n')
    with pytest.raises(DataError, match=r"b\.tsv: line 4: a quotation mark opens here and never closes"):
        read_table(tmp_path / "b.tsv")

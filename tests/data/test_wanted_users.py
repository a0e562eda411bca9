"""Files of users to recommend for: what every form means, and what is refused."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pytest

from bertrec.core.errors import DataError
from bertrec.data.readers.pieces import pieces_of
from bertrec.data.wanted_users import WantedUsers, _text_blocks, even_blocks, read_wanted_users

FORMS = [
    ("u.txt", "1\n\n a b \n,x\n", [("1", None), ("a b", None), (",x", None)]),
    ("users", "x\ny", [("x", None), ("y", None)]),
    ("u.txt", "user_id\n1\n2\n", [("1", None), ("2", None)]),
    ("u.csv", "user_id\n1\n2\n", [("1", None), ("2", None)]),
    ("u.txt", "user_id\rA\rB", [("A", None), ("B", None)]),
    ("u.txt", "user_id,history\n1,7 8\n2,\n", [("1", ["7", "8"]), ("2", None)]),
    ("u.tsv", "user_id\thistory\n1\t7,8\n", [("1", ["7", "8"])]),
    ("u.csv", "history;user_id\n7 8;x\n", [("x", ["7", "8"])]),
    ("u.csv", '1\n2,7,8\n3,"7, 8"\n4,7 8\n5,\n', [("1", None), ("2", ["7", "8"]), ("3", ["7", "8"]), ("4", ["7", "8"]), ("5", None)]),
    ("u.tsv", "1\nnew\t7,8\n", [("1", None), ("new", ["7", "8"])]),
    ("u.csv", 'user_id,history\nx,"[""a b"", ""c""]"\n', [("x", ["a b", "c"])]),
    ("u.csv", "user_id,history\nx,\"['a b', 7]\"\n", [("x", ["a b", 7])]),
    ("u.csv.gz", gzip.compress(b"user_id,history\n1,7\n", mtime=0), [("1", ["7"])]),
    ("u.jsonl", '{"user_id": "x", "history": ["7", "8"]}\n{"user_id": "y"}\n', [("x", ["7", "8"]), ("y", None)]),
    ("u.json", json.dumps([{"user_id": 1, "history": None}, {"user_id": 2, "history": []}]), [(1, None), (2, None)]),
]


@pytest.mark.parametrize(("name", "content", "wanted"), FORMS)
def test_every_form_says_who_and_after_what(name, content, wanted, tmp_path):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert [(one.user, one.history) for one in read_wanted_users(path)] == wanted


def test_parquet_keeps_the_types_of_its_ids(tmp_path):
    path = tmp_path / "u.parquet"
    pd.DataFrame({"user_id": [1, 2], "history": [[7, 8], None]}).to_parquet(path)
    assert [(one.user, one.history) for one in read_wanted_users(path)] == [(1, [7, 8]), (2, None)]


def test_what_is_said_of_users_is_ignored_with_a_note(tmp_path):
    path, notes = tmp_path / "u.csv", []
    path.write_text("user_id,age,profile\n1,30,likes tea\n")
    assert [(one.where, one.user) for one in read_wanted_users(path, notes)] == [(f"{path}: row 1", "1")]
    assert notes == [f"{path}: ignored 'age', 'profile': no model reads what is said of users"]


BAD = [
    ("gone.txt", None, "no such file"),
    ("gone.parquet", None, "no such file"),
    ("u.csv", "\n\n", "the file is empty: it should hold one id per line"),
    ("u.csv", "user_id,history\n", "no rows"),
    ("u.txt", "user_id\n", "is empty: it should hold one id per line"),
    ("u.txt", b"\xe9\n", "line 1 is not UTF-8"),
    ("u.csv", ",7\n", "line 1: the id is empty"),
    ("u.csv", "user_id,history\n,7\n", "row 1, column 'user_id': the id is empty"),
    ("u.csv", "user_id,history\nx\n", "line 2 has 1 columns where 2 are wanted"),
    ("u.csv", '1,"7\n', "line 1: .*does every quotation mark close"),
    ("u.csv", "user_id,history\nx,[True]\n", r"row 1, column 'history': \[True\] is no list of item ids"),
    ("u.csv", "user_id,history\nx,[{\n", r"row 1, column 'history': \[\{ is no list of item ids"),
    ("u.jsonl", '{"history": ["7"]}\n', "no column 'user_id'"),
    ("u.parquet", b"x", "cannot be read as Parquet"),
]


@pytest.mark.parametrize(("name", "content", "said"), BAD)
def test_what_is_wrong_is_one_line(name, content, said, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=said) as caught:
        read_wanted_users(path)
    assert "\n" not in str(caught.value)


def table_of(count):
    return "user_id,history\n" + "".join(f'u{n},"i{n} i{n + 1}"\n' if n % 3 else f'"u{n}","i{n}\ni{n + 1}"\n' for n in range(count))


LONG = [
    ("u.csv", table_of(300).encode()),
    ("u.csv.gz", gzip.compress(table_of(300).encode(), mtime=0)),
    ("u.tsv", "".join(f"u{n}\ti{n}\ti{n + 1}\n" for n in range(300)).encode()),
    ("u.jsonl", "".join(json.dumps({"user_id": f"u{n}", "history": [f"i{n}", f"i{n + 1}"]}) + "\n" for n in range(300)).encode()),
    ("u.csv", "".join(f"u{n},i{n},i{n + 1}\n" for n in range(300)).encode("utf-8-sig")),
    ("u.csv", table_of(300).encode("utf-16")),
]


@pytest.mark.parametrize(("name", "content"), LONG)
def test_a_long_file_is_the_same_in_pieces(name, content, tmp_path):
    """Values hold line ends between marks, which no piece may part; wherever pieces end, users and their places are the same."""
    path = tmp_path / name
    path.write_bytes(content)
    whole = read_wanted_users(path)
    assert [(one.user, one.history) for one in whole] == [(f"u{n}", [f"i{n}", f"i{n + 1}"]) for n in range(300)]
    for size in (64, 257, 1000):
        blocks = list(_text_blocks(path, [], size))
        assert [one for block in blocks for one in block] == whole
        assert len(blocks) > 3 or content.startswith(b"\xff\xfe")


def test_ids_of_a_long_file_keep_the_numbers_of_their_lines(tmp_path):
    path = tmp_path / "u.txt"
    path.write_text("user_id\n" + "".join(f"u{n}\n\n" for n in range(200)))
    assert [(one.where, one.user) for block in _text_blocks(path, [], 50) for one in block] == [
        (f"{path}: line {2 * n + 2}", f"u{n}") for n in range(200)
    ]


def test_a_fault_far_down_says_where_the_piece_began(tmp_path):
    path = tmp_path / "u.csv"
    path.write_text(table_of(300) + "u300,i1,i2\n")
    with pytest.raises(DataError, match=r"has 3 columns where 2 are wanted \(lines counted from line \d+ of the file\)"):
        list(_text_blocks(path, [], 500))


class TestParts:
    def folder(self, tmp_path, **parts):
        folder = tmp_path / "users"
        folder.mkdir()
        for name, columns in parts.items():
            pd.DataFrame(columns).to_parquet(folder / f"{name}.parquet")
        return folder

    def test_a_folder_is_its_parts_in_order_and_no_block_spans_two(self, tmp_path):
        folder = self.folder(tmp_path, b={"user_id": [3]}, a={"user_id": [1, 2]})
        (folder / "_SUCCESS").touch()
        blocks = list(WantedUsers(["x"], folder).blocks())
        assert [[one.user for one in block] for block in blocks] == [["x", 1, 2], [3]]
        assert blocks[1][0].where == f"{folder}/b.parquet: row 1"

    def test_blocks_are_even_whatever_the_row_groups(self, tmp_path):
        assert list(even_blocks([[1, 2, 3], [], [4, 5], [6, 7, 8, 9]], 4)) == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]

    @pytest.mark.parametrize(
        ("second", "said"),
        [
            ({"user": [3]}, "b.parquet: no column 'user_id', which .*a.parquet has"),
            ({"user_id": [0.5]}, "b.parquet: column 'user_id' is of type double, and in .*a.parquet of type int64"),
        ],
    )
    def test_parts_that_differ_are_one_line(self, second, said, tmp_path):
        folder = self.folder(tmp_path, a={"user_id": [1]}, b=second)
        with pytest.raises(DataError, match=said):
            list(WantedUsers([], folder).blocks())


def test_a_quotation_mark_that_stays_open_is_no_endless_search(tmp_path):
    path = tmp_path / "u.csv"
    path.write_text('user_id\n"a\n' + "b\n" * 5000)
    with pytest.raises(DataError, match=r"u\.csv: a quotation mark is not closed within 4,096 bytes"):
        list(pieces_of(path, quoted=True, size=1024))

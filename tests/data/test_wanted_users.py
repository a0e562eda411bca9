"""Files of users to recommend for: what every form means, and what is refused."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pytest

from bertrec.core.errors import DataError
from bertrec.data.wanted_users import read_wanted_users

FORMS = [
    ("u.txt", "1\n\n a b \n,x\n", [("1", None), ("a b", None), (",x", None)]),
    ("users", "x\ny", [("x", None), ("y", None)]),
    ("u.txt", "user_id\n1\n2\n", [("1", None), ("2", None)]),
    ("u.csv", "user_id\n1\n2\n", [("1", None), ("2", None)]),
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

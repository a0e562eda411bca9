from __future__ import annotations

import doctest
import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError, ModelError
from bertrec.data import submission
from bertrec.data.submission import impression_ranks, read_submission, write_submission
from bertrec.evaluation.impressions import impression_metrics

names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6).filter(lambda name: name.split() == [name])
score_rows = st.lists(st.integers(0, 4), min_size=1, max_size=6)


def flat(rows):
    return np.concatenate([np.zeros(0), *rows]), np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(int)


def test_the_file_by_hand(tmp_path):
    path = tmp_path / "prediction.txt"
    write_submission(path, ["1", "인상-2", "13"], [0.1, 0.9, 0.5, 1.0, 2.0, 2.0, 3.0], [0, 3, 4, 7])
    assert path.read_bytes() == "1 [3,1,2]\n인상-2 [1]\n13 [2,3,1]\n".encode()
    found = read_submission(path)
    assert found.ids == ["1", "인상-2", "13"]
    assert found.scores.tolist() == [1 / 3, 1, 1 / 2, 1, 1 / 2, 1 / 3, 1]


@given(st.lists(st.tuples(names, score_rows), min_size=1, max_size=6, unique_by=lambda row: row[0]))
@settings(max_examples=25, deadline=None)
def test_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("submission") / "prediction.txt"
    scores, offsets = flat([row for _, row in rows])
    write_submission(path, [name for name, _ in rows], scores, offsets)
    found = read_submission(path)
    assert found.ids == [name for name, _ in rows]
    np.testing.assert_array_equal(found.ranks.offsets, offsets)
    expected = [sorted(range(len(row)), key=lambda at, row=row: -row[at]).index(at) + 1 for _, row in rows for at in range(len(row))]
    assert found.ranks.values.tolist() == expected
    assert impression_ranks(found.scores, offsets).values.tolist() == expected


def test_a_submission_measures_like_its_scores(tmp_path):
    generator = np.random.default_rng(0)
    scores, labels, offsets = generator.random(60), np.tile([0, 1, 0, 0, 1, 0], 10), np.arange(0, 61, 6)
    write_submission(tmp_path / "p.txt", [str(row) for row in range(10)], scores, offsets)
    found = impression_metrics(read_submission(tmp_path / "p.txt").scores, labels, offsets)
    for name, values in impression_metrics(scores, labels, offsets).items():
        np.testing.assert_allclose(found[name], values)


def test_windows_lines_a_byte_order_mark_and_gzip_are_read(tmp_path):
    (tmp_path / "p.txt").write_bytes(b"\xef\xbb\xbf1 [2,1]\r\n2 [1]\r\n")
    (tmp_path / "p.txt.gz").write_bytes(gzip.compress(b"1 [2,1]\n2 [1]"))
    for path in tmp_path.iterdir():
        found = read_submission(path)
        assert (found.ids, [row.tolist() for row in found.ranks]) == (["1", "2"], [[2, 1], [1]])


def test_many_impressions_are_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(submission, "_CHUNK", 3)
    write_submission(tmp_path / "p.txt", [f"i{row}" for row in range(7)], np.arange(14), np.arange(0, 15, 2))
    assert (tmp_path / "p.txt").read_text() == "".join(f"i{row} [2,1]\n" for row in range(7))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 [1]\n2 [2,1\n", r"line 2: '2 \[2,1' is not an impression id"),
        ("1 [1, 2]\n", "line 1: .* without spaces"),
        ("1\t[1]\n", "line 1: .* is not an impression id"),
        ("1 []\n", "line 1: .* is not an impression id"),
        ("1 [1]\n\n2 [1]\n", "line 2: '' is not"),
        ("1 [1]\n2 [1,3]\n", "line 2: the ranks of impression '2' must be 1 to 2, each once"),
        ("1 [1,1]\n", "line 1: the ranks"),
        ("1 [0,1]\n", "line 1: the ranks"),
        (f"1 [1,{'9' * 5000}]\n", "line 1: the ranks"),
        ("1 [1]\n2 [1]\n1 [1]\n", "line 3: impression '1' stands in line 1 already"),
        ("", "the file is empty"),
        ("1 [١]\n", "line 1: .* is not an impression id"),
    ],
)
def test_bad_lines_are_named(tmp_path, content, message):
    (tmp_path / "p.txt").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_submission(tmp_path / "p.txt")


def test_bad_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_submission(tmp_path / "absent.txt")
    (tmp_path / "p.txt").write_bytes(b"1 [1]\n\xff [1]\n")
    with pytest.raises(DataError, match="line 2 is not UTF-8"):
        read_submission(tmp_path / "p.txt")


@pytest.mark.parametrize(
    ("ids", "scores", "offsets", "message"),
    [
        (["a b"], [1.0], [0, 1], "'a b' is empty or holds white space"),
        ([""], [1.0], [0, 1], "is empty"),
        (["a\u2028"], [1.0], [0, 1], "white space"),
        (["a", "a"], [1.0, 1.0], [0, 1, 2], "row 1: the id 'a' occurs more than once"),
        (["a"], [1.0, 1.0], [0, 1, 2], "1 ids for 2 impressions"),
        (["a", "b"], [1.0], [0, 1, 1], "'b' has no candidate"),
        (["a"], [1.0], [0, 2], "offsets must run"),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_former_file_stays(tmp_path, ids, scores, offsets, message):
    path = tmp_path / "p.txt"
    path.write_text("before")
    with pytest.raises(DataError, match=message):
        write_submission(path, ids, scores, offsets)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(tmp_path, bad):
    with pytest.raises(ModelError, match="impression row 1, candidate 2: the score is"):
        write_submission(tmp_path / "p.txt", ["a", "b"], [1.0, 2.0, bad], [0, 1, 3])
    assert not list(tmp_path.iterdir())


def test_examples():
    assert (found := doctest.testmod(submission)).attempted >= 1
    assert found.failed == 0

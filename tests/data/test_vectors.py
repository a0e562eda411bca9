"""Files of item vectors that another program made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertrec.core.errors import DataError
from bertrec.data.readers.vectors import is_vector_file, read_vector_file

IDS = ["a", "007", "기"]
VALUES = np.array([[1, 2], [3, 4], [5, 6.5]])


def matrix(folder: Path, values=VALUES, name: str = "items.npy") -> Path:
    np.save(folder / name, values)
    return folder / name


def table(folder: Path, **columns) -> Path:
    pd.DataFrame(columns).to_parquet(folder / "items.parquet")
    return folder / "items.parquet"


@pytest.mark.parametrize(("name", "said"), [("a/items.npy", True), ("items.PARQUET", True), ("a.npz", False), ("minilm", False)])
def test_a_file_of_vectors_is_known_by_its_name(name, said):
    assert is_vector_file(name) is said


@pytest.mark.parametrize(
    "columns",
    [
        {"item_id": IDS, "vector": list(VALUES)},
        {"vector": list(VALUES), "asin": IDS},
        {"id": IDS, "title": ["x", "y", "z"], "embedding": list(VALUES.astype(np.float32))},
        {"item_id": IDS, "tags": [[1], [2], [3]], "embedding": list(VALUES)},
        {"item_id": IDS, "f0": VALUES[:, 0].astype(int), "f1": VALUES[:, 1]},
    ],
)
def test_parquet(tmp_path, columns):
    ids, values = read_vector_file(table(tmp_path, **columns))
    assert ids.ids == IDS
    assert values.dtype == np.float32
    assert values.tolist() == VALUES.tolist()


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float16(), 2), pa.list_(pa.int8())])
def test_every_kind_of_list(tmp_path, kind):
    cells = pa.array(np.array([[1, 2], [3, 4], [5, 6]]).tolist()).cast(kind)
    chunked = pa.chunked_array([cells.slice(0, 1), cells.slice(1)])
    pq.write_table(pa.table({"item_id": [10, 20, 30], "vector": chunked}), tmp_path / "v.parquet")
    ids, values = read_vector_file(tmp_path / "v.parquet")
    assert ids.ids == [10, 20, 30]
    assert values.tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("items.ids.txt", "a\n007\n기\n"),
        ("items.ids.txt", "\ufeffa\r\n007\r\n기"),
        ("items.npy.ids.txt", "a\n007\n기\n"),
        ("items.ids.csv", "item_id\na\n007\n기\n"),
        ("items.ids.csv", "asin,n\na,1\n007,2\n기,3\n".replace("asin", "id")),
        ("items.ids.json", json.dumps(IDS)),
    ],
)
def test_a_matrix_with_its_ids_beside_it(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    ids, values = read_vector_file(matrix(tmp_path))
    assert ids.ids == IDS
    assert values.tolist() == VALUES.tolist()


def test_whole_numbers_of_json_stay_numbers(tmp_path):
    (tmp_path / "items.ids.json").write_text("[3, 1, 2]")
    assert read_vector_file(matrix(tmp_path)).ids.ids == [3, 1, 2]


def test_a_matrix_alone_has_no_ids(tmp_path):
    assert read_vector_file(matrix(tmp_path, VALUES.astype(np.float16))).ids is None


class TestRefused:
    def said(self, path: Path) -> str:
        with pytest.raises(DataError) as found:
            read_vector_file(path)
        assert "\n" not in str(found.value)
        return str(found.value)

    def test_an_absent_file(self, tmp_path):
        assert "no such file of item vectors" in self.said(tmp_path / "nope.npy")

    def test_an_id_twice(self, tmp_path):
        assert "id 'a' occurs more than once" in self.said(table(tmp_path, item_id=["a", "b", "a"], vector=list(VALUES)))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
    def test_a_value_that_is_not_finite(self, tmp_path, bad):
        values = VALUES.copy()
        values[1, 0] = bad
        assert "row 2 (id '007') has NaN, infinity or a number too large; 1 of 3 rows" in self.said(
            table(tmp_path, item_id=IDS, vector=list(values))
        )
        assert "row 2 has NaN" in self.said(matrix(tmp_path, values))

    def test_other_widths(self, tmp_path):
        assert "row 3 (id '기') is 3 numbers wide and row 1 2" in self.said(
            table(tmp_path, item_id=IDS, vector=[[1, 2], [3, 4], [5, 6, 7]])
        )

    def test_a_row_without_a_vector(self, tmp_path):
        assert "row 2 (id '007') has no vector" in self.said(table(tmp_path, item_id=IDS, vector=[[1.0], None, [2.0]]))

    def test_a_number_that_is_missing_within(self, tmp_path):
        assert "row 2 (id '007') has NaN" in self.said(table(tmp_path, item_id=IDS, vector=[[1.0], [None], [2.0]]))

    def test_a_missing_id(self, tmp_path):
        assert "row 2, column 'item_id': the id is missing" in self.said(table(tmp_path, item_id=["a", None, "b"], vector=list(VALUES)))

    @pytest.mark.parametrize(
        ("columns", "said"),
        [
            ({"a": IDS, "b": IDS, "vector": list(VALUES)}, "call the one that holds the ids item_id"),
            ({"x": [1.0, 2, 3], "y": [1.0, 2, 3]}, "call the one that holds the ids item_id"),
            ({"item_id": IDS, "x": list(VALUES), "y": list(VALUES)}, "call the one that holds the vectors vector"),
            ({"item_id": IDS, "f0": [1.0, 2, 3], "title": IDS}, "column 'title' holds no numbers"),
            ({"item_id": IDS, "vector": [["x"], ["y"], ["z"]]}, "lists of string, not of numbers"),
            ({"item_id": IDS}, "holds no vectors"),
            ({"item_id": [], "vector": []}, "holds no"),
            ({"item_id": IDS, "vector": [[], [], []]}, "not of numbers"),
        ],
    )
    def test_columns_that_are_not_as_they_should_be(self, tmp_path, columns, said):
        assert said in self.said(table(tmp_path, **columns))

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            (np.zeros(3), "float64 [3]: write a matrix"),
            (np.zeros((2, 2, 2)), "float64 [2, 2, 2]: write a matrix"),
            (np.array([["a"]]), "<U1 [1, 1]: write a matrix"),
            (np.zeros((2, 2), complex), "complex128 [2, 2]: write a matrix"),
            (np.zeros((0, 4)), "holds no vectors"),
            (np.zeros((4, 0)), "holds no vectors"),
        ],
    )
    def test_another_array(self, tmp_path, values, said):
        assert said in self.said(matrix(tmp_path, values))

    def test_a_pickle(self, tmp_path):
        np.save(tmp_path / "items.npy", np.array([{"a": 1}], object), allow_pickle=True)
        assert "cannot be read as a NumPy matrix" in self.said(tmp_path / "items.npy")

    @pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"{}", b"PK\x03\x04"])
    def test_a_damaged_matrix(self, tmp_path, content):
        (tmp_path / "items.npy").write_bytes(content)
        assert "cannot be read as a NumPy matrix" in self.said(tmp_path / "items.npy")

    def test_an_archive(self, tmp_path):
        np.savez(tmp_path / "a.npz", VALUES)
        (tmp_path / "a.npz").rename(tmp_path / "items.npy")
        assert "holds an archive" in self.said(tmp_path / "items.npy")

    def test_a_damaged_table(self, tmp_path):
        (tmp_path / "items.parquet").write_bytes(b"PAR1")
        assert "cannot be read as Parquet" in self.said(tmp_path / "items.parquet")

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("items.ids.txt", "a\nb\n", "3 rows, and the file of ids beside it 2"),
            ("items.ids.txt", "a\n\nb\n", "row 2 is no id but ''"),
            ("items.ids.txt", "", "the file is empty"),
            ("items.ids.txt", "a\nb\na\n", "id 'a' occurs more than once"),
            ("items.ids.json", "[1, 2.5, 3]", "row 2 is no id but 2.5"),
            ("items.ids.json", "[1, true, 3]", "row 2 is no id but True"),
            ("items.ids.json", '{"a": 1}', "holds no list"),
            ("items.ids.json", "[1,", "is no JSON"),
            ("items.ids.csv", "a,b\nx,y\nz,w\nu,v\n", "call the one that holds the ids item_id"),
        ],
    )
    def test_ids_that_are_not_as_they_should_be(self, tmp_path, name, text, said):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert said in self.said(matrix(tmp_path))

    def test_two_files_of_ids(self, tmp_path):
        for name in ("items.ids.txt", "items.ids.json"):
            (tmp_path / name).write_text("a\nb\nc\n")
        assert "items.ids.txt and items.ids.json both stand beside it" in self.said(matrix(tmp_path))

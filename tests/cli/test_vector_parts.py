from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from vector_parts import write_part, write_parts

from bertrec.cli.main import main
from bertrec.core.errors import DataError
from bertrec.retrieval.index import ItemIndex
from bertrec.runs.vectors import read_vectors

DIM = 8


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(90, DIM)).astype(np.float32)


@pytest.fixture
def parts(tmp_path, vectors):
    return write_parts(tmp_path / "parts", vectors)


def test_parts_are_read_in_order_whole(parts, vectors, tmp_path):
    ids, mapped, model_hash = read_vectors(parts, scratch=tmp_path)
    assert ids == [f"i{row}" for row in range(90)]
    np.testing.assert_array_equal(mapped, vectors)
    assert model_hash == "abc"
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


@pytest.mark.parametrize("kind", ["flat", "ivf", "ivfpq"])
def test_an_index_of_parts_is_the_index_of_the_whole(parts, vectors, tmp_path, capsys, kind):
    assert main(["index", "build", str(parts), "--out", str(tmp_path / "index"), "--kind", kind, "--set", "pq_bits=4"]) == 0
    made = ItemIndex.load(tmp_path / "index", model_hash="abc")
    whole = ItemIndex.build(vectors, [f"i{row}" for row in range(90)], kind=kind, pq_bits=4)
    assert made.search(vectors[:9], 5).ids == whole.search(vectors[:9], 5).ids
    np.testing.assert_array_equal(made.vectors_at(np.arange(90)), vectors)


def test_parts_of_doubles_and_of_no_rows_are_parts_too(tmp_path, vectors):
    write_part(tmp_path / "p" / "a.parquet", ["x", "y"], vectors[:2], dtype=np.float64)
    write_part(tmp_path / "p" / "b.parquet", pa.array([], pa.string()), vectors[:0], dtype=np.float64)
    _, found, _ = read_vectors(tmp_path / "p", scratch=tmp_path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors[:2])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder, some: write_part(folder / "z.parquet", ["q"], some[:1, :4]), "z.parquet: column 'vector' is of type"),
        (
            lambda folder, some: write_part(folder / "z.parquet", ["q"], some[:1], model_hash="other"),
            "of another model",
        ),
        (lambda folder, some: write_part(folder / "z.parquet", ["q"], some[:1], names=("id", "embedding")), "no column 'vector'"),
        (lambda folder, some: write_part(folder / "z.parquet", ["i3"], some[:1]), "'i3' is given more than once"),
        (lambda folder, some: write_part(folder / "z.parquet", ["q"], some[:1] * np.nan), "row 90 holds NaN"),
        (lambda folder, some: (folder / "z.parquet").write_bytes(b"PAR1 and then nothing"), "z.parquet: cannot be read as Parquet"),
    ],
)
def test_a_part_that_does_not_fit_is_one_line(parts, vectors, tmp_path, capsys, damage, said):
    damage(parts, vectors)
    assert main(["index", "build", str(parts), "--out", str(tmp_path / "index")]) == 2
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert said in lines[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts"]


def test_a_row_without_a_vector_is_refused(tmp_path):
    table = pa.table({"id": ["a", "b"], "vector": pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2))})
    pq.write_table(table, tmp_path / "v.parquet")
    with pytest.raises(DataError, match=r"v\.parquet: the column vector must be a list of floats of one fixed length"):
        read_vectors(tmp_path / "v.parquet")

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertrec.models.base import Recommender
from bertrec.retrieval.index import ItemIndex
from bertrec.runs.vectors import read_vectors


@pytest.fixture
def index(cli, trained, tmp_path):
    path = tmp_path / "items.index"
    assert cli("index", "build", trained, "--out", path, "--kind", "flat")[0] == 0
    return path


def test_build_writes_what_info_reads(cli, index, trained):
    code, out, _ = cli("index", "info", index)
    rows = dict([cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│"))
    assert code == 0
    assert rows["kind"] == "flat"
    assert rows["items"] == "10"
    assert rows["model_hash"] == Recommender.from_pretrained(trained / "model").model_hash
    assert "value 1.0000" in rows["recall"]


def test_items_are_removed_and_stay_removed(cli, index, trained, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("105\n106\n")
    assert cli("index", "remove", index, "--id", "104", "--ids-file", ids)[0] == 0
    assert sorted(ItemIndex.load(index).ids) == ["100", "101", "102", "103", "107", "108", "109"]
    out = cli("recommend", trained, "--index", index, "--user", "3", "--format", "json")[1]  # user 3 walked 103 … 107
    assert {row["id"] for row in json.loads(out)["recommendations"][0]["items"]} == {"100", "101", "102", "108", "109"}
    assert cli("index", "compact", index)[0] == 0
    assert len(ItemIndex.load(index)) == 7


def test_an_unknown_item_of_a_file_is_named_with_its_line_and_nothing_is_removed(cli, index, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_text("105\n\n1060\n")
    code, _, err = cli("index", "remove", index, "--ids-file", ids)
    assert code == 2
    assert f"{ids}: line 3: unknown id '1060'" in err
    assert len(ItemIndex.load(index)) == 10


def test_removed_items_come_back_from_their_vectors(cli, index, trained, tmp_path):
    vectors = tmp_path / "items.parquet"
    assert cli("embed", trained, "--what", "items", "--out", vectors)[0] == 0
    table = pq.read_table(vectors)
    pq.write_table(table.filter(pa.compute.equal(table["id"], "104")), vectors)
    assert cli("index", "remove", index, "--id", "104")[0] == 0
    assert cli("index", "add", index, "--vectors", vectors)[0] == 0
    assert sorted(ItemIndex.load(index).ids) == [str(item) for item in range(100, 110)]


def test_vectors_are_written_under_a_name_of_parquet_alone(cli, trained, tmp_path):
    code, _, err = cli("embed", trained, "--out", tmp_path / "items.csv")
    assert (code, "Parquet is written" in err, list(tmp_path.iterdir())) == (2, True, [])


def test_embed_writes_ids_vectors_and_the_models_hash(cli, trained, tmp_path):
    model = Recommender.from_pretrained(trained / "model")
    items, users = tmp_path / "items.parquet", tmp_path / "users.parquet"
    assert cli("embed", trained, "--out", items)[0] == 0
    assert cli("embed", trained, "--what", "users", "--out", users)[0] == 0
    ids, vectors, model_hash = read_vectors(items)
    assert ids == [str(item) for item in range(100, 110)]
    assert model_hash == model.model_hash
    np.testing.assert_array_equal(vectors, model.item_embeddings()[1:])
    names, states, _ = read_vectors(users)
    assert names == [str(user) for user in range(1, 41)]
    np.testing.assert_allclose(states[:1], model.user_embeddings([["101", "102", "103", "104", "105"]]), rtol=1e-5, atol=1e-6)


def test_vectors_of_another_model_are_refused(cli, index, trained, tmp_path):
    vectors = tmp_path / "items.parquet"
    cli("embed", trained, "--out", vectors)
    pq.write_table(pq.read_table(vectors).replace_schema_metadata({"bertrec.model_hash": "another"}), vectors)
    code, _, err = cli("index", "add", index, "--vectors", vectors)
    assert code == 2
    assert "from another model" in err


def test_vectors_of_users_are_no_items_of_the_run(cli, index, trained, tmp_path):
    users, built = tmp_path / "users.parquet", tmp_path / "users.index"
    assert cli("embed", trained, "--what", "users", "--out", users)[0] == 0
    code, _, err = cli("index", "add", index, "--vectors", users)
    assert (code, len(ItemIndex.load(index))) == (2, 10)
    assert f"{users} holds vectors of users" in err
    assert cli("index", "build", users, "--out", built)[0] == 0
    code, out, err = cli("recommend", trained, "--index", built, "--user", "3")
    assert (code, out) == (2, "")
    assert "an index of users" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "RUN", "--out", "NEW", "--kind", "flatt"], "did you mean 'flat'"),
        (["build", "RUN", "--out", "NEW", "--metric", "l2"], "cosine"),
        (["build", "nowhere", "--out", "NEW"], "no such run"),
        (["info", "nowhere"], "no such index"),
        (["info", "RUN"], "is a run, and no index: make one of it with bertrec index build"),
        (["remove", "INDEX"], "--id"),
        (["remove", "INDEX", "--id", "999"], "unknown id '999'"),
        (["add", "INDEX"], "--vectors"),
        (["add", "INDEX", "--run", "RUN"], "--items"),
        (["add", "INDEX", "--vectors", "nowhere.parquet"], "nowhere.parquet: no such file"),
    ],
)
def test_bad_input_is_one_line_and_the_index_stays(cli, index, trained, tmp_path, words, said):
    places = {"RUN": trained, "INDEX": index, "NEW": tmp_path / "new"}
    code, out, err = cli("index", *[places.get(word, word) for word in words])
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert len(ItemIndex.load(index)) == 10
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"item": [1], "vector": [[1.0]]}),
        pa.table({"id": [1], "vector": ["text"]}),
        pa.table({"id": [1, 2], "vector": pa.array([[1.0], [1.0, 2.0]])}),
        pa.table({"id": [1, 2], "vector": pa.array([[1.0], None], pa.list_(pa.float32(), 1))}),
    ],
)
def test_a_table_that_holds_no_vectors_is_named(cli, index, tmp_path, table):
    path = tmp_path / "wrong.parquet"
    pq.write_table(table, path)
    code, _, err = cli("index", "add", index, "--vectors", path)
    assert code == 2
    assert "wrong.parquet" in err
    assert err.count("\n") == 1


def test_a_damaged_index_is_named(cli, index):
    for path in index.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, out, err = cli("index", "info", index)
    assert (code, out) == (2, "")
    assert "items.index" in err
    assert err.count("\n") == 1

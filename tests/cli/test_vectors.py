"""Item vectors made elsewhere on the command line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from bertrec.cli.main import main
from bertrec.retrieval import ItemIndex

IDS = list(range(100, 110))
SMALL = ["--set", "item.width=16", "--set", "head.layers=1", "--set", "train.batch_size=16", "--epochs", "1"]


def vectors(count):
    return np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)[:count]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "items.parquet"
    pd.DataFrame({"item_id": IDS, "vector": list(vectors(10))}).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def given_run(shop, file, tmp_path_factory):
    """Read-only: a text model on ten given vectors, whose file is then gone."""
    folder = tmp_path_factory.mktemp("runs")
    there = folder / "there.parquet"
    there.write_bytes(file.read_bytes())
    assert main(["train", str(shop), "--vectors", str(there), "--item-input", "text", "--out", str(folder / "run"), *SMALL]) == 0
    there.unlink()
    return folder / "run"


def write_larger(folder):
    """The shop with two items more."""
    folder.mkdir()
    rows = [f"{user},{item}" for user in "abcd" for item in (100, 110, 111)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    (folder / "items.csv").write_text("item_id,title\n100,Red Kettle\n110,Copper Kettle\n111,Copper Lamp\n")
    np.save(folder / "more.npy", vectors(12)[10:])
    (folder / "more.ids.txt").write_text("110\n111\n")
    return folder


def test_a_run_is_served_and_measured_without_the_file(cli, given_run, tmp_path):
    code, out, _ = cli("recommend", given_run, "--history-ids", "100", "101", "-k", "3", "--format", "json")
    assert (code, len(json.loads(out)["recommendations"][0]["items"])) == (0, 3)
    assert cli("evaluate", given_run, "--json", tmp_path / "f.json")[0] == 0


def test_text_similarity_gives_the_cosines_of_the_file(cli, shop, file, tmp_path):
    assert cli("train", shop, "--model", "text-similarity", "--vectors", file, "--out", tmp_path / "run")[0] == 0
    assert cli("embed", tmp_path / "run", "--out", tmp_path / "e.parquet")[0] == 0
    found = pd.read_parquet(tmp_path / "e.parquet").set_index("id").loc[list(map(str, IDS)), "vector"]
    wanted = vectors(10) / np.linalg.norm(vectors(10), axis=1, keepdims=True)
    assert np.stack(list(found)) == pytest.approx(wanted, abs=1e-6)


def test_what_embed_writes_is_read_again(cli, shop, file, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert cli("train", shop, "--model", "text-similarity", "--vectors", file, "--out", first)[0] == 0
    assert cli("embed", first, "--out", tmp_path / "e.parquet")[0] == 0
    assert cli("train", shop, "--model", "text-similarity", "--vectors", tmp_path / "e.parquet", "--out", second)[0] == 0
    figures = [json.loads((run / "run.json").read_text(encoding="utf-8"))["validation"]["slices"] for run in (first, second)]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("command", ["evaluate", "embed"])
def test_other_data_need_a_file_that_holds_their_items(cli, given_run, tmp_path, command):
    data = write_larger(tmp_path / "larger")
    options = ["--out", tmp_path / "e.parquet"] if command == "embed" else []
    code, _, err = cli(command, given_run, "--data", data, *options)
    assert code == 2
    assert "2 of 3 items have no vector, such as '110', '111'" in err
    assert "name a file that holds them: --vectors FILE" in err
    assert cli(command, given_run, "--data", data, "--vectors", data / "more.npy", *options)[0] == 0


def test_an_index_takes_new_items_with_their_vectors(cli, given_run, tmp_path):
    data, index = write_larger(tmp_path / "larger"), tmp_path / "i.index"
    assert cli("index", "build", given_run, "--out", index)[0] == 0
    (tmp_path / "new.csv").write_text("item_id\n110\n111\n")
    code, _, err = cli("index", "add", index, "--run", given_run, "--items", tmp_path / "new.csv")
    assert (code, "2 of 2 items have no vector" in err) == (2, True)
    assert cli("index", "add", index, "--run", given_run, "--items", tmp_path / "new.csv", "--vectors", data / "more.npy")[0] == 0
    assert set(ItemIndex.load(index).ids) == {str(number) for number in range(100, 112)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--vectors", "nope.npy"], "nope.npy: no such file of item vectors"),
        (["--vectors", "v.npz"], "give a file that ends in .parquet or .npy"),
        (["--vectors", "v.npy", "--set", "encoder.name=minilm"], "stands in place of encoder.name: leave one of them out"),
        (["--vectors", "v.npy", "--model", "idrec"], "idrec reads no item vectors: leave out --vectors"),
        (["--vectors", "v.npy", "--model", "popularity"], "popularity reads no item vectors: leave out --vectors"),
        (["--vectors", "v.npy", "--item-input", "id"], "unisrec reads no item vectors: leave out --vectors"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(cli, shop, tmp_path, options, said):
    code, out, err = cli("train", shop, "--out", tmp_path / "run", *options)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_run_with_an_encoder_takes_no_vectors(cli, run, file):
    code, _, err = cli("evaluate", run, "--vectors", file)
    assert code == 2
    assert "this idrec model was not trained on vectors made elsewhere: leave out --vectors" in err

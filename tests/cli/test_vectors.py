"""Item vectors made elsewhere on the command line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from bertrec.cli.main import main
from bertrec.retrieval import ItemIndex
from bertrec.runs.folder import Run

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


class TestUpdate:
    """The shop's items get two new ones; the run was trained on given vectors."""

    @pytest.fixture
    def place(self, given_run, tmp_path):
        shutil.copytree(given_run, tmp_path / "run")
        assert main(["index", "build", str(tmp_path / "run"), "--out", str(tmp_path / "index")]) == 0
        np.save(tmp_path / "more.npy", vectors(12)[10:])
        (tmp_path / "more.ids.txt").write_text("110\n111\n")
        (tmp_path / "new.csv").write_text("item_id,title,kind\n110,Copper Kettle,kitchen\n111,Copper Lamp,light\n")
        return tmp_path

    def update(self, cli, place, *more):
        return cli("catalog", "update", place / "run", "--items", place / "new.csv", "--delta", "--index", place / "index", *more)

    @pytest.mark.parametrize("dry", [[], ["--dry-run"]])
    def test_new_items_need_vectors(self, cli, place, dry):
        before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        code, out, err = self.update(cli, place, *dry)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "2 of 12 items have no vector, such as '110', '111'" in err
        assert "--vectors FILE" in err
        assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before

    def test_with_them_they_are_served_and_trained_on(self, cli, place):
        code, out, err = self.update(cli, place, "--vectors", place / "more.npy")
        assert (code, "new: 2 (Copper Kettle; Copper Lamp)" in out, "encoding" in err) == (0, True, False)
        assert Run(place / "run").record()["updates"][0]["counts"]["texts_to_encode"] == 0
        assert set(ItemIndex.load(place / "index").ids) == {str(number) for number in range(100, 112)}
        model = Run(place / "run").load_model()
        assert model.text_vectors == pytest.approx(vectors(12))
        (place / "more.npy").unlink()
        words = ["recommend", place / "run", "--index", place / "index", "--history", "Copper Kettle", "-k", "20", "--format", "json"]
        found = json.loads(cli(*words)[1])["recommendations"][0]["items"]
        assert {row["id"] for row in found} == {str(number) for number in range(100, 112)} - {"110"}
        (place / "today.csv").write_text("user_id,item_id,timestamp\n1,110,90\n2,110,90\n2,111,91\n")
        code, _, err = cli("update", place / "run", "--interactions", place / "today.csv", "--train", "--index", place / "index")
        assert code == 0, err
        assert Run(place / "run").load_model().text_vectors == pytest.approx(vectors(12))

    def test_vectors_alone_may_change(self, cli, place):
        assert self.update(cli, place, "--vectors", place / "more.npy")[0] == 0
        np.save(place / "more.npy", other := -vectors(12)[10:])
        assert self.update(cli, place, "--vectors", place / "more.npy")[0] == 0
        assert Run(place / "run").load_model().text_vectors[10:] == pytest.approx(other)
        assert "nothing to change" in self.update(cli, place, "--vectors", place / "more.npy")[1]

    def test_words_are_not_searched_for_and_likeness_is_that_of_the_vectors(self, cli, place):
        assert "reads vectors made elsewhere and no words" in cli("search", place / "run", "red kettle")[2]
        found = json.loads(cli("similar", place / "run", "--item", "100", "--by", "text", "-k", "9", "--format", "json")[1])["items"]
        unit = vectors(10) / np.linalg.norm(vectors(10), axis=1, keepdims=True)
        order = np.argsort(-(unit @ unit[0]), kind="stable")
        assert [row["id"] for row in found] == [str(100 + row) for row in order if row]


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


def test_settings_of_an_encoder_change_nothing_beside_vectors(cli, shop, file, tmp_path):
    words = ["train", shop, "--model", "text-similarity", "--vectors", file, "--out", tmp_path / "run"]
    _, _, err = cli(*words, "--set", "encoder.max_length=8", "--set", "encoder.truncate_dim=3", "--set", "whitening=none")
    assert "note: item vectors stand in place of an encoder: encoder.max_length changes nothing" in err.splitlines()
    assert "changes nothing" not in cli(*words, "--overwrite")[2]


def test_a_run_with_an_encoder_takes_no_vectors(cli, run, file):
    code, _, err = cli("evaluate", run, "--vectors", file)
    assert code == 2
    assert "this idrec model was not trained on vectors made elsewhere: leave out --vectors" in err

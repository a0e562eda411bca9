"""What is there already is replaced only where the command is told to, and a link to it stays."""

from __future__ import annotations

import json
import os

import pytest

from bertrec.retrieval.index import ItemIndex
from bertrec.runs.vectors import read_vectors


def refused(result, *words):
    code, _, err = result
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert all(word in err for word in words), err


def test_embed_replaces_no_file_unasked(cli, trained, tmp_path):
    target = tmp_path / "items.parquet"
    target.write_text("years of work")
    refused(cli("embed", trained, "--out", target), str(target), "is there already", "--overwrite")
    assert target.read_text() == "years of work"
    assert cli("embed", trained, "--out", target, "--overwrite")[0] == 0
    assert len(read_vectors(target)[0]) == 10
    (tmp_path / "folder").mkdir()
    refused(cli("embed", trained, "--out", tmp_path / "folder", "--overwrite"), "is a folder")


def test_embed_for_recbole_replaces_no_file_unasked(cli, trained, tmp_path):
    words = ["embed", trained, "--format", "recbole", "--out", tmp_path / "made"]
    assert cli(*words)[0] == 0
    (features,) = (tmp_path / "made").glob("*.itemEmb")
    features.write_text("mine")
    refused(cli(*words), features.name, "is there already")
    assert features.read_text() == "mine"
    assert cli(*words, "--overwrite")[0] == 0
    assert features.read_text() != "mine"


def test_embed_writes_through_a_link(cli, trained, tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "items.parquet"
    link.symlink_to("disk/items.parquet")
    assert cli("embed", trained, "--out", link)[0] == 0
    assert cli("embed", trained, "--what", "users", "--out", link, "--overwrite")[0] == 0
    assert link.is_symlink()
    assert len(read_vectors(tmp_path / "disk" / "items.parquet")[0]) == 40


def test_index_build_replaces_no_index_unasked_and_nothing_else_ever(cli, trained, tmp_path):
    out = tmp_path / "index"
    assert cli("index", "build", trained, "--out", out)[0] == 0
    assert cli("index", "remove", out, "--id", "104")[0] == 0
    refused(cli("index", "build", trained, "--out", out), "holds an index", "--overwrite")
    assert len(ItemIndex.load(out)) == 9
    assert cli("index", "build", trained, "--out", out, "--overwrite")[0] == 0
    assert len(ItemIndex.load(out)) == 10
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for option in ([], ["--overwrite"]):
        refused(cli("index", "build", trained, "--out", tmp_path / "mine", *option), "holds something else")
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]


def test_index_build_writes_through_a_link(cli, trained, tmp_path):
    (tmp_path / "current").symlink_to("disk")
    for option in ([], ["--overwrite"]):
        assert cli("index", "build", trained, "--out", tmp_path / "current", *option)[0] == 0
        assert (tmp_path / "current").is_symlink()
        assert len(ItemIndex.load(tmp_path / "disk")) == 10


@pytest.mark.parametrize("text", ["years of work", "[1, 2]", "user,item\n1,2\n"])
def test_figures_replace_former_figures_alone(cli, trained, tmp_path, text):
    target = tmp_path / "figures.json"
    for _ in range(2):
        assert cli("evaluate", trained, "--bootstrap", "0", "--json", target)[0] == 0
    assert "slices" in json.loads(target.read_text())
    target.write_text(text)
    refused(cli("evaluate", trained, "--json", target), "holds no figures")
    assert target.read_text() == text
    refused(cli("evaluate", trained, "--json", tmp_path), "is a folder")


def test_a_report_is_not_replaced_unasked(cli, shop, tmp_path):
    for command, words in (("probe", [shop]), ("audit", ["minilm", shop])):
        (tmp_path / "report.md").write_text("years of work")
        refused(cli(command, *words, "--out", tmp_path), "report.md is there already", "--overwrite")
        assert os.listdir(tmp_path) == ["report.md"]
        refused(cli(command, *words, "--out", tmp_path / "report.md"), "is a file")


def test_convert_writes_into_no_folder_that_holds_something(cli, shop, tmp_path):
    out = tmp_path / "out"
    assert cli("data", "convert", shop, "--out", out)[0] == 0
    refused(cli("data", "convert", shop, "--out", out, "--to", "atomic"), "is not empty")
    assert sorted(os.listdir(out)) == ["interactions.parquet", "items.parquet"]
    assert cli("data", "convert", shop, "--out", out, "--overwrite")[0] == 0
    (tmp_path / "file").touch()
    refused(cli("data", "convert", shop, "--out", tmp_path / "file"), "is a file")

"""Shards of an index by commands: trained, built, merged, searched in place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from vector_parts import write_part, write_parts

from bertrec.retrieval.index import ItemIndex

DIM = 8


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(240, DIM)).astype(np.float32)


@pytest.fixture
def parts(tmp_path, vectors):
    return write_parts(tmp_path / "parts", vectors)


@pytest.mark.parametrize("on_disk", [[], ["--on-disk"]])
@pytest.mark.parametrize("kind", ["ivf", "ivfpq"])
def test_shards_of_parts_are_the_index_of_the_folder(cli, parts, vectors, tmp_path, kind, on_disk):
    settings = ["--set", "nlist=6", "--set", "nprobe=2", *(["--set", "pq_bits=4"] if kind == "ivfpq" else [])]
    code, out, _ = cli("index", "train", parts, "--items", 240, "--kind", kind, "--out", tmp_path / "trained", *settings)
    assert code == 0
    assert "nlist 6" in out
    for part in range(3):
        how = "--like", tmp_path / "trained", "--out", tmp_path / f"shard-{part}"
        assert cli("index", "build", parts / f"part-{part}.parquet", *how)[0] == 0
    shards = [tmp_path / f"shard-{part}" for part in range(3)]
    assert cli("index", "merge", *shards, "--out", tmp_path / "made" / "whole", *on_disk)[0] == 0
    assert cli("index", "build", parts, "--like", tmp_path / "trained", "--out", tmp_path / "once")[0] == 0
    merged, once = ItemIndex.load(tmp_path / "made" / "whole", mmap=True, model_hash="abc"), ItemIndex.load(tmp_path / "once")
    found, wanted = merged.search(vectors[:40], 10), once.search(vectors[:40], 10)
    assert found.ids == wanted.ids
    np.testing.assert_array_equal(found.scores, wanted.scores)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["whole"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ([], "ivf"),
        (["--config", "F"], "ivfpq"),
        (["--set", "kind=ivfpq"], "ivfpq"),
        (["--config", "F", "--set", "kind=ivf"], "ivf"),
        (["--config", "F", "--kind", "ivf"], "ivf"),
    ],
)
def test_the_kind_to_train_is_that_of_the_option_else_of_the_settings(cli, parts, tmp_path, words, kind):
    (tmp_path / "best.yaml").write_text("kind: ivfpq\n")
    how = [str(tmp_path / "best.yaml") if word == "F" else word for word in words]
    codes = ["--set", "pq_bits=4"] if kind == "ivfpq" else []
    assert cli("index", "train", parts, "--out", tmp_path / "trained", "--set", "nlist=6", *how, *codes)[0] == 0
    assert ItemIndex.load(tmp_path / "trained").info()["kind"] == kind


def refused(cli, said, *arguments):
    code, _, err = cli(*arguments)
    last = err.replace("\r", "\n").strip().splitlines()[-1]
    assert code == 2, err
    assert said in last
    assert "Traceback" not in err


def test_what_cannot_be_is_one_line(cli, parts, tmp_path):
    trained, out = tmp_path / "trained", tmp_path / "out"
    assert cli("index", "train", parts, "--out", trained, "--set", "nlist=6")[0] == 0
    first = parts / "part-0.parquet"
    assert cli("index", "build", first, "--like", trained, "--out", tmp_path / "shard")[0] == 0
    refused(cli, "--like takes kind, metric and settings", "index", "build", parts, "--like", trained, "--kind", "ivf", "--out", out)
    refused(cli, "no such index", "index", "build", parts, "--like", tmp_path / "nowhere", "--out", out)
    refused(cli, "kind hnsw is not trained", "index", "train", parts, "--kind", "hnsw", "--out", out)
    refused(cli, "centroids cannot be trained on 240 vectors", "index", "train", parts, "--items", 10**7, "--out", out)
    refused(cli, "holds something else", "index", "merge", tmp_path / "shard", "--out", parts)
    refused(cli, "named more than once", "index", "merge", tmp_path / "shard", tmp_path / "shard", "--out", out)
    assert cli("index", "build", first, "--like", trained, "--out", tmp_path / "again")[0] == 0
    refused(cli, "id 'i0' is in", "index", "merge", tmp_path / "shard", tmp_path / "again", "--out", out)
    refused(cli, "is no index", "index", "merge", tmp_path / "shard", first, "--out", out)
    assert cli("index", "merge", "--out", out)[0] == 2
    write_part(tmp_path / "other.parquet", ["q"], np.ones((1, DIM), np.float32), model_hash="other")
    refused(cli, "built with model abc, not other", "index", "build", tmp_path / "other.parquet", "--like", trained, "--out", out)
    write_part(tmp_path / "wide.parquet", ["q"], np.ones((1, DIM + 1), np.float32))
    refused(cli, f"have {DIM + 1} dimensions", "index", "build", tmp_path / "wide.parquet", "--like", trained, "--out", out)
    assert cli("index", "build", parts, "--kind", "flat", "--out", tmp_path / "flat")[0] == 0
    refused(cli, "kind flat is not joined on disk", "index", "merge", tmp_path / "flat", "--on-disk", "--out", out)
    assert not out.exists()


def test_lists_by_a_mapped_index_are_the_same(cli, trained, tmp_path):
    assert cli("index", "build", trained, "--out", tmp_path / "index", "--kind", "ivf", "--set", "nlist=2")[0] == 0
    asked = ["recommend", trained, "--user", "3", "--format", "json", "-k", "4"]

    def lists(*more):
        code, out, _ = cli(*asked, *more)
        assert code == 0
        return json.loads(out)["recommendations"]

    assert lists("--index", tmp_path / "index", "--mmap") == lists("--index", tmp_path / "index")
    refused(cli, "--mmap goes with --index", *asked, "--mmap")
    refused(cli, "--mmap goes with --index", "evaluate", trained, "--mmap")
    refused(cli, "--mmap goes with --index", "search", trained, "words", "--mmap")


def test_a_mapped_index_is_measured_as_one_in_memory(cli, trained, tmp_path, monkeypatch):
    assert cli("index", "build", trained, "--out", tmp_path / "index", "--kind", "ivf", "--set", "nlist=2")[0] == 0
    load, mapped, figures = ItemIndex.load, [], []

    def noted(folder, **how):
        mapped.append(how["mmap"])
        return load(folder, **how)

    monkeypatch.setattr(ItemIndex, "load", noted)
    for more in ([], ["--mmap"]):
        code, _, err = cli("evaluate", trained, "--index", tmp_path / "index", "--bootstrap", "0", "--json", tmp_path / "figures", *more)
        assert code == 0, err
        figures.append(json.loads((tmp_path / "figures").read_text()))
    assert mapped == [False, True]
    assert [figures[1][part] for part in ("slices", "protocol")] == [figures[0][part] for part in ("slices", "protocol")]

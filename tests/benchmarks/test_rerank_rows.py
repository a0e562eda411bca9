"""What was measured or trained is not made again, and the table says what the rows do."""

from __future__ import annotations

import json

import numpy as np
import pytest
from planted_retriever import Planted
from tiny_encoders import tiny_bert

from benchmarks import rerank

TITLES = [f"{colour} {thing}" for colour in ("red", "blue", "gold") for thing in ("car", "hat", "sea", "dog")]


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run the script on a small shop, with a retriever that cannot tell items apart."""
    folder = tmp_path / "data" / "shop"
    folder.mkdir(parents=True)
    rows = [f"{user},{(user + step) % 12},{step}" for user in range(24) for step in range(5)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    (folder / "items.csv").write_text("\n".join(["item_id,title", *(f"{k},{title}" for k, title in enumerate(TITLES))]) + "\n")
    encoder = tiny_bert(tmp_path / "bert", TITLES)
    monkeypatch.setattr(rerank, "retriever", lambda split, data_set: Planted(np.zeros((13, 13)), split.catalog))
    monkeypatch.setattr(rerank, "KEPT", tmp_path / "runs")

    def script(step, *more):
        quick = [f"encoder.name={encoder}", "encoder.tune=frozen", "encoder.max_length=32", "train.epochs=1"]
        words = [step, "--data", str(tmp_path / "data"), "--data-set", "shop", "--results", str(tmp_path / "results"), "--lists", "12"]
        monkeypatch.setattr("sys.argv", ["rerank", *words, "--users", "20", "--rows", "cross-encoder", *more, "--set", *quick])
        rerank.main()

    return script


def test_rows_go_on_where_they_were_cut_short(call, tmp_path, monkeypatch, capsys):
    call("run", "--seeds", "0", "1")
    files = [tmp_path / "results" / f"rerank-cross-encoder-{seed}.json" for seed in (0, 1)]
    records = [json.loads(file.read_text()) for file in files]
    assert [record["record"]["lists"] for record in records] == [12, 12]
    assert records[0]["figures"]["slices"]["all"]["users"] == 20
    assert "--lists 12" in records[0]["command"]
    monkeypatch.setattr(rerank, "train_reranker", lambda *a, **k: pytest.fail("trained again"))
    written = files[0].read_bytes()
    files[1].unlink()
    call("run", "--seeds", "0", "1")
    assert "seed 0: there already" in capsys.readouterr().out
    assert files[0].read_bytes() == written
    assert json.loads(files[1].read_text())["figures"]["paired"] == records[1]["figures"]["paired"]
    call("table")
    found = capsys.readouterr().out.splitlines()[-1].split(" | ")
    expected = np.mean([record["figures"]["paired"]["NDCG@10"]["difference"] for record in records])
    assert found[1] == "2"
    assert float(found[6].split()[0]) == pytest.approx(expected, abs=1e-4)


def test_the_speed_is_that_of_pairs(call, capsys):
    call("speed")
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"] == 24 * 5  # all lists of 24 users, four negatives each
    assert found["cpu_seconds_per_1000_pairs"]["scoring"] > 0

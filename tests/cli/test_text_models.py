"""The way of a model that reads text: other data without training, new items into an index, reasons, warm starts, the demo."""

from __future__ import annotations

import json
import shutil

import pytest
from tiny_encoders import tiny_bert

from bertrec.cli import demo
from bertrec.cli.main import main
from bertrec.retrieval.index import ItemIndex
from bertrec.runs.vectors import read_vectors

TITLES = ["Red Kettle", "Blue Kettle", "Green Teapot", "Oak Shelf", "Pine Shelf", "Steel Lamp", "Brass Lamp", "Wool Rug"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("encoder"), [*TITLES, "kitchen wood light floor new copper"], hidden=32)


@pytest.fixture(scope="module")
def text_run(shop, encoder, tmp_path_factory):
    """Read-only: a model of text alone."""
    run = tmp_path_factory.mktemp("runs") / "text"
    settings = ["--set", f"encoder.name={encoder}", "--set", "item.width=16", "--set", "head.layers=1", "--set", "train.batch_size=16"]
    assert main(["train", str(shop), "--item-input", "text", "--epochs", "2", "--out", str(run), *settings]) == 0
    return run


def write_other(folder):
    folder.mkdir()
    rows = [f"{user},{item}" for user in "abcd" for item in ("new-1", "new-2", "new-3")]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    (folder / "items.csv").write_text("item_id,title,kind\nnew-1,Copper Kettle,kitchen\nnew-2,Copper Lamp,light\nnew-3,Oak Rug,floor\n")
    return folder


def test_a_text_run_is_measured_on_other_data_without_training(cli, text_run, tmp_path):
    out = tmp_path / "figures.json"
    assert cli("evaluate", text_run, "--data", write_other(tmp_path / "other"), "--json", out)[0] == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["slices"]["all"]["users"] == 4
    assert found["slices"]["all"]["metrics"]["HR@1"]["mean"] == 1.0  # of three items two are seen: the third is all that is left


def test_other_data_are_read_with_the_runs_options_where_they_fit(cli, text_run, tmp_path):
    run, other, bare, out = (tmp_path / name for name in ("run", "other", "bare", "figures.json"))
    write_other(other)
    bare.mkdir()
    shutil.copy(other / "interactions.csv", bare)
    (bare / "items.csv").write_text("item_id,title\nnew-1,Copper Kettle\nnew-2,Copper Lamp\nnew-3,Oak Rug\n")
    shutil.copytree(text_run, run)
    record = json.loads((run / "run.json").read_text(encoding="utf-8")) | {"split": {"method": "time", "options": {}}}

    def vectors(data, **load):
        (run / "run.json").write_text(json.dumps(record | {"load": load}), encoding="utf-8")
        code, _, err = cli("embed", run, "--data", data, "--out", tmp_path / "items.parquet", "--overwrite")
        assert code == 0, err
        return read_vectors(tmp_path / "items.parquet")[1], err

    (titles, _), (whole, _) = vectors(bare), vectors(other)
    kept, said = vectors(other, text_fields=["title"])
    assert (kept == titles).all()
    assert not (kept == whole).all()
    assert "is read without" not in said
    left, said = vectors(other, text_fields=["title"], min_rating=3)
    assert (left == whole).all()
    assert "is read without the run's text_fields=['title'], min_rating=3: a minimum rating needs a column 'rating'" in said
    code, _, err = cli("evaluate", run, "--data", other, "--json", out)
    assert code == 0
    assert json.loads(out.read_text(encoding="utf-8"))["protocol"]["split"]["method"] == "leave_one_out"  # a time split has no times here
    assert "is not what the run was trained on: measured by the split leave_one_out" in err


@pytest.mark.parametrize("history", [("--history", "Copper Kettle"), ("--history-ids", "new-1")])
def test_a_typed_history_is_of_the_other_data_that_are_named(cli, text_run, tmp_path, history):
    code, out, err = cli("recommend", text_run, "--data", write_other(tmp_path / "other"), *history, "--format", "json")
    assert code == 0, err
    (found,) = json.loads(out)["recommendations"]
    assert {item["id"] for item in found["items"]} == {"new-2", "new-3"}


def test_new_items_join_the_index_by_their_text(cli, text_run, tmp_path):
    index, items = tmp_path / "index", tmp_path / "new.csv"
    items.write_text("item_id,title,kind\n200,Copper Kettle,kitchen\n201,Copper Lamp,light\n", encoding="utf-8")
    assert cli("index", "build", text_run, "--out", index)[0] == 0
    assert cli("index", "add", index, "--run", text_run, "--items", items)[0] == 0
    assert {"200", "201"} <= set(ItemIndex.load(index).ids)
    out = cli("recommend", text_run, "--index", index, "--history", "Red Kettle", "-k", "11", "--format", "json")[1]
    assert {"200", "201"} <= {row["id"] for row in json.loads(out)["recommendations"][0]["items"]}
    items.write_text("item_id,colour\n202,red\n", encoding="utf-8")
    code, _, err = cli("index", "add", index, "--run", text_run, "--items", items)
    assert code == 2
    assert "title, kind" in err


def test_why_names_text_fields_too(cli, text_run):
    out = cli("recommend", text_run, "--history", "Red Kettle", "Oak Shelf", "-k", "2", "--why", "--format", "json")[1]
    reasons = [reason for row in json.loads(out)["recommendations"][0]["items"] for reason in row["why"]]
    fields = [reason["text"].split(":")[0] for reason in reasons if reason["kind"] == "field"]
    assert set(fields) <= {"title", "kind"}
    assert fields
    assert {reason["text"] for reason in reasons if reason["kind"] == "history"} <= {"Red Kettle", "Oak Shelf"}


def test_a_run_starts_from_another(cli, text_run, small_shop, encoder, tmp_path):
    settings = ["--set", f"encoder.name={encoder}", "--set", "item.width=16", "--set", "head.layers=1"]
    words = ["train", small_shop, "--item-input", "text", "--epochs", "1", *settings, "--out"]
    assert cli(*words, tmp_path / "cold")[0] == 0
    assert cli(*words, tmp_path / "warm", "--init", text_run)[0] == 0
    records = [json.loads((tmp_path / name / "run.json").read_text(encoding="utf-8")) for name in ("cold", "warm")]
    assert records[0]["model_hash"] != records[1]["model_hash"]
    assert records[1]["init"] == str(text_run)


def test_text_similarity_needs_no_training(cli, shop, encoder, tmp_path):
    words = ["train", shop, "--model", "text-similarity", "--set", f"encoder.name={encoder}", "--out", tmp_path / "r"]
    assert cli(*words)[0] == 0
    assert cli("evaluate", tmp_path / "r")[0] == 0


def test_the_demo_goes_the_whole_way(cli, shop, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "DATA", str(shop))
    monkeypatch.setattr(demo, "TITLES", ("Red Kettle", "Blue Kettle"))
    out = tmp_path / "demo"
    code, printed, err = cli("demo", "--out", out, "--epochs", "1")
    assert code == 0, err
    figures = {name: json.loads((out / f"test-{name}.json").read_text(encoding="utf-8")) for name in ("unisrec", "idrec", "popularity")}
    assert all(found["slices"]["all"]["users"] == 40 for found in figures.values())
    shown = f"{figures['unisrec']['slices']['all']['metrics']['NDCG@10']['mean']:.4f}"
    assert shown in printed
    assert all(name in printed for name in ("UniSRec text+id", "IDRec", "Popularity", "user 1 (5 items", "history (2 items"))
    assert "max-similarity (untrained)" in printed
    assert "new films for Red Kettle; Blue Kettle" in printed
    assert len(ItemIndex.load(out / "items.index")) == 10
    assert cli("demo", "--out", out, "--epochs", "1")[0] == 0  # again, over itself


def test_new_items_stand_beside_untrained_similarities(cli, shop, encoder, tmp_path):
    run, out = tmp_path / "run", tmp_path / "figures.json"
    words = ["--model", "text-similarity", "--set", f"encoder.name={encoder}", "--split", "cold-items", "--seed", "1"]
    assert cli("train", shop, "--out", run, *words)[0] == 0
    code, printed, err = cli("evaluate", run, "--json", out)
    assert code == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert list(found["untrained"]) == ["max-similarity"]  # the run itself is the other one
    theirs = found["untrained"]["max-similarity"]["cold_items"]["metrics"]["NDCG@10"]["mean"]
    own = found["slices"]["cold_items"]["metrics"]["NDCG@10"]["mean"]
    assert found["new_items"]["difference"] == pytest.approx(own - theirs)
    assert "max-similarity (untrained)" in printed
    assert ("no better than max-similarity, which needs no training" in err) == (own <= theirs)


def test_an_id_model_and_a_split_without_new_items_have_nothing_beside_them(cli, shop, text_run, tmp_path):
    out = tmp_path / "figures.json"
    assert cli("evaluate", text_run, "--json", out)[0] == 0
    assert "untrained" not in json.loads(out.read_text(encoding="utf-8"))
    words = ["--model", "idrec", "--epochs", "1", "--set", "item.width=16", "--split", "cold-items", "--seed", "1"]
    assert cli("train", shop, "--out", tmp_path / "run", *words)[0] == 0
    assert cli("evaluate", tmp_path / "run", "--json", out)[0] == 0
    assert "untrained" not in json.loads(out.read_text(encoding="utf-8"))


def test_a_run_with_a_match_says_so_where_vectors_leave_it_out(cli, shop, encoder, tmp_path):
    words = ["--set", f"encoder.name={encoder}", "--set", "item.width=16", "--epochs", "1"]
    code, printed, _ = cli("train", shop, "--out", tmp_path / "run", *words)
    assert code == 0
    assert "match: near texts" in printed
    for command in (
        ["embed", tmp_path / "run", "--out", tmp_path / "v.parquet"],
        ["index", "build", tmp_path / "run", "--out", tmp_path / "i"],
    ):
        assert "vectors alone leave out the match with the history" in cli(*command)[2]
    plain = cli("recommend", tmp_path / "run", "--user", "1", "-k", "5", "--format", "json")[1]
    indexed = cli("recommend", tmp_path / "run", "--user", "1", "-k", "5", "--index", tmp_path / "i", "--format", "json")[1]
    assert json.loads(plain) == json.loads(indexed)

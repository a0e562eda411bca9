"""News rankers and multi-task ranking by the commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from planted_impressions import KINDS, SAID, WORDS, catalog, own_item
from tiny_encoders import tiny_bert

from bertrec.rankers.names import RANKERS

FAST = ["--set", "train.epochs=2", "--set", "train.batch_size=8", "--set", "encoder.max_length=8"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return ["--set", f"encoder.name={tiny_bert(tmp_path_factory.mktemp('bert'), SAID, hidden=16, layers=1)}"]


@pytest.fixture(scope="module")
def mind(tmp_path_factory):
    """News in MIND's form; every user clicks one item of their own."""
    folder = tmp_path_factory.mktemp("data") / "mind"
    news = [f"n{k}\t{KINDS[k]}\t{WORDS[k]} kind\t{WORDS[k]}\tlong {WORDS[k]}\t\t[]\t[]" for k in range(8)]
    for part, seed in (("train", 0), ("test", 1)):
        shown, rows = own_item(catalog(), 64, seed=seed), []
        (folder / part).mkdir(parents=True)
        for row, (past, candidates) in enumerate(zip(shown.histories, shown.candidates, strict=True)):
            listed = " ".join(f"n{item - 1}-{int(place == 2)}" for place, item in enumerate(candidates))
            rows.append(f"{row}\t{shown.users[row]}\t11/13/2019 8:36:57 AM\t{' '.join(f'n{item - 1}' for item in past)}\t{listed}")
        (folder / part / "behaviors.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "news.tsv").write_text("\n".join(news) + "\n", encoding="utf-8")
    return folder


def test_the_page_names_every_ranker_of_the_commands():
    page = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8")
    named = page.split("Every ranker has these commands:")[1].split("those of")[0]
    of_ratings, of_runs = {"bias", "mf", "bias-text"}, {"ensemble"}
    assert {name for name in RANKERS.own if f"`{name}`" not in named} == of_ratings | of_runs


@pytest.mark.parametrize("name", ["naml", "lstur", "miner"])
def test_a_news_ranker_is_trained_and_measured(cli, mind, encoder, tmp_path, name):
    code, out, err = cli("rankers", "train", mind, "--ranker", name, "--out", tmp_path / name, *encoder, *FAST, "--set", "loss=pairwise")
    assert code == 0, err
    assert f"{name}:  AUC" in err + out
    code, out, err = cli("rankers", "evaluate", tmp_path / name, "--split", "test", "--bootstrap", "10", "--json", tmp_path / "f.json")
    assert code == 0, err
    assert json.loads((tmp_path / "f.json").read_text())["protocol"]["members"] == [{"ranker": name}]


def test_the_command_tells_lstur_who_is_asked(cli, mind, encoder, tmp_path):
    words = [
        "--set",
        "train.learning_rate=0.05",
        "--set",
        "form=con",
        "--set",
        "train.batch_size=4",
        "--set",
        "train.epochs=12",
        "--set",
        "dropout=0",
    ]
    assert cli("rankers", "train", mind, "--ranker", "lstur", "--out", tmp_path / "run", *encoder, *FAST, *words)[0] == 0
    cli("rankers", "evaluate", tmp_path / "run", "--bootstrap", "0", "--json", tmp_path / "f.json")
    assert json.loads((tmp_path / "f.json").read_text())["slices"]["all"]["metrics"]["AUC"]["mean"] > 0.8


def test_a_reranker_by_name(cli, trained, encoder, tmp_path):
    words = ["--reranker", "miner", "--candidates", "4", "--negatives", "3", "--out", tmp_path / "miner"]
    code, _, err = cli("rerank", "train", trained, *words, *encoder, *FAST)
    assert code == 0, err
    assert json.loads((tmp_path / "miner" / "rerank.json").read_text())["kind"] == "miner"


def test_ratings_become_a_chain(cli, encoder, tmp_path):
    draw, folder = np.random.default_rng(0), tmp_path / "rated"
    folder.mkdir()
    rows = [f"{user},n{item},{draw.integers(1, 6)},{step}" for user in range(12) for step, item in enumerate(draw.permutation(8)[:5])]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n", encoding="utf-8")
    (folder / "items.csv").write_text("\n".join(["item_id,title", *(f"n{k},{word}" for k, word in enumerate(WORDS))]), encoding="utf-8")
    code, _, err = cli(
        "rankers", "train", folder, "--ranker", "multitask", "--out", tmp_path / "run", *encoder, *FAST, "--set", "negatives=2"
    )
    assert code == 0, err
    (member,) = json.loads((tmp_path / "run" / "run.json").read_text())["members"]
    assert (member["tasks"], member["scored"]) == (["watched", "rated", "liked"], "liked")
    assert {"AUC", "logloss", "AUC watched", "logloss liked"} <= set(member["validation"])
    code, _, err = cli("rankers", "train", folder, "--ranker", "multitask", "--out", tmp_path / "2", *encoder, "--set", "task=bought")
    assert (code, "unknown task 'bought'" in err) == (2, True)

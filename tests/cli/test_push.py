"""`bertrec push`: what is listed, what is sent, and that nobody's id or history goes along."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from hub_fixture import hub

import bertrec
from bertrec.cli.evaluate import keep_figures
from bertrec.cli.main import main
from bertrec.core.errors import ModelError
from bertrec.core.files import read_json
from bertrec.runs.folder import Run

__all__ = ["hub"]
REPO = "me/shop"
SENT = ["README.md", "config.json", "items.json", "items.parquet", "model.safetensors"]


def name_of(user):
    """Ids that are found by eye wherever they are."""
    return f"person-{user:04d}"


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    rows = [f"{name_of(user)},{100 + (user + step) % 10},{step}" for user in range(30) for step in range(5)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    items = [f"{100 + row},thing {row},{row}.5" for row in range(10)]
    (folder / "items.csv").write_text("\n".join(["item_id,title,price", *items]) + "\n")
    return folder


@pytest.fixture(scope="module")
def used(people, tmp_path_factory):
    """A run that has been used: lists of people and later interactions lie in its folder, and some lists in its model's."""
    home = tmp_path_factory.mktemp("used")
    place = home / "run"
    (home / "later.csv").write_text(f"user_id,item_id,timestamp\n{name_of(4)},101,99\n")
    lists = [["recommend", place, "--user", name_of(3), "--out", out] for out in (place / "lists.csv", place / "model" / "lists.parquet")]
    train = ["train", people, "--model", "popularity", "--out", place]
    for words in (train, ["update", place, "--interactions", home / "later.csv"], *lists):
        assert main([str(word) for word in words]) == 0
    return place


@pytest.fixture
def run(used, tmp_path):
    return shutil.copytree(used, tmp_path / "run")


def texts(content):
    """Return a file's bytes, and of a table what is packed in it."""
    yield content
    if content.startswith(b"PAR1"):
        yield json.dumps(pq.read_table(io.BytesIO(content)).to_pylist(), default=str).encode()


def test_nobody_s_id_or_history_is_sent(run, hub, cli):
    assert any(
        b"person-" in text for path in run.rglob("*") if path.is_file() for text in texts(path.read_bytes())
    )  # there is what could leak
    code, out, err = cli("push", run, REPO)
    assert code == 0, err
    assert sorted(hub.repos[REPO].files()) == SENT
    everything = [*hub.received, *hub.repos[REPO].files().values(), *hub.blobs.values()]
    assert not [text for content in everything for text in texts(content) if b"person-" in text]
    assert "lists.parquet is no part of the model and is not sent" in err
    assert f"to {REPO}@{hub.repos[REPO].branches['main']}" in out


def test_what_was_sent_is_the_model_of_the_run(run, hub, cli):
    assert cli("push", run, REPO, "--public")[0] == 0
    assert not hub.repos[REPO].private
    assert bertrec.Recommender.from_pretrained(REPO).model_hash == read_json(run / "run.json")["model_hash"]


def test_a_dry_run_lists_files_and_sizes_and_asks_nobody(run, hub, cli):
    code, out, _ = cli("push", run, REPO, "--dry-run")
    assert code == 0
    assert hub.requests == []
    listed = dict(re.findall(r"│ ([\w./-]+) +│ +([\d.]+) KiB │", out))
    assert list(listed) == SENT
    assert float(listed["items.parquet"]) == pytest.approx((run / "model" / "items.parquet").stat().st_size / 1024, abs=0.05)
    assert re.search(r"^5 files, [\d.]+ KiB$", out, re.MULTILINE)


def test_test_figures_go_into_the_card_and_stay_in_the_record(run, hub, cli, tmp_path):
    assert "the card has no test figures" in cli("push", run, REPO, "--dry-run")[2]
    figures = tmp_path / "figures.json"
    code, _, err = cli("evaluate", run, "--card", "--json", figures)
    assert code == 0
    assert f"wrote {run / 'model' / 'README.md'}" in err
    assert "no test figures" not in cli("push", run, REPO)[2]
    card = hub.repos[REPO].files()["README.md"].decode()
    value = read_json(figures)["slices"]["all"]["metrics"]["NDCG@10"]
    assert f"{value['mean']:.4f} \\[{value['ci95'][0]:.4f}, {value['ci95'][1]:.4f}\\]" in card
    assert "Held-out test users." in card
    assert str(run.parent) not in card
    assert read_json(run / "run.json")["test"]["slices"] == read_json(figures)["slices"]
    assert cli("recommend", run, "--user", name_of(5))[0] == 0


@pytest.mark.parametrize("words", [["--split", "valid"], ["--data", "x"], ["--index", "x"], ["--vectors", "x.npy"]])
def test_figures_of_something_else_are_kept_out_of_the_card(run, cli, words):
    code, _, err = cli("evaluate", run, "--card", *words)
    assert code == 2
    assert "--card writes what the model reaches on its own test users" in err


def test_an_update_leaves_former_figures_marked(people, tmp_path, cli):
    run = tmp_path / "run"
    small = ["--epochs", 1, "--set", "item.width=8", "--set", "head.layers=1", "--set", "head.max_history=5"]
    assert cli("train", people, "--model", "idrec", "--out", run, *small)[0] == 0
    assert cli("evaluate", run, "--card")[0] == 0
    before = (run / "model" / "README.md").read_text()
    (tmp_path / "later.csv").write_text(f"user_id,item_id,timestamp\n{name_of(4)},101,99\n")
    code, _, err = cli("update", run, "--interactions", tmp_path / "later.csv", "--train", "--epochs", 1)
    assert code == 0, err
    after = (run / "model" / "README.md").read_text()
    former = re.search("SHA-256 of the model: `(.*)`", before)[1]
    assert "another state" not in before
    assert f"Measured on another state of the model or its items (SHA-256 of that state: {former})." in after
    assert f"`{read_json(run / 'run.json')['model_hash']}`" in after


def test_a_run_with_new_items_takes_test_figures_and_says_of_which_state(people, cli, tmp_path):
    run = tmp_path / "run"
    assert cli("train", people, "--model", "text-similarity", "--out", run)[0] == 0
    (tmp_path / "new.csv").write_text("item_id,title,price\n999,one more thing,3.5\n")
    assert cli("catalog", "update", run, "--items", tmp_path / "new.csv", "--delta")[0] == 0
    code, _, err = cli("evaluate", run, "--card")
    assert code == 0, err
    record, card = read_json(run / "run.json"), (run / "model" / "README.md").read_text()
    measured = record["test"]["protocol"]["model"]["hash"]
    assert measured != record["model_hash"]  # over the items of the training
    assert record["test"]["protocol"]["items"] == 10
    assert f"Measured on another state of the model or its items (SHA-256 of that state: {measured})." in card


def test_figures_of_a_run_that_changed_meanwhile_are_not_kept(run):
    before = Run(run).record()
    with pytest.raises(ModelError, match="was changed while it was measured"):
        keep_figures(Run(run), {}, before={**before, "model_hash": "of another"})
    assert "test" not in Run(run).record()


def test_a_run_that_forgot_people_keeps_a_card(run, cli):
    assert cli("forget", run, "--user", name_of(7))[0] == 0
    card = (run / "model" / "README.md").read_text()
    assert "| users | 29 |" in card
    assert read_json(run / "run.json")["model_hash"] in card


def test_mistakes_are_one_line(run, hub, cli, tmp_path):
    for words, said in {
        ("push", run, "shop"): "is no name of a repository: give it as user/name",
        ("push", tmp_path / "none", REPO): "no such run",
        ("push", tmp_path, REPO): "is not a finished run",
    }.items():
        code, out, err = cli(*words)
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1
    (run / "model" / "model.safetensors").write_bytes(b"x")
    code, _, err = cli("push", run, REPO)
    assert code == 2
    assert "model.safetensors is not the file that was saved" in err
    assert hub.requests == []


def test_the_program_speaks_to_the_hub_that_the_environment_names(run, hub, tmp_path):
    told = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    words = [sys.executable, "-m", "bertrec", "push", str(run), REPO, "--revision", "v2"]
    done = subprocess.run(words, env={**os.environ, **told}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(hub.repos[REPO].files("v2")) == SENT
    assert hub.repos[REPO].files() == {}
    assert done.stdout.startswith("sent 5 files")
    assert "Warning" not in done.stderr
    without = {name: value for name, value in {**os.environ, **told}.items() if name != "HF_TOKEN"}
    refused = subprocess.run(words, env=without, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("bertrec: me/shop: the hub refuses this (401): log in with hf auth login")

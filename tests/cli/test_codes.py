"""A model over codes on its way through the commands."""

from __future__ import annotations

import json

import pytest
from tiny_encoders import tiny_bert

from bertrec.cli.main import main

WORDS = ["Red Kettle", "Blue Kettle", "Green Teapot", "Oak Shelf", "Pine Shelf", "Steel Lamp", "Brass Lamp", "Wool Rug"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    encoder = tiny_bert(tmp_path_factory.mktemp("encoder"), [*WORDS, "kitchen wood light floor new copper"], hidden=32)
    named = {"encoder.name": encoder, "item.width": 16, "head.layers": 1, "train.batch_size": 16, "codes.slots": 4, "codes.bins": 4}
    return [word for name, value in named.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module", params=["text", "id", "text+id"])
def run(request, shop, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "codes"
    command = ["train", str(shop), "--model", "vqrec", "--item-input", request.param, "--epochs", "2", "--out", str(folder), *settings]
    assert main(command) == 0
    return folder


def test_it_is_indexed_and_recommends_as_others_do(cli, run, tmp_path):
    assert cli("index", "build", run, "--out", tmp_path / "index")[0] == 0
    assert cli("evaluate", run, "--index", tmp_path / "index")[0] == 0
    saved = json.loads((run / "model" / "config.json").read_text(encoding="utf-8"))
    assert saved["item_memory"]["vectors"] > 0
    code, out, _ = cli("recommend", run, "--history", "Red Kettle", "-k", 2, "--index", tmp_path / "index", "--format", "json")
    assert code == 0
    assert len(json.loads(out)["recommendations"][0]["items"]) == 2
    assert cli("embed", run, "--out", tmp_path / "items.parquet")[0] == 0


def test_train_says_what_the_items_take(cli, shop, settings, tmp_path):
    code, out, _ = cli("train", shop, "--model", "vqrec", "--epochs", 1, "--out", tmp_path / "run", *settings)
    assert code == 0
    assert "of codes and" in next(line for line in out.splitlines() if line.startswith("items: "))


def test_more_slots_than_dimensions_is_one_line(cli, shop, settings, tmp_path):
    code, _, err = cli("train", shop, "--model", "vqrec", "--out", tmp_path / "run", *settings, "--set", "codes.slots=33")
    assert code == 2
    assert "setting 'codes.slots': 33 is above the 32 dimensions of a text vector" in err.splitlines()[-1]

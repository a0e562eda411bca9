"""A small shop whose next item is known beforehand, and a run trained on it."""

from __future__ import annotations

import shutil

import pytest

from bertrec.cli.main import main

TITLES = [
    "Red Kettle",
    "Blue Kettle",
    "Green Teapot",
    "기생충 포스터",
    "Oak Shelf",
    "Pine Shelf",
    "Steel Lamp",
    "Brass Lamp",
    "Wool Rug",
    "Jute Rug",
]
KINDS = ["kitchen", "kitchen", "kitchen", "art", "wood", "wood", "light", "light", "floor", "floor"]
SMALL = ["--set", "item.width=16", "--set", "head.layers=1", "--set", "train.batch_size=16", "--set", "head.max_history=10"]


def write_shop(folder, users=40, length=5):
    """Everyone walks round the ten items in order, each from another start, so the next item follows from the last."""
    folder.mkdir(parents=True)
    rows = [f"{user},{100 + (user + step) % 10},{step}" for user in range(1, users + 1) for step in range(length)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8")
    items = [f"{100 + row},{title},{kind}" for row, (title, kind) in enumerate(zip(TITLES, KINDS, strict=True))]
    (folder / "items.csv").write_text("\n".join(["item_id,title,kind", *items]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("data") / "shop")


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("data") / "small", users=12)


@pytest.fixture(scope="session")
def trained(shop, tmp_path_factory):
    """An ID model that has learned the walk; treat it as read-only."""
    run = tmp_path_factory.mktemp("runs") / "id"
    options = ["--model", "idrec", "--out", str(run), "--epochs", "40", "--seed", "1", "--set", "head.dropout=0", *SMALL]
    assert main(["train", str(shop), *options]) == 0
    return run


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def cli(capsys):
    """Run the program and return its exit code, standard output and standard error."""

    def call(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call

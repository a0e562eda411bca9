"""A small shop, a run trained on it, users and items in parts, and one Spark session for all tests of a process."""

from __future__ import annotations

import os
import sys

import pytest
from spark_shop import TITLES, no_spark, write_items, write_users
from tiny_encoders import tiny_bert

from bertrec.cli.main import main


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """Thirty users walk round the ten items in order; attributes are in the item table."""
    folder = tmp_path_factory.mktemp("data") / "shop"
    folder.mkdir()
    rows = [f"{user},{100 + (user + step) % 10},{step}" for user in range(1, 31) for step in range(5)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    items = [f"{100 + row},{title},{row}" for row, title in enumerate(TITLES)]
    (folder / "items.csv").write_text("\n".join(["item_id,title,price", *items]) + "\n")
    return folder


@pytest.fixture(scope="session")
def trained(shop, tmp_path_factory):
    """Read-only: a model of text alone."""
    encoder = tiny_bert(tmp_path_factory.mktemp("encoder"), [*TITLES, "copper"], hidden=32)
    run = tmp_path_factory.mktemp("runs") / "text"
    settings = [f"encoder.name={encoder}", "item.width=16", "head.layers=1", "train.batch_size=16"]
    words = ["--item-input", "text", "--text-fields", "title", "--epochs", "2", "--out", run]
    assert main(["train", str(shop), *map(str, words), *(word for one in settings for word in ("--set", one))]) == 0
    return run


@pytest.fixture(scope="session")
def users(tmp_path_factory):
    return write_users(tmp_path_factory.mktemp("in") / "users", parts=3, each=40)


@pytest.fixture(scope="session")
def items(tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("in") / "items", parts=3, each=25)


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """One session of two cores; its Python workers stay from job to job, and have a store of embeddings that is empty."""
    if reason := no_spark():
        pytest.skip(reason)
    from bertrec.cluster.session import open_session

    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = open_session("tests", "local[2]", {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"})
    session.sparkContext.environment["BERTREC_CACHE"] = str(tmp_path_factory.mktemp("workers"))
    yield session
    session.stop()


@pytest.fixture
def cli(capsys):
    """Run the program and return its exit code, standard output and standard error."""

    def call(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call

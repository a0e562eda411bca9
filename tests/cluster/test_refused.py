"""What is refused before Spark starts, in one line; what Spark says, in one line."""

from __future__ import annotations

import importlib.util
import os

import pandas as pd
import pytest

from bertrec.cluster.said import spark_said
from bertrec.cluster.versions import check_versions, versions
from bertrec.core.errors import BertrecError


@pytest.fixture
def with_spark(monkeypatch):
    """Let commands get beyond the look for PySpark and Java, and no further than the look at their input."""
    monkeypatch.setattr("bertrec.cluster.session.check_spark", lambda: None)
    monkeypatch.setattr("bertrec.cluster.session.open_session", lambda *_: pytest.fail("Spark is started"))


def refused(answer, *said):
    code, out, err = answer
    assert (code, out, err.count("\n")) == (2, "", 1), err
    for text in said:
        assert text in err


def in_parts(folder, **parts):
    folder.mkdir()
    for name, columns in parts.items():
        path = folder / f"{name}.parquet"
        path.write_bytes(columns) if isinstance(columns, bytes) else pd.DataFrame(columns).to_parquet(path)
    return folder


USERS = [
    ({"a": {"user_id": ["x"]}, "b": b"PAR1 and no more"}, "b.parquet: cannot be read as Parquet"),
    ({"a": {"user": ["x"]}}, "a.parquet: no column 'user_id' (columns: user)"),
    ({"a": {"user_id": ["x"]}, "b": {"who": ["y"]}}, "b.parquet: no column 'user_id', which"),
    ({"a": {"user_id": ["x"]}, "b": {"user_id": [7]}}, "b.parquet: column 'user_id' is of type int64, and in"),
    ({"a": {"user_id": ["x"], "history": [["1"]]}, "b": {"user_id": ["y"]}}, "b.parquet: no column 'history', which"),
    ({}, "holds no file: name a folder of Parquet files"),
    ({"a": {"user_id": []}}, "no rows"),
]


@pytest.mark.parametrize(("parts", "said"), USERS)
def test_users_that_are_no_parts_alike(parts, said, with_spark, trained, cli, tmp_path):
    source = in_parts(tmp_path / "users", **parts)
    refused(cli("cluster", "recommend", trained, "--users", source, "--out", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()


ITEMS = [
    ({"a": {"item_id": ["x"], "name": ["Lamp"]}}, "a.parquet: no column 'title'"),
    ({"a": {"title": ["Lamp"]}}, "a.parquet: no column 'item_id'"),
    ({"a": {"item_id": ["x"], "title": ["Lamp"]}, "b": {"item_id": ["y"], "title": [7]}}, "b.parquet: column 'title' is of type int64"),
]


@pytest.mark.parametrize(("parts", "said"), ITEMS)
def test_items_that_are_no_parts_alike(parts, said, with_spark, trained, cli, tmp_path):
    source = in_parts(tmp_path / "items", **parts)
    refused(cli("cluster", "encode", trained, "--items", source, "--out", tmp_path / "out"), said)


def test_a_run_an_index_or_words_that_are_wrong(with_spark, trained, users, items, cli, tmp_path):
    out = tmp_path / "out"
    refused(cli("cluster", "recommend", tmp_path / "gone", "--users", users, "--out", out), "no such run; make one with")
    refused(cli("cluster", "encode", tmp_path / "gone", "--items", items, "--out", out), "no such run; make one with")
    refused(cli("cluster", "recommend", trained, "--users", users, "--out", out, "--index", tmp_path / "i"), "no such index")
    refused(cli("cluster", "recommend", trained, "--users", tmp_path / "gone", "--out", out), "a cluster reads Parquet")
    refused(cli("cluster", "recommend", trained, "--users", tmp_path / "u.parquet", "--out", out), "no such file or folder")
    refused(cli("cluster", "recommend", trained, "--users", users, "--out", out, "--on-unknown", "guess"), "unknown way with unknown users")
    refused(cli("cluster", "recommend", trained, "--users", users, "--out", out, "--filter", "prize < 3"), "prize")
    refused(cli("cluster", "recommend", trained, "--users", users, "--out", out, "--conf", "memory"), "write it as NAME=VALUE")
    (tmp_path / "file").touch()
    refused(cli("cluster", "recommend", trained, "--users", users, "--out", tmp_path / "file"), "is a file, not a folder")


def test_no_pyspark(trained, users, cli, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("bertrec.cluster.session.find_spec", lambda name: None if name == "pyspark" else found(name))
    words = ("cluster", "recommend", trained, "--users", users, "--out", tmp_path / "out")
    refused(cli(*words), "pyspark is not installed: run pip install 'bertrec[spark]'")


def test_no_java_or_a_wrong_one(trained, users, cli, tmp_path, monkeypatch):
    monkeypatch.setattr("bertrec.cluster.session.find_spec", lambda _: True)
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    words = ("cluster", "recommend", trained, "--users", users, "--out", tmp_path / "out")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    refused(cli(*words), f"JAVA_HOME={tmp_path / 'jdk'} holds no bin/java: correct or unset it")
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(cli(*words), "no Java was found: Spark 4 wants Java 17 or later")


def test_versions_that_differ_are_named():
    here = versions()
    check_versions(here)
    with pytest.raises(BertrecError, match=rf"bertrec {here['bertrec']} where the driver has 9, faiss .* where the driver has 8"):
        check_versions(here | {"bertrec": "9", "faiss": "8"})


TRACE = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collectAndServe.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 1 in stage 0.0 failed 4 times, most recent failure: Lost task 1.3
  File "worker.py", line 7, in main
{raised}

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:572)
"""
SAID = [
    (TRACE.format(raised="bertrec.core.errors.DataError: p.parquet: row 3: the id is missing"), "p.parquet: row 3: the id is missing"),
    (
        TRACE.format(raised="ModuleNotFoundError: No module named 'bertrec'"),
        "an executor's Python has no bertrec: install bertrec[spark,cpu]",
    ),
    (TRACE.format(raised="ModuleNotFoundError: No module named 'torch'"), "an executor's Python has no torch: install bertrec[spark,cpu]"),
    (TRACE.format(raised="pyspark.errors.PySparkRuntimeError: [PYTHON_VERSION_MISMATCH] Python"), "executors run another Python than"),
    (TRACE.format(raised='java.io.IOException: Cannot run program "python9"'), "executors find no such Python"),
    (TRACE.format(raised="ZeroDivisionError: division by zero"), "Spark: ZeroDivisionError: division by zero: run the same command again"),
    ("[JAVA_GATEWAY_EXITED] Java gateway process exited", "Java did not start"),
]


@pytest.mark.parametrize(("text", "said"), SAID)
def test_what_spark_says_is_one_line(text, said):
    found = spark_said(text)
    assert found.startswith(said)
    assert "\n" not in found
    assert os.linesep not in found


def test_bertrec_and_its_help_load_no_spark():
    import subprocess
    import sys

    code = "import sys, bertrec.cluster, bertrec.cli.main; sys.exit('pyspark' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""A Spark session for a command: by the settings of whoever started it, and those that were named."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bertrec.cluster.said import failures_said
from bertrec.core.errors import BertrecError, MissingExtraError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_PYTHON = "spark.pyspark.python"
_QUIET = {"spark.ui.showConsoleProgress": "false", "spark.log.level": "ERROR"}
_JAVA = "Spark 4 wants Java 17 or later (Debian, Ubuntu: apt install openjdk-17-jre-headless), in PATH or JAVA_HOME"


def check_spark() -> None:
    """See that PySpark and Java are there, before any work.

    Raises:
        BertrecError: one is not; the text says what installs it.
    """
    if find_spec("pyspark") is None:
        raise MissingExtraError("pyspark", "spark")
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit has started Java already
        return
    home = os.environ.get("JAVA_HOME")
    if home and shutil.which("java", path=str(Path(home) / "bin")) is None:
        raise BertrecError(f"JAVA_HOME={home} holds no bin/java: correct or unset it; {_JAVA}")
    if not home and shutil.which("java") is None:
        raise BertrecError(f"no Java was found: {_JAVA}")


def open_session(name: str, master: str | None = None, conf: Mapping[str, str] | None = None) -> SparkSession:
    """Return a session.

    Args:
        name: of the application.
        master: such as ``local[2]`` or ``yarn``; None: as ``spark-submit`` or Spark's own files say.
        conf: settings of Spark by name.

    Raises:
        BertrecError: Spark is not there, or does not start.
    """
    check_spark()
    conf = {**_QUIET, **(conf or {})}
    if _PYTHON in conf:
        os.environ["PYSPARK_PYTHON"] = conf[_PYTHON]
    elif (master or "local").startswith("local"):  # where Spark would take the first python3 of PATH
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(name)
    builder = builder if master is None else builder.master(master)
    for key, value in conf.items():
        builder = builder.config(key, value)
    with failures_said():
        return builder.getOrCreate()

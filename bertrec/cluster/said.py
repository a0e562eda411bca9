"""What Spark raises, as one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from bertrec.core.errors import BertrecError

_OURS = re.compile(r"^bertrec\.[\w.]+Error: (.+)$", re.MULTILINE)
_MISSING = re.compile(r"No module named '([\w.]+)'")
_AGAIN = "run the same command again: parts that are done stay"
_KNOWN = (
    ("PYTHON_VERSION_MISMATCH", "executors run another Python than the driver: name one with  --conf spark.pyspark.python=PATH"),
    ("Cannot run program", "executors find no such Python: name one that has bertrec with  --conf spark.pyspark.python=PATH"),
    (
        "Python worker exited unexpectedly",
        f"a worker process was ended, as for want of memory: raise spark.executor.memoryOverhead, and {_AGAIN}",
    ),
    ("No space left on device", f"a disk of an executor is full: make room there (spark.local.dir, --out) and {_AGAIN}"),
    ("JAVA_GATEWAY_EXITED", "Java did not start: see what it says above; Spark 4 wants Java 17 or later, in PATH or JAVA_HOME"),
)


@contextmanager
def failures_said() -> Iterator[None]:
    """Make one line of what a job fails with.

    Raises:
        BertrecError: of the block, or made of Spark's error.
    """
    try:
        yield
    except BertrecError:
        raise
    except Exception as error:
        raise BertrecError(spark_said(str(error))) from error


def spark_said(text: str) -> str:
    r"""Return what a message of Spark says, in one line with the mend: our own line where a task raised one.

    >>> spark_said("…\nbertrec.core.errors.DataError: p.parquet: no column 'user_id'\n\tat org.apache…")
    "p.parquet: no column 'user_id'"
    """
    if ours := _OURS.findall(text):
        return str(ours[-1])
    if missing := _MISSING.search(text):
        what = "bertrec" if missing[1].startswith("bertrec") else missing[1]
        mend = "install bertrec[spark,cpu] there as on the driver, or name a Python that has it with  --conf spark.pyspark.python=PATH"
        return f"an executor's Python has no {what}: {mend}"
    for mark, said in _KNOWN:
        if mark in text:
            return said
    return f"Spark: {_shortest(text)}: {_AGAIN}"


def _shortest(text: str) -> str:
    """Return the line of a long message that says what happened: the last one of a Python trace, else the first one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line) and not line.startswith(("org.", "py4j."))]
    lost = [line for line in lines if "Job aborted" in line or "Lost task" in line]
    return f"{next(iter([*reversed(raised), *lost, *lines]), 'failed'):.400}".rstrip(" .:")

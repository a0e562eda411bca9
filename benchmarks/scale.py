"""Lists for many users: one process and its memory as users grow, and Spark beside it.

    python -m benchmarks.scale recommend --work FOLDER                     # 10^4, 10^5 and 10^6 users, 200,000 items
    python -m benchmarks.scale recommend --work FOLDER --users 10000,30000
    python -m benchmarks.scale spark --work FOLDER                         # 100,000 users in 16 parts, local[cores]

The model is a run of random item vectors, width 64, trained for one short epoch (`benchmarks.serve_load.make_run`); users are drawn with
histories of 20 items, as Parquet; lists hold 10 items, searched exactly. Every measurement is a process of its own. Rates are per second of
processor time (user and system, of the process and its children), so that others on the same cores change them little; the seconds on
the clock stand beside. Peak memory is the largest resident size that the operating system saw.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serve_load import make_run
from benchmarks.speed.machine import machine
from benchmarks.speed.scaling import fit_exponent
from bertrec.core.files import write_json
from bertrec.core.machine import usable_cores

RESULTS = Path(__file__).parent / "results-scale"
LENGTH, K = 20, 10
_AT_ONCE = 50_000  # users that are drawn at a time


@dataclass(frozen=True)
class Used:
    """What a process used, with its children.

    Attributes:
        seconds: on the clock.
        processor_seconds: of user and system.
        peak_mib: largest resident size of one process.
    """

    seconds: float
    processor_seconds: float
    peak_mib: float


def write_users(folder: Path, users: int, items: int, parts: int) -> Path:
    """Write users with histories as Parquet parts; those that are there already are taken."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if (folder / "_SUCCESS").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    names = np.array([f"i{item}" for item in range(items)], object)
    schema = pa.schema({"user_id": pa.string(), "history": pa.list_(pa.string())})
    draw, bounds = np.random.default_rng(users), np.linspace(0, users, parts + 1).astype(int)
    for part in range(parts):
        with pq.ParquetWriter(folder / f"part-{part:05}.parquet", schema) as writer:
            for start in range(bounds[part], bounds[part + 1], _AT_ONCE):
                stop = min(start + _AT_ONCE, bounds[part + 1])
                histories = names[draw.integers(0, items, (stop - start, LENGTH))]
                rows = {"user_id": [f"u{user}" for user in range(start, stop)], "history": histories.tolist()}
                writer.write_table(pa.table(rows, schema=schema))
    (folder / "_SUCCESS").touch()
    return folder


def used_by(*words: object, log: Path) -> Used:
    """Run bertrec in one process of one thread, and see what it used."""
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as stream:
        command = [sys.executable, "-m", "bertrec", *map(str, words)]
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, "OMP_NUM_THREADS": "1"})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{log.read_text(encoding='utf-8')[-2000:]}")
    return Used(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def recommend(work: Path, sizes: list[int], items: int) -> dict[str, Any]:
    """Measure one process at several numbers of users; the fixed part is that of a file of one user."""
    run = make_run(work, items)
    fixed = _listed(work, run, 1, items)
    points = []
    for users in sizes:
        used = _listed(work, run, users, items)
        rate = users / (used.processor_seconds - fixed.processor_seconds)
        points.append({"users": users, **vars(used), "users_per_processor_second": rate})
        print(points[-1], flush=True)
    found = {"items": items, "width": 64, "k": K, "history": LENGTH, "fixed": vars(fixed), "points": points}
    if len(sizes) > 1:
        work_seconds = [point["processor_seconds"] - fixed.processor_seconds for point in points]
        found["exponent_of_processor_seconds"] = vars(fit_exponent(sizes, work_seconds))
    return found


def _listed(work: Path, run: Path, users: int, items: int) -> Used:
    source = write_users(work / f"users-{users}-{items}-1", users, items, 1) / "part-00000.parquet"
    out = work / f"lists-{users}.parquet"
    return used_by("recommend", run, "--users-file", source, "--out", out, "--overwrite", "-k", K, log=work / "recommend.log")


def spark(work: Path, users: int, items: int, parts: int, cores: int) -> dict[str, Any]:
    """Measure the same lists by one process of one thread and by Spark on this machine.

    Spark's seconds of work are those of its tasks: Java and the loading of models are started once a process, however many users there are;
    the seconds of the whole command stand beside.
    """
    run, source = make_run(work, items), write_users(work / f"users-{users}-{items}-{parts}", users, items, parts)
    out = work / f"spark-{users}-{time.time_ns()}"
    alone = used_by("recommend", run, "--users-file", source, "--out", work / "alone.parquet", "--overwrite", "-k", K, log=work / "alone.log")
    fixed = _listed(work, run, 1, items)
    whole = used_by("cluster", "recommend", run, "--users", source, "--out", out, "-k", K, "--master", f"local[{cores}]", log=work / "spark.log")
    single = users / (alone.processor_seconds - fixed.processor_seconds)
    return {"users": users, "items": items, "parts": parts, "cores": cores, "alone": vars(alone), "fixed": vars(fixed), "spark": vars(whole),
            "alone_users_per_processor_second": single, "identical": identical(work / "alone.parquet", out), "tasks": _tasks(out)}


def identical(whole: Path, parts: Path) -> bool:
    """Say whether the parts, in order, are the lists of one file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(path).replace_schema_metadata() for path in sorted(parts.glob("*.parquet"))]
    return bool(pa.concat_tables(tables).equals(pq.read_table(whole)))


if __name__ == "__main__":
    pass

"""Lists for many users: one process and its memory as users grow, and Spark beside it; training steps over a large ID table.

    python -m benchmarks.scale recommend --work FOLDER                      # 10^4, 10^5 and 10^6 users, 200,000 items, width 64
    python -m benchmarks.scale recommend --work FOLDER --users 10000 30000 --width 256
    python -m benchmarks.scale spark --work FOLDER                          # 100,000 users in 16 parts, local[cores]
    python -m benchmarks.scale steps --work FOLDER --items 1000000          # one process of one thread for each train.sparse_ids

In `recommend` and `spark` the model is a run of random item vectors, trained for one short epoch (`benchmarks.serve_load.make_run`) without
neighbours of items; users are drawn with histories of 20 items, as Parquet; lists hold 10 items, searched exactly. Every measurement is a
process of its own, of one thread. Rates are per second of processor time (user and system, of the process and its children), so that others
on the same cores change them less; the seconds on the clock stand beside. Peak memory is the largest resident size that the operating
system saw.

`steps` trains an ID model on sequences drawn evenly, by loss.kind=sampled, and measures the steps after the first five.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
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
LENGTH, K, TRAINED = 20, 10, 50
PLAIN = ("match.text=0", "match.behaviour=0", "match.solved=0")
_AT_ONCE = 50_000  # users that are drawn at a time
_LOOK_SECONDS = 0.05


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


@dataclass(frozen=True)
class Setting:
    """What is measured: ``work`` is a folder for runs and users, ``items`` and ``width`` those of the model."""

    work: Path
    items: int
    width: int

    def run(self) -> Path:
        """Return the run, trained where it is not there."""
        return make_run(self.work, self.items, TRAINED, width=self.width, settings=PLAIN)


def write_users(setting: Setting, users: int, parts: int) -> Path:
    """Write users with histories as Parquet parts; those that are there already are taken."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = setting.work / f"users-{users}-{setting.items}-{parts}"
    if (folder / "_SUCCESS").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    names = np.array([f"i{item}" for item in range(setting.items)], object)
    schema = pa.schema({"user_id": pa.string(), "history": pa.list_(pa.string())})
    draw, bounds = np.random.default_rng(users), np.linspace(0, users, parts + 1).astype(int)
    for part in range(parts):
        with pq.ParquetWriter(folder / f"part-{part:05}.parquet", schema) as writer:
            for start in range(bounds[part], bounds[part + 1], _AT_ONCE):
                stop = min(start + _AT_ONCE, bounds[part + 1])
                histories = names[draw.integers(0, setting.items, (stop - start, LENGTH))]
                rows = {"user_id": [f"u{user}" for user in range(start, stop)], "history": histories.tolist()}
                writer.write_table(pa.table(rows, schema=schema))
    (folder / "_SUCCESS").touch()
    return folder


def used_by(*words: object, log: Path) -> Used:
    """Run bertrec in one process of one thread, and see what it used.

    Raises:
        SystemExit: it failed.
    """
    began = time.perf_counter()
    command = [sys.executable, "-m", "bertrec", *map(str, words)]
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, "OMP_NUM_THREADS": "1"})
        watched = _Children(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    children = watched.ended()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{log.read_text(encoding='utf-8')[-2000:]}")
    # A child that its parent did not wait for is in no sum of the system's: Spark's processes are such.
    processor_seconds = max(usage.ru_utime + usage.ru_stime, children)
    return Used(time.perf_counter() - began, processor_seconds, usage.ru_maxrss / 1024)


class _Children:
    """Looks, while a process runs, at what it and its descendants have used."""

    def __init__(self, pid: int) -> None:
        self._seconds: dict[tuple[int, float], float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,))
        self._thread.start()

    def _watch(self, pid: int) -> None:
        import psutil

        while not self._over.wait(_LOOK_SECONDS):
            try:
                top = psutil.Process(pid)
                for one in (top, *top.children(recursive=True)):
                    times = one.cpu_times()
                    self._seconds[one.pid, one.create_time()] = times.user + times.system
            except psutil.Error:
                continue

    def ended(self) -> float:
        """Return the processor seconds of them all."""
        self._over.set()
        self._thread.join()
        return sum(self._seconds.values())


def recommend(setting: Setting, sizes: list[int]) -> dict[str, Any]:
    """Measure one process at several numbers of users; the fixed part is that of a file of one user."""
    fixed = listed(setting, 1)
    points = []
    for users in sizes:
        used = listed(setting, users)
        rate = users / (used.processor_seconds - fixed.processor_seconds)
        points.append({"users": users, **vars(used), "users_per_processor_second": rate})
        print(points[-1], flush=True)
    found: dict[str, Any] = {"fixed": vars(fixed), "points": points}
    if len(sizes) > 1:
        seconds = [point["processor_seconds"] - fixed.processor_seconds for point in points]
        found["exponent_of_processor_seconds"] = vars(fit_exponent(sizes, seconds))
        found["exponent_of_peak_memory"] = vars(fit_exponent(sizes, [point["peak_mib"] for point in points]))
    return found


def listed(setting: Setting, users: int, parts: int = 1) -> Used:
    """Let one process make the lists of users."""
    out = setting.work / f"lists-{users}.parquet"
    words = ("--users-file", write_users(setting, users, parts), "--out", out, "--overwrite", "-k", K)
    return used_by("recommend", setting.run(), *words, log=setting.work / "recommend.log")


def spark(setting: Setting, users: int, parts: int, cores: int) -> dict[str, Any]:
    """Measure the same lists by one process and by Spark on this machine, with the growth from a tenth of the users.

    Starting Java, Python and the models costs the same however many users there are: rates are of what the users add, from the smaller
    number to the larger one, in processor seconds of all processes.
    """
    few = users // 10
    found: dict[str, Any] = {"users": users, "few": few, "parts": parts, "cores": cores}
    alone = {count: listed(setting, count, parts) for count in (few, users)}
    clustered = {count: _clustered(setting, count, parts, cores) for count in (few, users)}
    for name, used in (("alone", alone), ("spark", clustered)):
        added = used[users].processor_seconds - used[few].processor_seconds
        found[name] = {"used": {str(count): vars(one) for count, one in used.items()}, "users_per_processor_second": (users - few) / added}
    found["spark_of_alone"] = found["spark"]["users_per_processor_second"] / found["alone"]["users_per_processor_second"]
    return found | {"identical": identical(setting.work / f"lists-{users}.parquet", setting.work / f"spark-{users}")}


def _clustered(setting: Setting, users: int, parts: int, cores: int) -> Used:
    import shutil

    out = setting.work / f"spark-{users}"
    shutil.rmtree(out, ignore_errors=True)
    words = ("--users", write_users(setting, users, parts), "--out", out, "-k", K, "--master", f"local[{cores}]")
    return used_by("cluster", "recommend", setting.run(), *words, log=setting.work / "spark.log")


def identical(whole: Path, parts: Path) -> bool:
    """Say whether the parts, in order, are the lists of one file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(path).replace_schema_metadata() for path in sorted(parts.glob("*.parquet"))]
    return bool(pa.concat_tables(tables).equals(pq.read_table(whole).replace_schema_metadata()))


_STEPS = """
import json, resource, sys, time
import numpy as np
import torch
from transformers import TrainerCallback
from bertrec.core.ragged import Ragged
from bertrec.models.idrec import IDRec
from bertrec.models.sequential.network import Network
from bertrec.training.fit import fit_module
from bertrec.training.sequences import SequenceDataset

how, items, width, first, last, batch, length = sys.argv[1], *map(int, sys.argv[2:])
given = {"item.width": width, "loss.kind": "sampled", "train.sparse_ids": how, "train.batch_size": batch, "train.epochs": 1}
config = IDRec.default_config().updated({**given, "train.device": "cpu"})
rows = np.random.default_rng(0).integers(1, items + 1, (last * batch, length + 1))
dataset = SequenceDataset(Ragged.from_rows(list(rows)), length)
network = Network(config, n_items=items, text=None, counts=torch.from_numpy(np.bincount(rows.ravel(), minlength=items + 1)))

class Clock(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == first:
            self.began = time.process_time()
        if state.global_step == last:
            self.spent = time.process_time() - self.began

clock = Clock()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
log = fit_module(network, dataset, dataset.collate, config.train, progress=False, callbacks=[clock])
print(json.dumps({"processor_seconds_a_step": clock.spent / (last - first), "peak_mib": log.peak_mib, "peak_mib_before": before}))
"""
_FIRST_STEP, _LAST_STEP, _BATCH = 5, 45, 64


def steps(items: int, width: int) -> dict[str, Any]:
    """Measure training steps of an ID model with a sampled loss, its ID vectors learned by rows and as a whole table."""
    import json

    found: dict[str, Any] = {"batch": _BATCH}
    for how in ("on", "off"):
        command = [sys.executable, "-c", _STEPS, how, *map(str, (items, width, _FIRST_STEP, _LAST_STEP, _BATCH, LENGTH))]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        found[how] = json.loads(done.stdout.splitlines()[-1])
        print(how, found[how], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, users in (("recommend", [10_000, 100_000, 1_000_000]), ("spark", [100_000]), ("steps", None)):
        one = commands.add_parser(name)
        one.add_argument("--work", type=Path, required=True, help="A folder for runs, users and lists, which are kept.")
        if users:
            one.add_argument("--users", type=int, nargs="+", default=users)
        one.add_argument("--items", type=int, default=200_000)
        one.add_argument("--width", type=int, default=64)
        one.add_argument("--note", default="", help="What else the machine did meanwhile.")
    commands.choices["spark"].add_argument("--parts", type=int, default=16)
    commands.choices["spark"].add_argument("--cores", type=int, default=usable_cores())
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    setting = Setting(given.work, given.items, given.width)
    about = {"items": given.items, "width": given.width, "k": K, "history": LENGTH, "note": given.note, "machine": machine(1)}
    if given.command == "steps":
        found, name = steps(given.items, given.width), f"steps-{given.items}-{given.width}"
    else:
        plain, name = given.command == "recommend", f"{given.command}-{given.width}"
        found = recommend(setting, given.users) if plain else spark(setting, given.users[0], given.parts, given.cores)
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / f"{name}.json", about | found)


if __name__ == "__main__":
    main()

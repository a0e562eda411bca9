"""An index in shards, merged and searched from its files: ``python -m benchmarks.index_shards --work FOLDER --items 300000 --kind ivf``.

The vectors are those of `benchmarks.many_vectors`, a shard for each of its ten parts. Each command is a process of its own, whose seconds
of processor and peak memory are printed, with pages of files and without; then what a process holds that opens the index and asks 100
queries one by one, with the index in memory and mapped: memory of its own (anonymous), and pages of files, which the system may drop and
processes share.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.many_vectors import PARTS, WIDTH, make_parts

_LOOK_SECONDS = 0.02
_ASK = """
import sys, time
import numpy as np
from bertrec.retrieval.index import ItemIndex

def held():
    lines = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Rss"))
    return np.array([int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")])

ItemIndex.build(np.eye(2), ["a", "b"]).search(np.eye(2), 1)  # what is imported at first use
before = held()
index = ItemIndex.load(sys.argv[1], mmap=sys.argv[2] == "mapped")
opened = held() - before
queries = np.random.default_rng(1).normal(size=(100, index.dim)).astype(np.float32)
began = time.process_time()
total = sum(float(index.search(query[None], 10).scores.sum()) for query in queries)
spent = (time.process_time() - began) * 10
asked = held() - before
print(f"{sys.argv[2]}: opened {opened[0]:.0f} MiB own + {opened[1]:.0f} of files, asked {asked[0]:.0f} + {asked[1]:.0f}; "
      f"{spent:.2f} ms of processor a query, sum of scores {total:.4f}")
"""


def spent(*words: object) -> str:
    """Run a command and return what it took."""
    process = subprocess.Popen([sys.executable, "-m", "bertrec", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    own, ended = [0.0], 0
    while not ended:
        own.append(_own_mib(process.pid))
        time.sleep(_LOOK_SECONDS)
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"bertrec {' '.join(map(str, words))} failed")
    peak = f"peak {used.ru_maxrss / 1024:,.0f} MiB, of its own {max(own):,.0f}"
    return f"{used.ru_utime + used.ru_stime:.1f} s of processor, {peak}"


def _own_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    """Train, build, merge, search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--kind", default="ivf")
    given = parser.parse_args()
    parts, work = given.work / f"vectors-{given.items}", given.work / f"shards-{given.kind}-{given.items}"
    make_parts(parts, given.items)
    print(f"{given.items:,} x {WIDTH}, {given.kind}, {PARTS} shards", flush=True)
    print("train", spent("index", "train", parts, "--kind", given.kind, "--out", work / "trained", "--overwrite"), flush=True)
    for number, part in enumerate(sorted(parts.glob("*.parquet"))):
        took = spent("index", "build", part, "--like", work / "trained", "--out", work / f"shard-{number}", "--overwrite")
        print("shard", number, took, flush=True)
    shards = [work / f"shard-{number}" for number in range(PARTS)]
    for name, more in (("merge", []), ("merge on disk", ["--on-disk"])):
        print(name, spent("index", "merge", *shards, "--out", work / "whole", "--overwrite", *more), flush=True)
    for how in ("held", "mapped"):
        subprocess.run([sys.executable, "-c", _ASK, str(work / "whole"), how], check=True)


if __name__ == "__main__":
    main()

"""Memory and CPU seconds of reading, hashing and splitting Parquet of many interactions.

    python -m benchmarks.reading [--rows 100000 1000000 10000000 20000000] [--parts 8] [--ids text|number] [--folder F]
    python -m benchmarks.reading --rows 20000 200000 2000000 20000000 --parts 1 --write rows     # how it grows with interactions
    python -m benchmarks.reading --rows 1000000 --parts 1 10 100 1000 --write parts              # and with parts

Makes Parquet parts of generated interactions (20 a user; items by a long tail; a time, a rating and a column that nobody needs) and a
table of items, and loads them in a process of its own. Bytes are those that the kernel counts for the process, above what the imports
take, so that Arrow's and numpy's memory count. Seconds are CPU seconds of all threads, so that other work hardly matters. ``--write NAME``
keeps the points in ``benchmarks/results-scale/reading-NAME.json``, with the exponent of their growth: of the points that took more than
twice the smallest one's seconds, for below that the fixed part shows.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

RESULTS = Path(__file__).parent / "results-scale"
PER_USER = 20
MOST_ITEMS = 100_000
PLAN = "interactions: interactions/*.parquet\nitems: items.parquet\n"
WHOLE = "interactions: interactions.parquet\nitems: items.parquet\n"


def make(folder: Path, rows: int, parts: int, ids: str) -> None:
    """Write ``rows`` interactions in ``parts`` files (one file where ``parts`` is 1), and their items."""
    rng, users, items = np.random.default_rng(0), max(rows // PER_USER, 1), max(min(rows // PER_USER, MOST_ITEMS), 1)
    (folder / "interactions").mkdir(parents=True)
    for part, count in enumerate(np.diff(np.linspace(0, rows, parts + 1).astype(int)).tolist()):
        columns = {
            "user_id": named(rng.integers(users, size=count), "user", ids),
            "item_id": named((items * rng.random(count) ** 3).astype(np.int64), "item", ids),
            "timestamp": pa.array(rng.integers(1_600_000_000, 1_700_000_000, size=count)),
            "rating": pa.array(rng.integers(1, 6, size=count).astype(np.float32)),
            "device": named(rng.integers(1000, size=count), "device", "text"),
        }
        target = folder / "interactions.parquet" if parts == 1 else folder / "interactions" / f"part-{part:04d}.parquet"
        pq.write_table(pa.table(columns), target)
    all_items = np.arange(items)
    pq.write_table(
        pa.table({"item_id": named(all_items, "item", ids), "title": named(all_items, "title", "text")}), folder / "items.parquet"
    )
    (folder / "data.yaml").write_text(WHOLE if parts == 1 else PLAN)


def named(numbers: np.ndarray, kind: str, ids: str) -> pa.Array:
    """Return numbers as ids, ``[n]``."""
    if ids == "number":
        return pa.array(numbers)
    names = pa.array([f"{kind}-{number:08d}" for number in range(int(numbers.max()) + 1)])
    return names.take(pa.array(numbers))


def status(field: str) -> int:
    """Return a figure of this process, such as ``VmRSS``, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def released() -> int:
    """Return the bytes that the process holds once what is free was given back."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    return status("VmRSS")


def measure(data: Path) -> None:
    """Load in this process; print held and peak bytes, CPU seconds and the hash as JSON."""
    import bertrec
    from bertrec.data import splits  # noqa: F401 - part of the imports, not of loading

    bertrec.load  # noqa: B018 - the lazy names are looked up before the clock starts
    before, found = released(), {}
    Path("/proc/self/clear_refs").write_text("5")
    start, wall = time.process_time(), time.perf_counter()
    dataset = bertrec.load(data)
    found["load_cpu_s"], found["load_wall_s"] = time.process_time() - start, time.perf_counter() - wall
    found["peak_bytes"], found["held_bytes"] = status("VmHWM") - before, released() - before
    found["process_peak_bytes"] = status("VmHWM")
    start = time.process_time()
    found["hash"] = dataset.content_hash
    found["hash_cpu_s"] = time.process_time() - start
    start = time.process_time()
    split = bertrec.make_split(dataset)
    found["split_cpu_s"] = time.process_time() - start
    start = time.process_time()
    found["split_hash"] = split.content_hash
    found["split_hash_cpu_s"], found["all_peak_bytes"] = time.process_time() - start, status("VmHWM") - before
    print(json.dumps(found | {"rows": len(dataset.interactions)}))


def measured(rows: int, parts: int, ids: str, folder: Path) -> dict[str, object]:
    """Make the data where they are absent, and measure in a process of its own."""
    place = folder / f"{rows}-{parts}-{ids}"
    if not place.exists():
        make(place, rows, parts, ids)
    command = [sys.executable, "-m", "benchmarks.reading", "--measure", str(place / "data.yaml")]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {"parts": parts} | json.loads(run.stdout.splitlines()[-1])


def row(found: dict[str, object]) -> str:
    """Return a line of the table."""
    rows = found["rows"]
    memory = f"{found['held_bytes'] / rows:.0f} | {found['peak_bytes'] / rows:.0f} | {found['process_peak_bytes'] / 2**20:.0f}"
    seconds = " | ".join(f"{found[f'{name}_cpu_s']:.2f}" for name in ("load", "hash", "split", "split_hash"))
    return f"| {rows:,} | {found['parts']} | {memory} | {seconds} | {found['all_peak_bytes'] / rows:.0f} |"


def main() -> None:
    """Print a table, and the hashes below it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6, 10**7, 2 * 10**7])
    parser.add_argument("--parts", type=int, nargs="+", default=[8])
    parser.add_argument("--ids", choices=["text", "number"], default="text")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", metavar="NAME", help="keep the points, with the exponent over what varies")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.measure:
        return measure(said.measure)
    print("| rows | parts | B held | B peak | MiB process | load CPU s | hash | split | split's hash | B peak of all |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = said.folder or Path(temporary)
        every = [measured(rows, parts, said.ids, folder) for rows in said.rows for parts in said.parts]
    for found in every:
        print(row(found))
    for found in every:
        print(found["rows"], found["hash"][:16], found["split_hash"][:16])
    if said.write:
        from bertrec.core.files import write_json

        varies = "parts" if len(said.parts) > 1 else "rows"
        grown = growth(every, varies)
        write_json(RESULTS / f"reading-{said.write}.json", {"points": every, "over": varies, "exponent_of_cpu_seconds": grown})
        print(f"exponent over {varies}: {grown}")


def growth(every: list[dict[str, object]], varies: str) -> dict[str, object] | None:
    """Return the exponent of the CPU seconds of loading and splitting, of the points that show more than the fixed part."""
    from benchmarks.speed.scaling import fit_exponent

    seconds = [found["load_cpu_s"] + found["split_cpu_s"] for found in every]
    shown = [(found[varies], spent) for found, spent in zip(every, seconds, strict=True) if spent > 2 * min(seconds)]
    return vars(fit_exponent(*zip(*shown, strict=True))) if len(shown) > 1 else None


if __name__ == "__main__":
    main()

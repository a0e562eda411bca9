"""How fast `bertrec serve` answers at 100,000 items: seconds of one client, lists a second of several, and a reload in mid-load.

    python -m benchmarks.serve_load --work FOLDER

A run of random vectors is trained for one short epoch, served by a process of its own, and asked by clients in another process, all on the
same cores. Every list is of one user's history of the data (20 items), k = 10. While the last clients ask, the run is updated on the disk
(the price of one item), so that the service reads a new state and swaps it in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.files import write_json
from bertrec.core.machine import usable_cores

RESULTS = Path(__file__).parent / "results-serve" / "serve-load.json"
USERS, LENGTH, DIM, WIDTH = 2_000, 20, 64, 64
CLIENTS = (1, 2, 16, 100)


def make_run(work: Path, items: int, users: int = USERS, *, width: int = WIDTH, settings: Sequence[str] = ()) -> Path:
    """Write a shop of random vectors, and train on it for one epoch; a run that is there already is taken."""
    run, shop = work / (f"run-{items}" if width == WIDTH else f"run-{items}-{width}"), work / f"shop-{items}"
    if (run / "run.json").exists():
        return run
    shop.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    words = np.array(["".join(draw.choice(list("abdeiklmnorstu"), 6)) for _ in range(3000)])
    lines = ["item_id,title,brand,price,in_stock"]
    for row, picked in enumerate(draw.integers(0, len(words), (items, 4))):
        lines.append(f"i{row},{' '.join(words[picked])},brand{row % 500},{1 + row % 997},{'true' if row % 3 else 'false'}")
    (shop / "items.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    met = draw.integers(0, items, (users, LENGTH))
    rows = [f"u{user},i{item},{step}" for user, history in enumerate(met.tolist()) for step, item in enumerate(history)]
    (shop / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8")
    write_vectors(work / f"vectors-{items}.parquet", items, draw)
    options = ["--vectors", work / f"vectors-{items}.parquet", "--item-input", "text", "--epochs", "1", "--text-fields", "title"]
    given = [f"item.width={width}", "match.new_items=off", *settings]
    bertrec("train", shop, "--out", run, *options, *(word for one in given for word in ("--set", one)))
    return run


def write_vectors(path: Path, items: int, draw: np.random.Generator) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = draw.standard_normal((items, DIM), dtype=np.float32).reshape(-1)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), DIM)
    pq.write_table(pa.table({"item_id": [f"i{row}" for row in range(items)], "vector": vectors}), path)


def bertrec(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "bertrec", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


class Served:
    """A service in a process of its own."""

    def __init__(self, run: Path, *options: str) -> None:
        words = [sys.executable, "-m", "bertrec", "serve", str(run), "--port", "0", *options]
        self.log = (run.parent / "serve.log").open("w", encoding="utf-8")
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found is not None, f"the service did not start, it said: {line}"
        self.port = int(found[1])

    def stop(self) -> int:
        """End it as a service manager does, and return its exit code."""
        self.process.terminate()
        return self.process.wait(60)


async def client(port: int, bodies: list[tuple[str, bytes]], until: float, seconds: list[float], errors: Counter[str]) -> None:
    """Ask one thing after the other over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    at = 0
    while time.perf_counter() < until:
        path, body = bodies[at % len(bodies)]
        at += 1
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        began = time.perf_counter()
        writer.write(head.encode() + body)
        try:
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", answer)[1])  # type: ignore[index]  # our own service says its length
            said = await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            errors[type(error).__name__] += 1
            return
        seconds.append(time.perf_counter() - began)
        if not answer.startswith(b"HTTP/1.1 200") or b'"items":[{"rank":1' not in said:
            errors[answer[:12].decode() + said[:80].decode()] += 1
    writer.close()


async def load(port: int, clients: int, lasting: float, bodies: list[tuple[str, bytes]]) -> dict[str, Any]:
    seconds: list[float] = []
    errors: Counter[str] = Counter()
    began = time.perf_counter()
    parts = [bodies[number::clients] for number in range(clients)]
    await asyncio.gather(*(client(port, part, began + lasting, seconds, errors) for part in parts))
    took = time.perf_counter() - began
    p50, p95, p99 = (round(1000 * float(value), 2) for value in np.percentile(seconds, [50, 95, 99]))
    rate = round(len(seconds) / took, 1)
    return {
        "clients": clients,
        "requests": len(seconds),
        "per_second": rate,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "errors": dict(errors),
    }


def bodies_of(path: str, more: dict[str, Any]) -> list[tuple[str, bytes]]:
    draw = np.random.default_rng(1)
    if path == "/similar":
        return [(path, json.dumps({"item": f"i{item}", **more}).encode()) for item in draw.integers(0, 1000, 400)]
    return [(path, json.dumps({"user": f"u{user}", "k": 10, **more}).encode()) for user in draw.integers(0, USERS, 400)]


def asked(port: int, clients: int, lasting: float, path: str = "/recommend", more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask from another process, so that clients and service do not share an interpreter."""
    words = [sys.executable, "-m", "benchmarks.serve_load", "--ask", str(port), str(clients), str(lasting), path, json.dumps(more or {})]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def change_price(run: Path) -> None:
    """Bring the run to another state, as a shop does with today's prices."""
    table = run.parent / "price.csv"
    before = json.loads((run / "run.json").read_text(encoding="utf-8")).get("updates", [])
    table.write_text(f"item_id,title,price\ni0,{title_of(run)},{5000 + len(before)}\n", encoding="utf-8")
    bertrec("catalog", "update", run, "--items", table, "--delta")


def title_of(run: Path) -> str:
    from bertrec.data.catalog import ItemCatalog

    return ItemCatalog.load(run / "model").titles[0]


def measured(run: Path, lasting: float, options: list[str]) -> dict[str, Any]:
    served = Served(run, *options)
    try:
        asked(served.port, 1, 2)
        rows = [asked(served.port, clients, lasting) | {"asked": "/recommend"} for clients in CLIENTS]
        for name, path, more in (
            ("/recommend, a filter", "/recommend", {"filter": "price < 500 and in_stock"}),
            ("/recommend, diversity", "/recommend", {"diversity": 0.3, "at_most": {"brand": 2}}),
            ("/recommend, why", "/recommend", {"why": True}),
            ("/similar", "/similar", {}),
        ):
            rows.append(asked(served.port, 1, lasting / 2, path, more) | {"asked": name})
        rows.append(with_reload(served.port, run, max(60.0, 3 * lasting)) | {"asked": "/recommend, a reload in between"})
    finally:
        code = served.stop()
    return {"rows": rows, "exit_code": code}


def with_reload(port: int, run: Path, lasting: float) -> dict[str, Any]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(asked, port, 100, lasting)
        time.sleep(lasting / 6)
        change_price(run)
        result = found.result()
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        reloads = re.search(r"^bertrec_reloads (\d+)", answer.read().decode(), re.M)
    return result | {"reloads": int(reloads[1]) if reloads else 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ask", nargs=5, metavar=("PORT", "CLIENTS", "SECONDS", "PATH", "MORE"), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, default=Path("serve-load"), help="where run and data lie")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--index", choices=["flat", "hnsw", "ivf"], help="search an index of this kind")
    parser.add_argument("--workers", type=int, help="threads that make lists")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.ask:
        port, clients, seconds, path, more = given.ask
        print(json.dumps(asyncio.run(load(int(port), int(clients), float(seconds), bodies_of(path, json.loads(more))))))
        return
    run = make_run(given.work, given.items)
    options = [] if given.workers is None else ["--workers", str(given.workers)]
    if given.index is not None:
        place = given.work / f"index-{given.items}-{given.index}"
        bertrec("index", "build", run, "--out", place, "--kind", given.index, "--overwrite")
        options += ["--index", str(place)]
    found = {"items": given.items, "cores": usable_cores(), "index": given.index, **measured(run, given.seconds, options)}
    for row in found["rows"]:
        print(row)
    write_json(given.out, found)


if __name__ == "__main__":
    main()

"""Recall@10 against queries per second of HNSW and IVF-PQ with refinement, on item vectors with noise and on Gaussian vectors.

``python -m benchmarks.speed.index_curves --vectors V.npy --folder WORK`` builds what is not there yet under WORK (an index is saved when it
is built, a measured point when it is measured, so that a stopped run goes on where it was) and writes ``index-curves.json``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.speed.machine import machine
from bertrec.core.files import read_json, write_json
from bertrec.retrieval import engine
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.recall import recall_each

Vectors = npt.NDArray[np.float32]
WIDTH, K = 64, 10
SETS = ("around-items", "gaussian")
BUILDS: dict[str, dict[str, Any]] = {
    "flat": {"kind": "flat"},
    "hnsw": {"kind": "hnsw", "hnsw_links": 32, "ef_construction": 100},
    "ivfpq": {"kind": "ivfpq", "nlist": 4096, "pq_parts": 16, "refine": True, "refine_factor": 8},
}
SWEEPS: dict[str, list[dict[str, int]]] = {
    "flat": [{}],  # FAISS's own IndexFlatIP, which the ratios refer to
    "scan": [{}],  # how `ItemIndex` searches a flat index for many queries on a CPU
    "hnsw": [{"ef_search": size} for size in (16, 32, 64, 128, 256, 512, 1024)],
    "ivfpq": [{"nprobe": lists, "refine_factor": factor} for factor in (4, 8, 16) for lists in (4, 8, 16, 32, 64, 128, 256)],
}


def item_vectors(path: Path) -> Vectors:
    """Return real vectors ``[n, 64]``: those of the file, cut to their first 64 principal components where they are wider."""
    vectors = np.load(path).astype(np.float32)
    if vectors.shape[1] <= WIDTH:
        return np.asarray(vectors)
    centred = vectors - vectors.mean(axis=0)
    components = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :WIDTH]
    return np.asarray(centred @ components, np.float32)


def around(real: Vectors, count: int, seed: int) -> tuple[Vectors, float]:
    """Draw vectors around real ones, with Gaussian noise of half their median distance to the nearest other one; return both."""
    generator = np.random.default_rng(seed)
    some = real[generator.permutation(len(real))[:1000]]
    squared = (some**2).sum(axis=1)[:, None] - 2 * some @ real.T + (real**2).sum(axis=1)
    nearest = float(np.median(np.sqrt(np.maximum(np.partition(squared, 1, axis=1)[:, 1], 0))))
    noise = generator.standard_normal((count, WIDTH), np.float32) * np.float32(nearest / 2 / np.sqrt(WIDTH))
    return real[generator.integers(0, len(real), count)] + noise, nearest / 2


def data_sets(real: Vectors, count: int, queries: int) -> Iterator[tuple[str, Vectors, Vectors, dict[str, Any]]]:
    """Yield name, vectors, queries drawn alike, and what must be known of them."""
    together, noise = around(real, count + queries, seed=0)
    yield "around-items", together[:count], together[count:], {"noise_length": noise, "real_items": len(real)}
    drawn = np.random.default_rng(0).standard_normal((count + queries, WIDTH), np.float32)
    yield "gaussian", drawn[:count], drawn[count:], {}


def built(folder: Path, vectors: Vectors, kind: str) -> ItemIndex:
    """Return the index of a kind, from the folder where it is there."""
    if folder.is_dir():
        return ItemIndex.load(folder, verify=False)
    options = dict(BUILDS[kind])
    if "nlist" in options:
        options["nlist"] = min(options["nlist"], max(1, len(vectors) // 39))
    started = time.perf_counter()
    index = ItemIndex.build(vectors, range(len(vectors)), **options)
    seconds = time.perf_counter() - started
    index.save(folder)
    write_json(folder.with_suffix(".build.json"), {"seconds": seconds, "threads": engine.import_faiss().omp_get_max_threads()})
    return index


def measured(
    index: ItemIndex, settings: dict[str, int], queries: Vectors, true: Any, rounds: int, plain: Vectors | None = None
) -> dict[str, Any]:
    """Return recall, and queries per second of the median round, of one call for all queries; ``plain`` ones go to FAISS itself."""
    tuned = index.searched_with(**settings) if settings else index
    found = tuned.search(queries, K)
    search: Callable[[Vectors, int], Any] = tuned.search
    if plain is not None:
        flat = engine.import_faiss().IndexFlatIP(WIDTH)
        flat.add(plain)
        search = flat.search
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        search(queries, K)
        taken.append(time.perf_counter() - started)
    return {**settings, "recall": float(recall_each(found, true).mean()), "queries_per_second": len(queries) / float(np.median(taken))}


def curves(
    real: Vectors, folder: Path, *, sets: Sequence[str], count: int, queries: int, threads: tuple[int, ...], rounds: int
) -> list[dict[str, Any]]:
    """Return all points, those that were measured before among them."""
    import torch

    points: list[dict[str, Any]] = []
    for name, vectors, asked, about in data_sets(real, count, queries):
        if name not in sets:
            continue
        true = None
        for kind in SWEEPS:
            build = "flat" if kind == "scan" else kind
            index = None
            for used in threads:
                for number, settings in enumerate(SWEEPS[kind]):
                    kept = folder / "points" / f"{name}-{count}-{kind}-{used}-{number}.json"
                    if not kept.is_file():
                        index = index or built(folder / f"{name}-{count}-{build}", vectors, build)
                        true = true or index.search(asked, K, exact=True)
                        engine.import_faiss().omp_set_num_threads(used)
                        torch.set_num_threads(used)
                        point = measured(index, settings, asked, true, rounds, vectors if kind == "flat" else None)
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        write_json(kept, {"data": name, "items": count, "kind": kind, "threads": used, **about, **point})
                    points.append(read_json(kept))
                    print(points[-1], flush=True)
                engine.import_faiss().omp_set_num_threads(os.cpu_count() or 1)
    return points


def with_ratios(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to each point how many times the flat index's queries per second it makes, on the same data and threads."""
    flat = {(p["data"], p["threads"]): p["queries_per_second"] for p in points if p["kind"] == "flat"}
    return [{**p, "times_flat": p["queries_per_second"] / flat[p["data"], p["threads"]]} for p in points]


def main() -> None:
    """Build, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True, help="a .npy file of real item vectors [n, d]")
    parser.add_argument("--folder", type=Path, required=True, help="where indexes and points are kept")
    parser.add_argument("--about", default="", help="what the vectors are; stands in the JSON")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="which vectors")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results-speed/index-curves.json"))
    given = parser.parse_args()
    points = curves(
        item_vectors(given.vectors),
        given.folder,
        sets=given.sets,
        count=given.items,
        queries=given.queries,
        threads=tuple(given.threads),
        rounds=given.rounds,
    )
    given.out.parent.mkdir(parents=True, exist_ok=True)
    builds = {path.name.removesuffix(".build.json"): read_json(path) for path in sorted(given.folder.glob("*.build.json"))}
    write_json(
        given.out, {"vectors": given.about, "machine": machine(max(given.threads)), "k": K, "builds": builds, "points": with_ratios(points)}
    )


if __name__ == "__main__":
    main()

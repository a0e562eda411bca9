"""An index of many made-up vectors, from Parquet parts: ``python -m benchmarks.many_vectors --work FOLDER --items 1000000 --kind ivfpq``.

Vectors are of 5,000 Gaussian clusters, width 64, ten parts; the build is ``bertrec index build PARTS --kind KIND`` in a process of its own,
whose seconds, processor seconds and peak memory are printed after what it says.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from bertrec.runs.vectors import vector_schema, write_vectors

WIDTH, CLUSTERS, PARTS = 64, 5_000, 10


def make_parts(folder: Path, items: int) -> None:
    """Write the vectors, where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    draw, each = np.random.default_rng(0), items // PARTS
    centres = draw.normal(size=(CLUSTERS, WIDTH)).astype(np.float32)
    for part in range(PARTS):
        vectors = centres[draw.integers(0, CLUSTERS, each)] + draw.standard_normal((each, WIDTH), dtype=np.float32)
        ids = [f"item{row}" for row in range(part * each, part * each + each)]
        target = folder / f"part-{part:05d}.parquet"
        if not target.exists():
            write_vectors(target, [(ids, vectors)], vector_schema(WIDTH, whole=False), model_hash="made-up", what="items")


def main() -> None:
    """Make the parts, build and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--kind", default="ivfpq")
    given = parser.parse_args()
    parts = given.work / f"vectors-{given.items}"
    make_parts(parts, given.items)
    out = given.work / f"{given.kind}-{given.items}"
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bertrec", "index", "build", str(parts), "--out", str(out), "--kind", given.kind, "--overwrite"], check=True
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = (
        f"{time.perf_counter() - began:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of processor, peak {used.ru_maxrss / 1024:,.0f} MiB"
    )
    print(f"{given.items:,} x {WIDTH}, {given.kind}: {spent}")


if __name__ == "__main__":
    main()

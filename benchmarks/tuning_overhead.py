"""Memory and overhead of many trials in one process, on a small generated data set.

    python benchmarks/tuning_overhead.py [--trials 200]

Prints the peak memory after some of the trials, and the seconds of a trial beyond its training epochs. Writes
``benchmarks/results-tuning/overhead.json``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bertrec.core.files import write_json
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import Split, leave_one_out
from bertrec.tuning.run import tune

RESULT = Path(__file__).parent / "results-tuning" / "overhead.json"
USERS = ITEMS = 300
SMALL = {"train.epochs": 1, "item.width": 32, "head.layers": 1}


def generated() -> Split:
    generator = np.random.default_rng(0)
    catalog = ItemCatalog(IdMap(range(ITEMS)), {"title": [f"thing {k}" for k in range(ITEMS)]}, None)
    rows = [1 + (generator.integers(ITEMS) + np.arange(12)) % ITEMS for _ in range(USERS)]
    return leave_one_out(Interactions(catalog, IdMap(range(USERS)), Ragged.from_rows(rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    trials = parser.parse_args().trials
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        space = {"head.dropout": {"float": [0.0, 0.5]}}
        study = tune(generated(), "idrec", space, folder=Path(folder) / "study", settings=SMALL, trials=trials, pruner="none")
        notes = [trial.user_attrs for trial in study.trials]
    seconds = [note["overhead_seconds"] for note in notes]
    memory = [note["peak_mib"] for note in notes]
    record = {
        "trials": len(notes),
        "peak_mib": {str(n): round(memory[n - 1]) for n in (1, 10, 50, 100, 150, 200) if n <= trials},
        "overhead_seconds": {"first": seconds[0], "median_of_the_rest": float(np.median(seconds[1:])), "max_of_the_rest": max(seconds[1:])},
        "seconds": time.perf_counter() - started,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    write_json(RESULT, record)
    print(record)


if __name__ == "__main__":
    main()

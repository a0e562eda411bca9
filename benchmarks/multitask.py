"""Multi-task ranking on MovieLens: watched among sampled films, rated, liked, as one chain and one by one.

    nice python -m benchmarks.multitask --data DATA_FOLDER/ml-latest-small --seeds 0 1 2
    nice python -m benchmarks.multitask --data DATA_FOLDER/ml-latest-small --seeds 0 --users 40 --epochs 1 --label small
    python -m benchmarks.multitask --table

Global time split 80/10/10; a film that a user met in the last part stands beside four that they never met. ``chain``
learns all steps at once, ``watched`` and ``liked`` are the same network with the other weights at 0, and ``similarity``
is the untrained one. Whoever watched a film here rated it, so that the step rated is certain: the chain has to say so.
A row that exists is not made again. Results: ``benchmarks/results-rankers``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import bertrec
from bertrec.core.files import read_json, write_json
from bertrec.data.chain import chain_from_ratings
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.evaluation.label_intervals import auc_interval
from bertrec.evaluation.protocol import versions
from bertrec.rankers.multitask.ranker import OF_RATINGS, MultiTask

RESULTS = Path(__file__).parent / "results-rankers"
WEIGHTS = {"chain": (1, 1, 1), "watched": (1, 0, 0), "liked": (0, 0, 1), "similarity": (1, 1, 1)}
UNTRAINED = {"train.learning_rate": 1e-12, "train.epochs": 1}
SHARE = 0.1


def main() -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--users", type=int, help="only the first so many, to try it out")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--label", default="ml-latest-small", help="begins the names of the rows")
    parser.add_argument("--encoder", default="minilm", help="an encoder, such as one that bertrec encoder adapt made")
    parser.add_argument("--table", action="store_true", help="print what there is")
    options = parser.parse_args()
    if options.table:
        return table()
    parts = parts_of(bertrec.load(options.data).interactions, options.users)
    for seed in options.seeds:
        for name in WEIGHTS:
            path = RESULTS / f"{options.label}-multitask-{name}-{seed}.json"
            if not path.exists():
                about = {"data": options.label, "name": name, "seed": seed}
                write_json(path, about | row_of(name, seed, parts, options))
                print(f"wrote {path}")


def parts_of(interactions: Interactions, users: int | None) -> list[Impressions]:
    """Return training, validation and test part by one clock, with levels.

    A training negative may be an item that its user meets later: it is drawn from the past alone, as levels are.
    """
    if users is not None:
        interactions = interactions.where(interactions.sequences.rows < users)
    times = interactions.timestamp
    assert times is not None
    edges = np.quantile(times, [1 - 2 * SHARE, 1 - SHARE])
    past, whole = chain_from_ratings(interactions.where(times < edges[0])), chain_from_ratings(interactions)
    assert whole.timestamp is not None
    of = np.searchsorted(edges, whole.timestamp, side="right")  # histories hold what was met before, whatever the part
    return [past, *(whole.take(np.flatnonzero(of == number)) for number in (1, 2))]


def row_of(name: str, seed: int, parts: list[Impressions], options: argparse.Namespace) -> dict[str, Any]:
    """Train and measure one row."""
    learned, chosen_on, shown = parts
    settings: dict[str, Any] = {"tasks": OF_RATINGS, "weights": WEIGHTS[name], "encoder.name": options.encoder}
    settings |= {
        "train.epochs": options.epochs,
        "train.batch_size": 256,
        "task": "watched" if name == "watched" else "liked",
    }
    settings |= UNTRAINED if name == "similarity" else {}
    started = time.process_time()
    model = MultiTask.configured(settings=settings, seed=seed).fit(learned, validation=chosen_on)
    seconds = time.process_time() - started
    return {
        "settings": settings,
        "cpu_seconds": seconds,
        "impressions": [len(part) for part in parts],
        "figures": model.figures(shown),
        "intervals": intervals(model, shown),
        "versions": versions(),
    }


def intervals(model: MultiTask, shown: Impressions) -> dict[str, tuple[float, float]]:
    """Return the interval of each task's AUC that has one, users resampled."""
    chances, levels = model.score_tasks(shown.histories, shown.candidates), shown.levels
    assert levels is not None
    owners = np.unique(shown.users, return_inverse=True)[1][shown.candidates.rows]
    taken = [(levels > place).astype(np.int8) for place in range(len(model.tasks))]
    return {task: auc_interval(chances[:, place], taken[place], owners) for place, task in enumerate(model.tasks)}


def table() -> None:
    """Print AUC and logloss of each task, the mean over seeds."""
    rows = [read_json(path) for path in sorted(RESULTS.glob("*-multitask-*.json"))]
    for data, name in sorted({(row["data"], row["name"]) for row in rows}):
        own = [row["figures"] for row in rows if (row["data"], row["name"]) == (data, name)]
        words = [f"{key} {np.mean([figures[key] for figures in own]):.4f}" for key in own[0] if " " in key]
        print(f"{data} {name} ({len(own)} seeds): {', '.join(words)}")


if __name__ == "__main__":
    main()

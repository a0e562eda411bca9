"""Multi-task ranking on MovieLens: watched among sampled films, rated, liked, as one chain and one by one.

    nice python -m benchmarks.multitask --data DATA_FOLDER/ml-latest-small --seeds 0 1 2
    nice python -m benchmarks.multitask --data DATA_FOLDER/ml-latest-small --seeds 0 --users 40 --epochs 1 --label small
    python -m benchmarks.multitask --table
    python -m benchmarks.multitask --differences --data DATA_FOLDER/ml-latest-small --seeds 0 1 2

Global time split 80/10/10; a film that a user met in the last part stands beside four that they never met. ``chain``
learns all steps at once, ``watched`` and ``liked`` are the same network with the other weights at 0, and ``similarity``
is the untrained one. Whoever watched a film here rated it, so that the step rated is certain: the chain has to say so.
Results: ``benchmarks/results-rankers``; the scores of each pair, which the paired differences need:
``runs/benchmarks``. A row is made again where one of the two is missing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import bertrec
from bertrec.core.files import read_json, write_json
from bertrec.data.chain import chain_from_ratings
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.evaluation.label_intervals import auc_difference, auc_interval
from bertrec.evaluation.protocol import versions
from bertrec.rankers.multitask.ranker import OF_RATINGS, MultiTask

RESULTS = Path(__file__).parent / "results-rankers"
SCORES = Path("runs") / "benchmarks"
WEIGHTS = {"chain": (1, 1, 1), "watched": (1, 0, 0), "liked": (0, 0, 1), "similarity": (1, 1, 1)}
UNTRAINED = {"train.learning_rate": 1e-12, "train.epochs": 1}
SHARE = 0.1
COMPARED = {"liked": ("chain", "liked"), "watched": ("chain", "watched")}
"""By the label that is asked for: the two rows that are compared."""


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
    parser.add_argument("--differences", action="store_true", help="compare the rows that there are, pair by pair")
    options = parser.parse_args()
    if options.table:
        return table()
    parts = parts_of(bertrec.load(options.data).interactions, options.users)
    if options.differences:
        return differences(options.label, options.seeds, parts[-1])
    for seed in options.seeds:
        for name in WEIGHTS:
            path = RESULTS / f"{options.label}-multitask-{name}-{seed}.json"
            if not (path.exists() and _scores(path).exists()):
                about = {"data": options.label, "name": name, "seed": seed}
                write_json(path, about | row_of(name, seed, parts, options, _scores(path)))
                print(f"wrote {path}", flush=True)


def _scores(row: Path) -> Path:
    return SCORES / f"{row.stem}.npy"


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


def row_of(name: str, seed: int, parts: list[Impressions], options: argparse.Namespace, scores: Path) -> dict[str, Any]:
    """Train and measure one row, and write the chances of each task and pair of the test part."""
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
    chances = model.score_tasks(shown.histories, shown.candidates)
    scores.parent.mkdir(parents=True, exist_ok=True)
    np.save(scores, np.asarray(chances, np.float32))
    return {
        "settings": settings,
        "cpu_seconds": seconds,
        "impressions": [len(part) for part in parts],
        "figures": model.figures(shown),
        "intervals": intervals(model.tasks, chances, shown),
        "versions": versions(),
    }


def intervals(tasks: Sequence[str], chances: np.ndarray[Any, Any], shown: Impressions) -> dict[str, tuple[float, float]]:
    """Return the interval of each task's AUC that has one, users resampled."""
    return {task: auc_interval(chances[:, place], *_labels(shown, place)) for place, task in enumerate(tasks)}


def differences(label: str, seeds: Sequence[int], shown: Impressions) -> None:
    """Compare the chain with what learned one label alone: AUC of chances averaged over seeds, users resampled."""
    found: dict[str, Any] = {"seeds": list(seeds)}
    for task, names in COMPARED.items():
        place = OF_RATINGS.index(task)
        rows = [[np.load(_scores(Path(f"{label}-multitask-{name}-{seed}.json")))[:, place] for seed in seeds] for name in names]
        result = auc_difference(*(np.mean(row, axis=0) for row in rows), *_labels(shown, place), resamples=2000)
        found[task] = {"names": names, **asdict(result)}
        low, high = result.ci95
        print(f"{task}: {names[0]} {result.auc_a:.4f}, {names[1]} {result.auc_b:.4f}, {result.difference:+.4f} [{low:+.4f}, {high:+.4f}]")
    write_json(RESULTS / f"{label}-multitask-differences.json", found)


def _labels(shown: Impressions, place: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return which pairs have the label of a task, and each pair's user."""
    assert shown.levels is not None
    return (shown.levels > place).astype(np.int8), np.unique(shown.users, return_inverse=True)[1][shown.candidates.rows]


def table() -> None:
    """Print AUC and logloss of each task, the mean over seeds."""
    rows = [read_json(path) for path in sorted(RESULTS.glob("*-multitask-*-[0-9].json"))]
    for data, name in sorted({(row["data"], row["name"]) for row in rows}):
        own = [row["figures"] for row in rows if (row["data"], row["name"]) == (data, name)]
        words = [f"{key} {np.mean([figures[key] for figures in own]):.4f}" for key in own[0] if " " in key]
        print(f"{data} {name} ({len(own)} seeds): {', '.join(words)}")


if __name__ == "__main__":
    main()

"""CTR models on ml-100k: din, dcn, and ctrl with either tower; what the alignment with texts adds, and how fast each serves.

    python -m benchmarks.ctr --seeds 0 1 2
    OMP_NUM_THREADS=1 python -m benchmarks.ctr --speed

As ``bertrec rankers train ml-100k --ranker NAME --pairs ratings --seed SEED`` and ``bertrec rankers evaluate`` do it: liked from 4,
the first 80 % of time trains, the next 10 % chooses the epoch, the last 10 % is measured. The speed is that of random rows over
ml-100k's items, in pairs per second of processor time, which others on the machine do not change much. Results:
``benchmarks/results-rankers``; runs are kept under ``runs/ctr``, and one that is there is not trained again.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bertrec.cli.options import read_settings
from bertrec.core.files import write_json
from bertrec.core.ragged import Ragged
from bertrec.data.load import Dataset, load
from bertrec.evaluation.label_intervals import auc_difference
from bertrec.evaluation.protocol import versions
from bertrec.rankers import Context, Known
from bertrec.rankers.base import labels_of
from bertrec.rankers.pair_runs import JudgedPairs, measure_pairs, rated_pairs
from bertrec.rankers.runs import RATINGS, RECORD, TOGETHER, RankerPlan, open_rankers, train_rankers

DATA = "ml-100k"
RESULTS = Path(__file__).parent / "results-rankers"
KEPT = Path("runs") / "ctr"
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "din": ("din", {}),
    "dcn": ("dcn", {}),
    "ctrl-din": ("ctrl", {"tower": "din"}),
    "ctrl-dcn": ("ctrl", {"tower": "dcn"}),
}
PAIRS = (("ctrl-din", "din"), ("ctrl-dcn", "dcn"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--encoder", default="minilm", help="read by ctrl's alignment")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings, such as train.epochs=1; align.* are of ctrl")
    parser.add_argument("--speed", action="store_true", help="measure the speed alone")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    dataset = load(DATA)
    if options.speed:
        write_json(options.results / "ctr-speed.json", {"machine": _machine(), "pairs_per_cpu_second": _speeds(dataset, options)})
        return
    scores = {(name, seed): _scores(name, seed, dataset, options) for seed in options.seeds for name in options.models}
    _compare(scores, options, rated_pairs(dataset, "test"))


def _plan(name: str, seed: int, options: argparse.Namespace, **more: Any) -> RankerPlan:
    ranker, own = MODELS[name]
    settings = {**own, **read_settings(None, options.set), **more}
    if ranker == "ctrl":
        settings["encoder.name"] = options.encoder
    else:
        settings = {key: value for key, value in settings.items() if not key.startswith("align.")}
    return RankerPlan(ranker, settings, seed=seed, pairs=RATINGS)


def _scores(name: str, seed: int, dataset: Dataset, options: argparse.Namespace) -> Any:
    """Return the test pairs' probabilities, after the run's figures were written."""
    folder = KEPT / (f"{name}-{seed}" if not options.set else "tried")
    seconds = None
    if options.set or not (folder / RECORD).exists():
        began = time.process_time()
        about = {"data": DATA, "load": {}}
        train_rankers(dataset, _plan(name, seed, options), folder, about=about, overwrite=True, say=lambda line: print(line, flush=True))
        seconds = round(time.process_time() - began, 1)
    ensemble, (record,) = open_rankers(folder)
    judged, known = rated_pairs(dataset, "test", record=record["pairs"]), Known.of(dataset)
    report = measure_pairs(ensemble, judged, [None], known=known).reports[TOGETHER]
    about = {"name": name, "seed": seed, "settings": options.set, "fit_cpu_seconds": seconds, "machine": _machine()}
    write_json(options.results / f"ctr-{name}-{seed}.json", {**about, **report.to_json()})
    means = {metric: round(value.mean, 4) for metric, value in report.slices["all"].metrics.items()}
    print(name, seed, means, flush=True)
    return ensemble.score_impressions(judged.impressions, known=known)


def _compare(scores: dict[tuple[str, int], Any], options: argparse.Namespace, judged: JudgedPairs) -> None:
    """Compare ctrl with its tower without alignment: each seed, and the mean over seeds of each pair's probability."""
    assert judged.item_counts is not None
    assert judged.trained_users is not None
    labels, users = labels_of(judged.impressions), np.asarray([str(user) for user in judged.users])
    warm = (judged.item_counts[judged.impressions.candidates.values] > 0) & [user in judged.trained_users for user in judged.users]
    seeds, out = options.seeds, {}
    for one, other in [pair for pair in PAIRS if set(pair) <= set(options.models)]:
        for which in [[seed] for seed in seeds] + ([seeds] if len(seeds) > 1 else []):
            a, b = (np.mean([scores[name, seed] for seed in which], axis=0) for name in (one, other))
            for part, at in (("all", np.ones_like(warm)), ("warm_pairs", warm)):
                owners = np.unique(users[at], return_inverse=True)[1]
                result = auc_difference(a[at], b[at], labels[at], owners, resamples=2000)
                label = f"{one} - {other}, {part}, seeds {' '.join(map(str, which))}"
                out[label] = asdict(result)
                print(label, f"{result.difference:+.4f} [{result.ci95[0]:+.4f}, {result.ci95[1]:+.4f}]", flush=True)
    about = {"seeds": seeds, "scores": "probabilities; of several seeds their mean"}
    write_json(options.results / "ctr-pairs.json", {**about, "comparisons": out})


def _machine() -> dict[str, Any]:
    return {"threads": torch.get_num_threads(), "versions": versions()}


def _speeds(dataset: Dataset, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return pairs per second of processor time: histories of 50 with a candidate each, and with 100."""
    known, few = Known.of(dataset), rated_pairs(dataset, "train").impressions.take(np.arange(200))
    draw = np.random.default_rng(0)
    out: dict[str, dict[str, float]] = {}
    for name in options.models:
        plan = _plan(name, 0, options, **{"train.epochs": 1, "align.epochs": 1})
        ranker = plan.configured().fit(few, known=known, progress=False)
        out[name] = {}
        for shape, rows, width in (("one candidate", 20_000, 1), ("100 candidates", 500, 100)):
            histories, candidates = (Ragged.from_rows(draw.integers(1, 1683, (rows, length))) for length in (50, width))
            users = [str(user) for user in draw.integers(1, 944, rows)]
            context = Context(users, draw.uniform(8.75e8, 8.93e8, rows), known)
            ranker.score(histories.slice(0, 10), candidates.slice(0, 10), context=context.take(range(10)))  # what is made once
            began = time.process_time()
            ranker.score(histories, candidates, context=context)
            out[name][shape] = round(rows * width / (time.process_time() - began))
        print(name, out[name], flush=True)
    return out


if __name__ == "__main__":
    main()

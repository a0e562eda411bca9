"""CTR models on ml-100k: din, dcn, and ctrl with either tower; what the alignment with texts adds, and how fast each serves.

    python benchmarks/ctr.py --seeds 0 1 2
    OMP_NUM_THREADS=1 python benchmarks/ctr.py --speed

Liked from 4. Global time split: the first 80 % of time trains, the next 10 % chooses the epoch, the last 10 % is measured. The history of a
pair is what its user had liked before that moment, test period included, and so are the counts. A pair is warm where its user and its item
have three training ratings or more. The speed is that of random rows over ml-100k's items, in pairs per second of processor time, which
others on the machine do not change much. Results: ``benchmarks/results-rankers``; the score of every pair, which the paired intervals over
several seeds need, is kept under ``runs/ctr``, and a model that is there is not trained again.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import log_loss

import bertrec
from bertrec.core.files import write_json
from bertrec.core.ragged import Ragged
from bertrec.data.impressions import Impressions
from bertrec.data.ratings import impressions_from_ratings
from bertrec.evaluation.label_intervals import auc_difference, auc_interval
from bertrec.evaluation.labels import auc, user_auc
from bertrec.evaluation.protocol import versions
from bertrec.rankers import RANKERS, Context, Known

RESULTS = Path(__file__).parent / "results-rankers"
KEPT = Path("runs") / "ctr"
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "din": ("din", {}),
    "dcn": ("dcn", {}),
    "ctrl-din": ("ctrl", {"tower": "din"}),
    "ctrl-dcn": ("ctrl", {"tower": "dcn"}),
}
PAIRS = (("ctrl-din", "din"), ("ctrl-dcn", "dcn"))
LIKED_FROM, WARM_FROM = 4.0, 3
Slices = dict[str, np.ndarray[Any, np.dtype[np.bool_]]]
Parts = tuple[Impressions, Impressions, Impressions, Known, Slices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--encoder", default="minilm", help="read by ctrl's alignment")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings, such as train.epochs=1; align.* are of ctrl")
    parser.add_argument("--speed", action="store_true", help="measure the speed alone")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in options.set)
    parts = split()
    print({"train": len(parts[0].candidates.values), "validation": len(parts[1].candidates.values)}, flush=True)
    print({name: int(found.sum()) for name, found in parts[4].items()}, flush=True)
    if options.speed:
        write_json(options.results / "ctr-speed.json", {"machine": _machine(), "pairs_per_cpu_second": _speeds(parts, options)})
        return
    scores = {(name, seed): _scores(name, seed, parts, settings, options) for seed in options.seeds for name in options.models}
    _compare(scores, options.models, options.seeds, parts, options.results)


def split() -> Parts:
    """Return the training, validation and test part, what is known beside them, and which test pairs are warm and cold."""
    ratings = bertrec.load("ml-100k").interactions
    assert ratings.timestamp is not None
    first, second = np.quantile(ratings.timestamp, [0.8, 0.9])
    shown = impressions_from_ratings(ratings, liked_from=LIKED_FROM)
    at = shown.timestamp
    assert at is not None
    train, validation, test = (shown.take(np.flatnonzero(part)) for part in (at < first, (at >= first) & (at < second), at >= second))
    past = ratings.where(ratings.timestamp < first)
    users = ratings.users.encode(test.users) - 1
    warm = (past.sequences.lengths >= WARM_FROM)[users[test.candidates.rows]] & (past.item_counts[test.candidates.values] >= WARM_FROM)
    return train, validation, test, Known(past=ratings), {"all": np.ones(len(warm), bool), "warm": warm, "cold": ~warm}


def _made(name: str, seed: int, settings: dict[str, Any], encoder: str) -> Any:
    ranker, own = MODELS[name]
    if ranker == "ctrl":
        own = {**own, "encoder.name": encoder}
    else:
        settings = {name: value for name, value in settings.items() if not name.startswith("align.")}
    return RANKERS.find(ranker).configured(settings={**own, **settings}, seed=seed)


def _scores(name: str, seed: int, parts: Parts, settings: dict[str, Any], options: argparse.Namespace) -> Any:
    """Return the test pairs' probabilities; they are kept where the settings are the defaults."""
    train, validation, test, known, slices = parts
    kept = KEPT / f"{name}-{seed}.npy"
    if kept.exists() and not settings:
        return np.load(kept)
    began = time.process_time()
    ranker = _made(name, seed, settings, options.encoder).fit(train, validation=validation, known=known, progress=False)
    seconds = time.process_time() - began
    found = ranker.score_impressions(test, known=known)
    figures = {slice_: _figures(found[at], at, test) for slice_, at in slices.items() if at.any()}
    print(name, seed, f"{seconds:.0f} CPU s", {slice_: _shown(one) for slice_, one in figures.items()}, flush=True)
    epochs = len(ranker.train_log.epochs) if ranker.train_log else 0
    about = {"name": name, "seed": seed, "settings": settings, "epochs": epochs, "fit_cpu_seconds": round(seconds, 1)}
    write_json(options.results / f"ctr-{name}-{seed}.json", {**about, "machine": _machine(), "figures": figures})
    if not settings:
        KEPT.mkdir(parents=True, exist_ok=True)
        np.save(kept, found)
    return found


def _owners(test: Impressions) -> Any:
    return np.unique(np.asarray([str(user) for user in test.users]), return_inverse=True)[1][test.candidates.rows]


def _figures(scores: Any, at: Any, test: Impressions) -> dict[str, Any]:
    assert test.labels is not None
    labels, rows = test.labels[at], _owners(test)[at]
    each = user_auc(scores, labels, rows, int(rows.max()) + 1)
    return {
        "pairs": len(labels),
        "positive": float(labels.mean()),
        "AUC": {"mean": auc(scores, labels), "ci95": auc_interval(scores, labels, rows)},
        "UAUC": {"mean": each.mean, "users": each.users, "skipped": each.skipped},
        "logloss": float(log_loss(labels, scores, labels=[0, 1])),
    }


def _shown(figures: dict[str, Any]) -> str:
    return f"AUC {figures['AUC']['mean']:.4f}, UAUC {figures['UAUC']['mean']:.4f}, logloss {figures['logloss']:.4f}"


def _compare(scores: dict[tuple[str, int], Any], names: list[str], seeds: list[int], parts: Parts, results: Path) -> None:
    """Compare ctrl with its tower without alignment: each seed, and the mean over seeds of each pair's probability."""
    test, slices = parts[2], parts[4]
    assert test.labels is not None
    rows = _owners(test)
    out: dict[str, Any] = {}
    for one, other in [pair for pair in PAIRS if set(pair) <= set(names)]:
        for which in [[seed] for seed in seeds] + ([seeds] if len(seeds) > 1 else []):
            a, b = (np.mean([scores[name, seed] for seed in which], axis=0) for name in (one, other))
            for slice_, at in slices.items():
                result = auc_difference(a[at], b[at], test.labels[at], rows[at], resamples=2000)
                label = f"{one} - {other}, {slice_}, seeds {' '.join(map(str, which))}"
                out[label] = asdict(result)
                print(label, f"{result.difference:+.4f} [{result.ci95[0]:+.4f}, {result.ci95[1]:+.4f}]", flush=True)
    write_json(results / "ctr-pairs.json", {"seeds": seeds, "scores": "probabilities; of several seeds their mean", "comparisons": out})


def _machine() -> dict[str, Any]:
    return {"threads": torch.get_num_threads(), "versions": versions()}


def _speeds(parts: Parts, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return pairs per second of processor time: histories of 50 with a candidate each, and with 100."""
    known, few = parts[3], parts[0].take(np.arange(200))
    draw = np.random.default_rng(0)
    out: dict[str, dict[str, float]] = {}
    quick = {"train.epochs": 1, "align.epochs": 1}
    for name in options.models:
        ranker = _made(name, 0, quick, options.encoder).fit(few, known=known, progress=False)
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

"""Rated pairs of ml-100k after a global time split: errors of predicted ratings, and probabilities before and after calibration.

    python -m benchmarks.ratings bias mf bias-text --seeds 0 1 2
    python -m benchmarks.ratings nrms --seeds 0 1 2
    python -m benchmarks.ratings table

As ``bertrec rankers train ml-100k --ranker NAME --pairs ratings --seed SEED`` and ``bertrec rankers evaluate`` do it: the
first 80 % of the ratings train, 10 % choose epoch and calibration, 10 % are measured; label 1 from 4 stars. A ranker that
draws nothing has one seed. ``sigmoid`` takes the score for a logit, for want of another probability before calibration.
Rows go to ``results-rankers/ratings-NAME-SEED.json`` and are not run again; the errors of each rating, from which
``table`` writes paired differences, to ``runs/ratings``.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.files import read_json, write_json
from bertrec.data.load import Dataset, load
from bertrec.evaluation.pairs import rmse_difference
from bertrec.evaluation.protocol import versions
from bertrec.rankers.base import Ranker, labels_of
from bertrec.rankers.calibration import Calibration, CalibrationKind
from bertrec.rankers.context import Known
from bertrec.rankers.ensemble import Ensemble
from bertrec.rankers.pair_runs import JudgedPairs, measure_pairs, rated_pairs, reliability_json
from bertrec.rankers.runs import RATINGS, RankerPlan, open_rankers, train_rankers

DATA = "ml-100k"
RESULTS = Path(__file__).parent / "results-rankers"
KEPT = Path("runs") / "ratings"
ONE_SEED = ("bias", "bias-text")
PREDICTING = (*ONE_SEED, "mf")
BESIDE = "bias-text-0"
KINDS: tuple[CalibrationKind, ...] = ("temperature", "platt", "isotonic")
SLICES = ("all", "cold_items", "warm_pairs")


def run(name: str, seed: int, dataset: Dataset) -> None:
    """Train one ranker and write its row."""
    folder = KEPT / f"{name}-{seed}"
    began = time.process_time()
    plan = RankerPlan(name, seed=seed, pairs=RATINGS)
    train_rankers(dataset, plan, folder, about={"data": DATA, "load": {}}, overwrite=True, say=print)
    seconds = time.process_time() - began
    ensemble, (record,) = open_rankers(folder)
    known, judged = Known.of(dataset), rated_pairs(dataset, "test", record=record["pairs"])
    (ranker,) = ensemble.members
    maps = calibrations(ranker, rated_pairs(dataset, "valid", record=record["pairs"]), known)
    row = {"ranker": name, "seed": seed, "data": DATA, "data_hash": dataset.content_hash, "cpu_seconds": round(seconds, 1)}
    row |= {"machine": platform.processor() or platform.machine(), "versions": versions(), "settings": ranker.config.to_flat()}
    row["calibrations"] = {kind: measured(ensemble, judged, found, known) for kind, found in maps.items()}
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / f"ratings-{name}-{seed}.json", row)
    predicted = judged.predicted(ranker, ranker.score_impressions(judged.impressions, known=known))
    if predicted is not None and judged.ratings is not None:
        np.save(KEPT / f"{name}-{seed}.npy", predicted - judged.ratings)


def calibrations(ranker: Ranker, valid: JudgedPairs, known: Known) -> dict[str, Calibration]:
    """Return each map from scores to probabilities, fitted on the validation part."""
    scores, labels = ranker.score_impressions(valid.impressions, known=known), labels_of(valid.impressions)
    plain = Calibration("temperature", {"factor": [1.0], "shift": [0.0]}, ranker.gives_probabilities, 0)
    likely = ranker.gives_probabilities
    return {"sigmoid": plain, **{kind: Calibration.fit(kind, scores, labels, of_probabilities=likely) for kind in KINDS}}


def measured(ensemble: Ensemble, judged: JudgedPairs, calibration: Calibration, known: Known) -> dict[str, Any]:
    """Return figures and bins of the test part as `bertrec rankers evaluate` writes them."""
    found = measure_pairs(ensemble, judged, [calibration], known=known)
    return {**found.reports["together"].to_json(), "reliability": reliability_json(found.bins)["together"]}


def table() -> None:
    """Print means over seeds, and the differences of RMSE to bias-text over all pairs and over cold items."""
    rows = [read_json(path) for path in sorted(RESULTS.glob("ratings-*-*.json"))]
    for name in sorted({row["ranker"] for row in rows}):
        own = [row for row in rows if row["ranker"] == name]
        for kind in own[0]["calibrations"]:
            for part in SLICES:
                each = [row["calibrations"][kind]["slices"][part]["metrics"] for row in own]
                shown = {metric: np.mean([one[metric]["mean"] for one in each]) for metric in each[0]}
                print(f"{name:10} {kind:12} {part:11}", "  ".join(f"{metric} {value:.4f}" for metric, value in shown.items()))
    _differences(load(DATA))


def _differences(dataset: Dataset) -> None:
    judged = rated_pairs(dataset, "test")
    assert judged.item_counts is not None
    cold = judged.item_counts[judged.impressions.candidates.values] == 0
    users = np.asarray([str(user) for user in judged.users])
    errors = {path.stem: np.load(path) for path in sorted(KEPT.glob("*.npy"))}
    if BESIDE not in errors:
        return
    found = {}
    for name in errors.keys() - {BESIDE}:
        for part, at in (("all", np.ones(len(cold), bool)), ("cold_items", cold)):
            value, ci95 = rmse_difference(errors[BESIDE][at], errors[name][at], users[at])
            found[f"RMSE, {part}: {BESIDE} - {name}"] = {"difference": value, "ci95": list(ci95), "pairs": int(at.sum())}
    for line, one in sorted(found.items()):
        print(f"{line}: {one['difference']:+.4f} [{one['ci95'][0]:+.4f}, {one['ci95'][1]:+.4f}]")
    write_json(RESULTS / "ratings-differences.json", dict(sorted(found.items())))


def done(name: str, seed: int) -> bool:
    """Say whether a row is there, with its errors where ratings are predicted."""
    there = (RESULTS / f"ratings-{name}-{seed}.json").exists()
    return there and (name not in PREDICTING or (KEPT / f"{name}-{seed}.npy").exists())


def main() -> None:
    """Run what is named, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="RANKER", help="names of rankers, or table")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    if options.names == ["table"]:
        table()
        return
    dataset = load(DATA)
    for name in options.names:
        for seed in options.seeds[:1] if name in ONE_SEED else options.seeds:
            if not done(name, seed):
                run(name, seed, dataset)


if __name__ == "__main__":
    main()

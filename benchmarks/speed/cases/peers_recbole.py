"""SASRec to equal quality on ml-100k against RecBole's, both validated by our evaluator."""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.harness import Case, Side
from benchmarks.speed.peers import exchange
from benchmarks.speed.peers.sasrec import OURS, THEIRS, our_model, recbole_settings
from bertrec.core.errors import ModelError
from bertrec.core.files import read_json, write_json
from bertrec.recbole.exchange import Job, Point, save_split, with_distinct_targets
from bertrec.recbole.process import run_fit

_HERE = "benchmarks.speed.cases.peers_recbole"
_EPOCHS = 60
_SHARE = 0.98
_TIMES = 60  # ours, which are RecBole's seconds: well above the goal, so that it is shown or missed whatever the hour
_TARGET = "target.json"
_METRIC = "NDCG@10"


class _Reached(Exception):
    """The figure that was waited for is there."""


def prepare_target(*, folder: Path, data: str, share: float = _SHARE, **settings: Any) -> None:
    """Train ours to its end and write which validation figure both sides have to reach: nearly its best, which a rerun reaches too."""
    curve = _our_curve(data, settings)
    best = max(value for _, value in curve)
    seconds = next(seconds for seconds, value in curve if value >= share * best)
    write_json(Path(folder) / _TARGET, {"best": best, "share": share, "target": share * best, "seconds": seconds})


def ours_to_quality(*, data: str, folder: str, **settings: Any) -> Callable[[], dict[str, Any]]:
    """Prepare a training; what is returned counts the seconds, validation included, until the figure is reached."""
    target = read_json(Path(folder) / _TARGET)["target"]

    def once() -> dict[str, Any]:
        curve = _our_curve(data, settings)
        reached = [seconds for seconds, value in curve if value >= target]
        if not reached:
            raise ModelError(f"{_METRIC} {target:.4f} on the validation users was not reached again: the run is not repeatable")
        return {"seconds": reached[0], "target": target, "reached": True, "curve": curve}

    return once


def theirs_to_quality(
    *, data: str, folder: str, times: float, data_set: str, users: int = 0, seed: int, **sizes: Any
) -> Callable[[], dict[str, Any]]:
    """Prepare RecBole's training in a process of its own, ended when the figure is reached or ``times`` the seconds of ours are spent."""
    wanted = read_json(Path(folder) / _TARGET)
    target, budget_seconds = wanted["target"], times * wanted["seconds"]
    split_folder = Path(folder) / "split"
    save_split(with_distinct_targets(exchange.read_split(data, data_set, users)), split_folder)
    job = Job(model="SASRec", settings=recbole_settings(**sizes), seed=seed, limit_seconds=budget_seconds)

    def once() -> dict[str, Any]:
        curve: list[tuple[float, float]] = []

        def watch(points: Sequence[Point]) -> None:
            curve[:] = [(point.seconds, point.metric) for point in points if point.metric is not None]
            if curve and curve[-1][1] >= target:
                raise _Reached

        with tempfile.TemporaryDirectory() as work:
            try:
                outcome = run_fit(job, Path(work) / "fit", split_folder, watch=watch)
            except _Reached:
                return _their_figures(curve, target, curve[-1][0])
        if outcome.status != "ok":
            raise ModelError(f"RecBole's SASRec: {outcome.status}: {outcome.reason}")
        finished = [(point.seconds, point.metric) for point in outcome.points if point.metric is not None]
        return _their_figures(finished, target, outcome.seconds)

    return once


def _their_figures(curve: list[tuple[float, float]], target: float, spent: float) -> dict[str, Any]:
    """Return the seconds to the figure; where it was not reached, those that were spent, marked as a lower bound."""
    reached = [seconds for seconds, value in curve if value >= target]
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "seconds": reached[0] if reached else spent,
        "target": target,
        "reached": bool(reached),
        "lower_bound": not reached,
        "curve": curve,
        "training_peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit,
    }


def compare_curves(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | bool]:
    """Say whether the ratio is exact, and give the ratio at the best figure that both have reached."""
    found: dict[str, float | bool] = {"ok": bool(ours["reached"]), "ratio_is_lower_bound": bool(theirs["lower_bound"])}
    if not theirs["curve"]:
        return found
    both = min(max(value for _, value in side["curve"]) for side in (ours, theirs))
    first = [next(seconds for seconds, value in side["curve"] if value >= both) for side in (ours, theirs)]
    return found | {
        "best_ours": max(value for _, value in ours["curve"]),
        "best_theirs": max(value for _, value in theirs["curve"]),
        "reached_by_both": both,
        "ratio_at_reached_by_both": first[1] / first[0],
    }


def _our_curve(data: str, settings: dict[str, Any]) -> list[tuple[float, float]]:
    """Train with validation users and return seconds since training began and the figure, an epoch each."""
    split = exchange.read_split(data, settings["data_set"], settings.get("users", 0))
    model = our_model(**settings).fit(split.train, validation=split.validation, progress=False)
    assert model.train_log is not None
    curve, passed = [], 0.0
    for epoch in model.train_log.epochs:
        passed += epoch.seconds
        curve.append((passed, epoch.metrics[_METRIC]))
    return curve


CASES = [
    Case(
        name="recbole-sasrec-quality",
        title="SASRec on ml-100k to 98 % of our best validation NDCG@10, against RecBole 1.2.1",
        ours=Side(f"{_HERE}:ours_to_quality", {**OURS, "epochs": _EPOCHS}),
        theirs=Side(f"{_HERE}:theirs_to_quality", {**THEIRS, "times": _TIMES}, environment="recbole"),
        goal=50.0,
        repeats=1,
        suite="long",
        prepare=f"{_HERE}:prepare_target",
        agree=f"{_HERE}:compare_curves",
        notes="Seconds since the first step, validation by our evaluator after each epoch included. Where RecBole does not reach it "
        "within 60 times the seconds of ours, the ratio is a lower bound (lower_bound in its figures); both curves are kept.",
    ),
]

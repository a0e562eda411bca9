"""``python -m bertrec.comparison.worker FOLDER SPLIT``: fit one of our own models, as the baselines' process fits RecBole's.

A process of its own gives every model the same treatment: a clean start, a peak of memory that is its own, and an end that can be forced.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from bertrec.data.splits import Split
from bertrec.models.base import Recommender
from bertrec.models.registry import create
from bertrec.recbole.exchange import Arrays, EndedBy, Job, Outcome, Point, append_point, load_split
from bertrec.recbole.guard import peak_mib, run_job, versions
from bertrec.recbole.ranking import rank_and_list


def main(folder: Path, split_folder: Path) -> None:
    """Fit, measure and write the outcome."""
    run_job(folder, lambda job: fit(job, load_split(split_folder), folder))


def fit(job: Job, split: Split, folder: Path) -> Outcome:
    """Train one model and measure it on the test users."""
    options = job.options
    chosen = {"item_input": options["item_input"], "tune": options["tune"], "seed": job.seed}
    model = create(options["model"], settings=job.settings, **chosen)
    if (asked := model.config.to_flat().get("train.max_seconds")) is not None:
        limit = min(asked or job.limit_seconds, job.limit_seconds)
        model = create(options["model"], settings={**job.settings, "train.max_seconds": limit}, **chosen)
    started = time.perf_counter()
    model.fit(split.train, validation=split.validation, progress=False, mask_seen=job.mask_seen)
    seconds = time.perf_counter() - started
    started = time.perf_counter()
    assert split.test is not None
    batches = model.score_all(split.test.histories)
    ranks, lists = rank_and_list(batches, split.test, mask_seen=job.mask_seen, list_length=job.list_length)
    evaluated = time.perf_counter() - started
    Arrays(ranks, lists).save(folder)
    points = _points(model, seconds, job.metric)
    for point in points:
        append_point(folder, point)
    return Outcome(
        "ok",
        ended_by=_ended_by(model),
        best_epoch=0 if model.train_log is None else model.train_log.best_epoch,
        seconds=seconds,
        evaluate_seconds=evaluated,
        peak_mib=peak_mib(),
        settings=job.settings,
        points=points,
        versions=versions(("torch", "transformers", "numpy")),
    )


def _points(model: Recommender, seconds: float, metric: str) -> tuple[Point, ...]:
    """Return the curve; what was spent before the first epoch, as on encoding texts, counts from the start."""
    if model.train_log is None or not model.train_log.epochs:
        return ()
    spent = np.cumsum([epoch.seconds for epoch in model.train_log.epochs])
    before = max(0.0, seconds - float(spent[-1]))
    return tuple(
        Point(epoch.epoch, before + float(at), epoch.loss, epoch.metrics.get(metric))
        for epoch, at in zip(model.train_log.epochs, spent, strict=True)
    )


def _ended_by(model: Recommender) -> EndedBy:
    log, settings = model.train_log, model.config.to_flat()
    if log is None:
        return "no training"
    if log.stopped_early:
        return "patience"
    if len(log.epochs) < settings.get("train.epochs", 0):
        return "budget"
    return "schedule" if settings.get("train.schedule", "constant") != "constant" else "epochs"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

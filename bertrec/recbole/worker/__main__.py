"""``python -m bertrec.recbole.worker FOLDER SPLIT``: fit the baseline that ``FOLDER/job.json`` describes on a split."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bertrec.core.ragged import IntArray
from bertrec.data.splits import Split
from bertrec.recbole.exchange import Arrays, Job, Outcome, load_pairs, load_split
from bertrec.recbole.guard import peak_mib, run_job, versions
from bertrec.recbole.ranking import mean_metric, pair_scores, rank_and_list
from bertrec.recbole.worker import patches

Pairs = tuple[IntArray, IntArray]


def main(folder: Path, split_folder: Path) -> None:
    """Fit, measure and write the outcome; an error of the model becomes its outcome."""
    run_job(folder, lambda job: fit(job, load_split(split_folder), folder, pairs=load_pairs(split_folder)))


def fit(job: Job, split: Split, folder: Path, *, pairs: Pairs | None = None) -> Outcome:
    """Train one model, measure it on the test users, and write its arrays."""
    patches.apply()
    from bertrec.recbole.worker.crosscheck import cross_check
    from bertrec.recbole.worker.factors import factorise, trained_model
    from bertrec.recbole.worker.prepare import prepare
    from bertrec.recbole.worker.training import Fit

    assert split.validation is not None
    assert split.test is not None
    validation, test = split.validation, split.test if job.on == "test" else split.validation
    prepared = prepare(job, split, folder / "recbole")
    scorer = prepared.scorer

    if job.keep:  # before the minutes of a training
        factorise(scorer, scorer.readable(validation.histories))

    def validate() -> float:
        ranks, _ = rank_and_list(scorer.known(validation), validation, mask_seen=job.mask_seen)
        return mean_metric(ranks, validation, job.metric, mask_seen=job.mask_seen)

    fitted = Fit(prepared.trainer, folder, trains=prepared.trains, limit_seconds=job.limit_seconds, validate=validate)
    if job.options.get("recover"):
        fitted.recover()
    else:
        fitted.run(prepared.train, prepared.validation)
    started = time.perf_counter()
    ranks, lists = rank_and_list(scorer.known(test), test, mask_seen=job.mask_seen, list_length=job.list_length)
    seconds = time.perf_counter() - started
    Arrays(ranks, lists, None if pairs is None else pair_scores(scorer.known(test), pairs)).save(folder)
    if job.keep:
        trained_model(scorer, factorise(scorer, scorer.readable(validation.histories))).save(folder)
    started = time.perf_counter()
    checked = cross_check(prepared, test) if job.cross_check else None
    return Outcome(
        "ok",
        ended_by=fitted.ended_by,
        best_epoch=fitted.best_epoch,
        seconds=fitted.seconds,
        evaluate_seconds=seconds,
        peak_mib=peak_mib(),
        settings=job.settings,
        points=tuple(fitted.points),
        cross_check=checked,
        cross_check_seconds=time.perf_counter() - started,
        versions=versions(("recbole", "torch", "numpy")),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())

"""A job, and how the driver runs it: one task a part, no shuffle, progress, and an end that says whether all parts are there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bertrec.cluster.job import Job
from bertrec.cluster.output import Counts, Output, check_output
from bertrec.cluster.said import failures_said
from bertrec.cluster.source import FOOTERS_AT_ONCE, SourcePart
from bertrec.cluster.worker import Work
from bertrec.core.errors import BertrecError

if TYPE_CHECKING:
    from pyspark import Accumulator
    from pyspark.sql import SparkSession

Say = Callable[[str], None]
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a job did.

    Attributes:
        parts: how many the output has.
        skipped: how many of them were there already.
        counts: of all parts, by name.
    """

    parts: int
    skipped: int
    counts: Counts


def run_job(job: Job, parts: Sequence[SourcePart], spark: Callable[[], SparkSession], say: Say | None = None) -> Outcome:
    """Make the parts that are missing and mark the output as whole.

    Args:
        job: what is to be done.
        parts: of the input.
        spark: gives the session; called only where something is to be done.
        say: gets lines on how far it is.

    Raises:
        BertrecError: the output is another job's, or a part failed; what is done stays, and the same call goes on from there.
    """
    output, say = job.output, say or (lambda _: None)
    check_output(output, job.manifest())
    done = _done(job, parts)
    todo = [part for part in parts if part.name not in done]
    _check_names(output, parts)
    if done:
        say(f"{len(done)} of {len(parts)} parts are there already")
    if todo:
        output.begin()
        output.write_manifest(job.manifest() | {"parts": len(parts)})
        done |= _made(job, todo, spark(), _Progress(len(parts), done, job.unit, say))
    total = _added(done.values())
    if (problem := job.problem(total)) is not None:
        raise BertrecError(problem)
    output.write_manifest(job.manifest() | {"parts": len(parts), "counts": total})
    output.finish()
    return Outcome(len(parts), len(parts) - len(todo), total)


def _done(job: Job, parts: Sequence[SourcePart]) -> dict[str, Counts]:
    there = job.output.names()
    begun = [part for part in parts if part.name in there]
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        found = list(pool.map(lambda part: job.output.counts(part.name, job=job.key, source=part.state), begun))
    return {part.name: counts for part, counts in zip(begun, found, strict=True) if counts is not None}


def _check_names(output: Output, parts: Sequence[SourcePart]) -> None:
    if other := sorted(output.names() - {part.name for part in parts}):
        raise BertrecError(f"--out {output.place} holds {other[0]}, and the input has no such part any more: remove it there")


def _added(counts: Iterable[Counts]) -> Counts:
    total: Counts = {}
    for one in counts:
        for name, value in one.items():
            total[name] = total.get(name, 0) + value
    return total


class _Progress:
    """Says how many parts and rows are done, those of former runs too."""

    def __init__(self, parts: int, done: Mapping[str, Counts], unit: str, say: Say) -> None:
        self.parts, self.unit, self.say = parts, unit, say
        self.before = len(done), sum(counts.get("rows", 0) for counts in done.values())

    @contextmanager
    def shown(self, parts: Accumulator[int], rows: Accumulator[int]) -> Iterator[None]:
        """Look at the counts of tasks now and then while the block lasts."""
        over, shown = threading.Event(), 0

        def look() -> None:
            nonlocal shown
            while not over.wait(_LOOK_SECONDS):
                if parts.value != shown:
                    shown = parts.value
                    self._line(parts.value, rows.value)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if parts.value != shown:
            self._line(parts.value, rows.value)

    def _line(self, parts: int, rows: int) -> None:
        self.say(f"{self.before[0] + parts} of {self.parts} parts, {self.before[1] + rows:,} {self.unit}")


def _made(job: Job, todo: Sequence[SourcePart], spark: SparkSession, progress: _Progress) -> dict[str, Counts]:
    """Let tasks make parts, one each; return the counts by name.

    Raises:
        BertrecError: one failed; the others were made first.
    """
    with failures_said():
        context = spark.sparkContext
        parts, rows = context.accumulator(0), context.accumulator(0)
        tasks = context.parallelize(list(todo), len(todo)).map(Work(job, parts, rows))
        try:
            with progress.shown(parts, rows):
                found = dict(tasks.collect())
        except KeyboardInterrupt:
            context.cancelAllJobs()
            raise
    if failed := [said for said in found.values() if isinstance(said, str)]:
        more = f" ({len(failed)} parts have failed, the others are done)" if len(failed) > 1 else ""
        raise BertrecError(f"{failed[0]}{more}")
    return found

"""Requests for lists that come together are answered together: one product of many users reads the item vectors once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import Ragged
from bertrec.service.loaded import Loaded

if TYPE_CHECKING:
    from bertrec.retrieval.rules import Rules

_AT_ONCE = 64


@dataclass(frozen=True)
class Row:
    """One list: external ids, scores, and what ordered it in place of the model, if anything did."""

    items: list[str | int]
    scores: list[float]
    fallback: str | None


@dataclass
class Job:
    """One list to make.

    Attributes:
        loaded: the state that makes it.
        history: inner ids, oldest first.
        k: how many items.
        keep_seen: list those of the history too.
        rules: of the list.
        result: where it goes.
        times: of the history, in seconds, where they are known.
    """

    loaded: Loaded
    history: npt.NDArray[np.int64]
    k: int
    keep_seen: bool
    rules: Rules | None
    result: Future[Row] = field(default_factory=Future)
    times: npt.NDArray[np.int64] | None = None

    @property
    def group(self) -> tuple[object, ...]:
        """What jobs must have in common to be done at once; the order of a list that rules change depends on its length."""
        fixed = self.k if self.rules is not None and self.rules.reorders else 0
        return id(self.loaded), self.keep_seen, "" if self.rules is None else self.rules.key, fixed


class Batcher:
    """Threads that take whatever jobs wait, and do those that are alike at once.

    Args:
        workers: how many threads.
    """

    def __init__(self, workers: int = 1) -> None:
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._workers, self._threads = workers, list[Thread]()
        self.batches = self.jobs = 0

    def start(self) -> None:
        """Begin, also once more after an end."""
        self._threads = [Thread(target=self._work, name=f"lists-{number}", daemon=True) for number in range(self._workers)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End once what waits is done."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    async def submit(self, job: Job) -> Row:
        """Return the list that a job asks for."""
        self._waiting.put(job)
        return await asyncio.wrap_future(job.result)

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            jobs = [first, *self._more()]
            groups: dict[tuple[object, ...], list[Job]] = {}
            for job in jobs:
                if job.result.set_running_or_notify_cancel():
                    groups.setdefault(job.group, []).append(job)
            for alike in groups.values():
                self.batches, self.jobs = self.batches + 1, self.jobs + len(alike)
                do(alike)

    def _more(self) -> list[Job]:
        jobs: list[Job] = []
        while len(jobs) < _AT_ONCE - 1:
            try:
                job = self._waiting.get_nowait()
            except Empty:
                break
            if job is None:
                self._waiting.put(None)  # for the turn after this one
                break
            jobs.append(job)
        return jobs


def do(jobs: Sequence[Job]) -> None:
    """Make the lists of jobs of one group, and put them, or the error, where they are waited for."""
    first, k = jobs[0], max(job.k for job in jobs)
    try:
        histories = Ragged.with_times([job.history for job in jobs], [job.times for job in jobs])
        found = first.loaded.server.recommend(histories, k, exclude_seen=not first.keep_seen, rules=first.rules)
    except BaseException as error:
        for job in jobs:
            job.result.set_exception(error)
        return
    for job, items, scores, fallback in zip(jobs, found.items, found.scores, found.fallback, strict=True):
        job.result.set_result(Row(items[: job.k], scores[: job.k], fallback))

"""Work spread over threads, for what NumPy and torch compute without the interpreter's lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_threads(work: Callable[[Part], Result], parts: Sequence[Part], *, alone: bool = False) -> list[Result]:
    """Return ``work`` of each part, in order, by as many threads as torch has, this one among them, each of which computes alone.

    The others are made once and kept: making a thread, and its first product, takes longer than many a part. One part, or one thread, is
    worked on where it is. So is all that is to be done ``alone``, torch's products included, because it is so little. When a part
    fails, no other is begun, and its error is raised.
    """
    import torch

    threads = 1 if alone else min(torch.get_num_threads(), len(parts))
    if threads < 2 and not alone:
        return [work(part) for part in parts]
    job = _Job(work, parts)
    with _kept_thread_count():
        torch.set_num_threads(1)
        helpers = _POOL.send(job.take, threads - 1)
        try:
            job.take()
        finally:
            job.over = True  # also where this thread was interrupted between two parts
            begun = [helper for helper in helpers if not helper.cancel()]
            wait(begun)
        for helper in begun:
            helper.result()
    return [job.results[number] for number in range(len(parts))]


class _Job(Generic[Part, Result]):
    """Parts that several threads take, each the next one that is left."""

    def __init__(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> None:
        self.work, self.parts = work, parts
        self.results: dict[int, Result] = {}
        self.over = False
        self._left: SimpleQueue[int] = SimpleQueue()
        for number in range(len(parts)):
            self._left.put(number)

    def take(self) -> None:
        """Do parts until none is left or one has failed, here or elsewhere."""
        try:
            while not self.over and (number := self._next()) is not None:
                self.results[number] = self.work(self.parts[number])
        except BaseException:
            self.over = True
            raise

    def _next(self) -> int | None:
        try:
            return self._left.get_nowait()
        except Empty:
            return None


class _ThreadPool:
    """Threads that wait for work, each of which computes alone."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin without threads, as a process that was forked must: they, and who held the lock, stayed in the other one."""
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0

    def send(self, work: Callable[[], None], count: int) -> list[Future[None]]:
        """Have ``count`` threads begin ``work``, as soon as they are free."""
        with self._lock:
            if count > self._size:
                self._grow(count)
            return [self._pool.submit(work) for _ in range(count)] if self._pool is not None else []

    def _grow(self, count: int) -> None:
        """Make a pool of ``count``, and wait until each has set its number of threads, which torch keeps for the process too."""
        import torch

        if self._pool is not None:
            self._pool.shutdown(wait=False)  # what was sent to it is done
        ready = threading.Barrier(count + 1)
        self._pool, self._size = ThreadPoolExecutor(count, "bertrec", torch.set_num_threads, (1,)), count
        try:
            for _ in range(count):
                self._pool.submit(ready.wait)
            ready.wait()
        except BaseException:  # no room for a thread, or interrupted
            ready.abort()
            self._pool, self._size = None, 0
            raise


_POOL = _ThreadPool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_POOL.forget)


def each_in_threads(work: Callable[[Part], Result], parts: Sequence[Part]) -> Iterator[Result]:
    """Yield what `in_threads` returns, each part when it and those before it are done; parts not begun are dropped when iteration ends.

    By threads of its own, for long work: the caller's does none of it.
    """
    import torch

    threads = min(torch.get_num_threads(), len(parts))
    if threads < 2:
        yield from map(work, parts)
        return
    with _kept_thread_count():
        pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            yield from pool.map(work, parts)
        finally:
            pool.shutdown(cancel_futures=True)


def each_by_workers(workers: Sequence[Callable[[Part], Result]], parts: Sequence[Part]) -> Iterator[Result]:
    """Yield what one of the workers returns for each part, in order; each worker has one part at a time, the next one that is left."""
    free: SimpleQueue[Callable[[Part], Result]] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def one(part: Part) -> Result:
        worker = free.get()
        try:
            return worker(part)
        finally:
            free.put(worker)

    pool = ThreadPoolExecutor(len(workers))
    try:
        yield from pool.map(one, parts)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _kept_thread_count() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)

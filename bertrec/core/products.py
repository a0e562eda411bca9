"""Inner products: pairs summed on their own, how far two roundings of a pair may lie apart, and work spread over threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Part = TypeVar("Part")
Result = TypeVar("Result")

_FLOATS_AT_ONCE = 1 << 16  # of one side of the pairs: both then stay in the second-level cache
_FEWEST_PAIRS = 512  # but fewer at once cost more than they save


def row_lengths(table: FloatArray) -> npt.NDArray[np.float64]:
    """Return the Euclidean length of each row, summed in float64 (in float32 the squares of small numbers vanish), ``[rows]``.

    A row with NaN has none, a row with an infinite value an infinite one.
    """
    lengths = np.empty(len(table))
    at_once = max(_FEWEST_PAIRS, _FLOATS_AT_ONCE // max(1, table.shape[1]))
    for start in range(0, len(table), at_once):
        part = table[start : start + at_once].astype(np.float64)
        lengths[start : start + at_once] = np.vecdot(part, part)
    return np.sqrt(lengths, out=lengths)


def rounding_bound(queries: FloatArray, largest_norm: float) -> FloatArray:
    """Return ``[b, 1]``: how far two float32 inner products of the same pair may lie apart, whatever the order of summation.

    A single product is rounded in one way only, so the bound is 0 in one dimension.
    """
    if queries.shape[1] == 1:
        return np.zeros((len(queries), 1), np.float32)
    norms = row_lengths(queries)[:, None]
    bound = queries.shape[1] * np.finfo(np.float32).eps * norms * largest_norm
    return np.where(norms > 0, np.maximum(bound, np.finfo(np.float32).tiny), 0.0).astype(np.float32)


def pair_scores(queries: FloatArray, vectors: FloatArray, rows: IntArray, columns: IntArray) -> FloatArray:
    """Return the inner product of ``queries[rows[i]]`` and ``vectors[columns[i]]``, each pair summed on its own, ``[pairs]``."""
    out = np.empty(len(rows), dtype=np.float32)
    at_once = max(_FEWEST_PAIRS, _FLOATS_AT_ONCE // max(1, queries.shape[1]))
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        out[part] = np.vecdot(np.take(queries, rows[part], axis=0), np.take(vectors, columns[part], axis=0))
    return out


def in_threads(work: Callable[[Part], Result], parts: Sequence[Part], *, alone: bool = False) -> list[Result]:
    """Return ``work`` of each part, in order, by as many threads as torch has, each of which computes alone.

    For work that NumPy and torch do without the interpreter's lock. One part, or one thread, is worked on where it is. So is all that is
    to be done ``alone``, torch's products included, because it is so little that starting threads takes longer.
    """
    if not alone:
        return list(each_in_threads(work, parts))
    import torch

    with _kept_thread_count():
        torch.set_num_threads(1)
        return [work(part) for part in parts]


def each_in_threads(work: Callable[[Part], Result], parts: Sequence[Part]) -> Iterator[Result]:
    """Yield what `in_threads` returns, each part when it and those before it are done; parts not begun are dropped when iteration ends."""
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

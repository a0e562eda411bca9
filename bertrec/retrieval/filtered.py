"""Exact filtering of seen and removed items, in batches: over-fetch by the seen count, mask, refill until k are found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bertrec.core.products import rounding_bound
from bertrec.core.ragged import Ragged
from bertrec.retrieval.engine import Searcher
from bertrec.retrieval.exact import BoolArray, FloatArray, IntArray
from bertrec.retrieval.scan import search_vectors

# Fetched beyond k, so that ties at the k-th place are seen and removed items seldom cost a second round; more where codes rank roughly,
# since scoring a few more by their full vectors costs little and raises recall.
_MARGIN = 16
_CODES_MARGIN = 100
_EFFORTS = (1, 4)
_EXACT_SHARE = 4  # fetching more than a 4th of all items costs more than scoring all of them
_FLOATS_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Stored:
    """What a filtered search needs beside the queries.

    Attributes:
        searcher: the FAISS side.
        vectors: ``[n, d]``, the full vectors.
        alive: ``[n]``, False for tombstones.
        largest_norm: the largest length of a row of ``vectors``.
        ordering: "exact" where FAISS ranks all items by their full vectors (flat), "full" where it ranks those it visits by them, and
            "codes" where it ranks by product codes.
        selected: whether FAISS itself finds none but the rows alive.
    """

    searcher: Searcher
    vectors: FloatArray
    alive: BoolArray
    largest_norm: float
    ordering: str
    selected: bool = False


@dataclass
class _Batch:
    queries: FloatArray
    k: int
    banned: Ragged
    banned_keys: IntArray  # query * n + position, sorted
    wanted: IntArray  # how many results each query can have
    positions: IntArray
    scores: FloatArray


def search_filtered(queries: FloatArray, k: int, banned: Ragged, stored: Stored) -> tuple[IntArray, FloatArray]:
    """Return the best ``k`` positions that are alive and not banned, for each query.

    FAISS is asked for ``k`` plus the number of banned positions, rounded up to a power of two: queries with similar counts travel
    together, and what a query is asked depends on that query alone. What is left after masking is scored again from the full vectors,
    pair by pair, so scores are exact for every kind and do not depend on the batch. Queries that lack results, or (flat only) whose ties
    may reach beyond what was fetched, are asked again for four times as many with four times the effort, then searched exactly.

    Args:
        queries: ``[b, d]``.
        k: at least 1, at most the number of positions alive.
        banned: positions alive that must not be returned, distinct within a query.
        stored: the index.

    Returns:
        ``(positions, scores)``, ``[b, k]``, best first, equal scores by lower position; -1 and ``-inf`` where there is none.
    """
    batch = _new_batch(queries, k, banned, stored)
    pending = np.flatnonzero(batch.wanted > 0)
    removed = 1.0 if stored.selected else len(stored.alive) / max(1, int(stored.alive.sum()))
    margin = _CODES_MARGIN if stored.ordering == "codes" else _MARGIN
    fetch = _power_of_two((k + margin + banned.lengths) * removed)
    for effort in _EFFORTS:
        pending = _round(batch, stored, pending, fetch * effort, effort)
    if len(pending):
        batch.positions[pending], batch.scores[pending] = search_vectors(
            queries[pending], stored.vectors, k, alive=stored.alive, banned=banned.take(pending), largest_norm=stored.largest_norm
        )
    return batch.positions, batch.scores


def _new_batch(queries: FloatArray, k: int, banned: Ragged, stored: Stored) -> _Batch:
    positions = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    wanted = np.minimum(k, int(stored.alive.sum()) - banned.lengths)
    keys = np.sort(banned.rows * len(stored.alive) + banned.values)
    return _Batch(queries, k, banned, keys, wanted, positions, scores)


def _power_of_two(counts: npt.NDArray[np.floating]) -> IntArray:
    return (2 ** np.ceil(np.log2(np.maximum(counts, 1)))).astype(np.int64)


def _round(batch: _Batch, stored: Stored, pending: IntArray, fetch: IntArray, effort: int) -> IntArray:
    """Ask FAISS once for each pending query and return those that are still not settled."""
    left = []
    for count in np.unique(fetch[pending]).tolist():  # a power of two each, so a handful
        rows = pending[fetch[pending] == count]
        if count * _EXACT_SHARE > len(stored.alive):
            left.append(rows)
            continue
        step = max(1, _FLOATS_AT_ONCE // (count * stored.vectors.shape[1]))
        left += [_ask(batch, stored, rows[start : start + step], count, effort) for start in range(0, len(rows), step)]
    return np.sort(np.concatenate(left)) if left else pending[:0]


def _ask(batch: _Batch, stored: Stored, rows: IntArray, count: int, effort: int) -> IntArray:
    queries = batch.queries[rows]
    rough, found = stored.searcher.search(queries, count, effort=effort)
    allowed = _allowed(batch, stored, rows, found)
    # Codes rank roughly, so all that was fetched is scored again; full vectors rank truly but for rounding, so the first few are enough.
    width = found.shape[1] if stored.ordering == "codes" else min(found.shape[1], batch.k + _MARGIN)
    first = np.argsort(~allowed, axis=1, kind="stable")[:, :width]
    positions, kept = np.take_along_axis(found, first, axis=1), np.take_along_axis(allowed, first, axis=1)
    scores = np.vecdot(queries[:, None], stored.vectors[np.maximum(positions, 0)])
    scores[~kept] = -np.inf
    positions = np.where(kept, positions, -1)
    best = np.lexsort((positions, -scores), axis=-1)[:, : batch.k]
    positions, scores = np.take_along_axis(positions, best, axis=1), np.take_along_axis(scores, best, axis=1)
    wanted, has = batch.wanted[rows], kept.sum(axis=1)
    settled = has >= wanted
    if stored.ordering == "exact":
        # Nothing that was not scored again is rated above the last that was, or, where fewer were allowed, above the last fetched.
        scored_last = np.take_along_axis(rough, first[:, -1:], axis=1)[:, 0]
        unseen = np.where(kept[:, -1], scored_last, rough[:, -1])
        clear = scores[:, -1] > unseen + rounding_bound(queries, stored.largest_norm)[:, 0]
        settled &= clear | (wanted < batch.k)
    batch.positions[rows[settled], : positions.shape[1]] = positions[settled]
    batch.scores[rows[settled], : positions.shape[1]] = scores[settled]
    return rows[~settled]


def _allowed(batch: _Batch, stored: Stored, rows: IntArray, found: IntArray) -> BoolArray:
    allowed = (found >= 0) & stored.alive[found]  # -1 looks at the last row, and is out already
    if len(batch.banned_keys):
        keys = rows[:, None] * len(stored.alive) + found
        place = np.minimum(np.searchsorted(batch.banned_keys, keys), len(batch.banned_keys) - 1)
        allowed &= batch.banned_keys[place] != keys
    return allowed

"""Exact search of stored vectors: every item is scored roughly, few of them truly.

A matrix product rounds the same pair differently in different batches; it only picks the candidates here, within its rounding bound, and
each candidate is then scored on its own, so that a query's result depends on nothing but the query. Where the processor multiplies tiles
of bfloat16, many queries are first scored in that format, whose far wider bound lets a few more candidates through.

Candidates are found without sorting or comparing all scores: the items are dealt into groups, and the k-th largest of the groups' maxima
is reached by k items at least, so that only the groups whose maximum is as high can hold one of the best k.
"""

from __future__ import annotations

import math
import warnings
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bertrec.core.devices import computed_there
from bertrec.core.products import FloatArray, IntArray, pair_scores, rounding_bound
from bertrec.core.ragged import Ragged
from bertrec.core.threads import in_threads

if TYPE_CHECKING:
    import torch

BoolArray = npt.NDArray[np.bool_]

_SCORES_AT_ONCE = 1 << 22  # rough scores held by a thread in bfloat16, half as many in float32
_FEWEST_QUERIES = 64  # but at least so many per block, or the vectors are read too often
_WORTH_THERE = 64  # queries from which it pays to bring the vectors to an accelerator
_SCORES_THERE = 1 << 26  # scores of an accelerator: 256 MiB
_STEP = 32  # a block of an odd number of times so many, or the product is written two to four times as slowly
_STRIPS = 64  # at most, so that no thread waits long for the last
_WORTH_HALF = 128  # queries from which a copy of the vectors in bfloat16 pays
_HALF_UNIT = 2.0**-8  # unit roundoff of bfloat16
_SLACK = 1.01  # of a bound that is computed in float32 itself
_HALF_RANGE = (1e-12, 1e12)  # lengths whose products neither vanish nor overflow


def search_vectors(
    queries: FloatArray, vectors: FloatArray, k: int, *, alive: BoolArray, banned: Ragged, largest_norm: float
) -> tuple[IntArray, FloatArray]:
    """Return the ``k`` rows of ``vectors`` with the largest inner product, exactly, equal scores by lower position.

    Args:
        queries: ``[b, d]``.
        vectors: ``[n, d]``.
        k: how many.
        alive: ``[n]``, False for rows that must not be returned to anyone.
        banned: positions that must not be returned, one row per query; repeats do no harm.
        largest_norm: the largest length of a row of ``vectors``.

    Returns:
        ``(positions, scores)``, ``[b, k]``; -1 and ``-inf`` where there is none.
    """
    if not len(queries) or not len(vectors):
        return _nothing(len(queries), k)
    if len(queries) >= _WORTH_THERE:
        wanted = queries, vectors, k, alive, banned, largest_norm
        if (there := computed_there(vectors.nbytes, lambda device: _search_there(*wanted, device))) is not None:
            return there
    half = len(queries) >= _WORTH_HALF and _half_is_fast() and _in_half_range(queries, largest_norm)
    positions, scores, left = _search(_Scan(vectors, k, alive, largest_norm, count=len(queries), half=half), queries, banned)
    if len(left):
        finer = _Scan(vectors, k, alive, largest_norm, count=len(left), half=False)
        positions[left], scores[left], _ = _search(finer, queries[left], banned.take(left))
    return positions, scores


def _search_there(
    queries: FloatArray, vectors: FloatArray, k: int, alive: BoolArray, banned: Ragged, largest_norm: float, device: torch.device
) -> tuple[IntArray, FloatArray]:
    """Find candidates on an accelerator: whose product is within twice the rounding bound of the k-th; score them as ever."""
    import torch

    found, width = _nothing(len(queries), k), min(k, len(vectors))
    table, dead = (_tensor(array).to(device) for array in (vectors, np.flatnonzero(~alive)))
    size = max(1, _SCORES_THERE // len(vectors))
    for start in range(0, len(queries), size):
        part = queries[start : start + size]
        gone = banned.slice(start, start + len(part))
        scores = torch.from_numpy(part).to(device) @ table.T
        scores.index_fill_(1, dead, -torch.inf)
        at = (torch.from_numpy(array).to(device) for array in (gone.rows, gone.values))
        scores.index_put_(tuple(at), torch.tensor(-torch.inf, device=device))
        bound = torch.from_numpy(2 * rounding_bound(part, largest_norm)[:, :1]).to(device)
        limit = (scores.topk(width).values[:, -1:] - bound).clamp(min=torch.finfo(torch.float32).min)
        rows, columns = np.ascontiguousarray((scores >= limit).nonzero().cpu().numpy().T)
        values = pair_scores(part, vectors, rows, columns)
        place_best(rows, columns, values, found[0][start : start + size], found[1][start : start + size])
    return found


def _nothing(count: int, k: int) -> tuple[IntArray, FloatArray]:
    return np.full((count, k), -1, dtype=np.int64), np.full((count, k), -np.inf, dtype=np.float32)


def _search(scan: _Scan, queries: FloatArray, banned: Ragged) -> tuple[IntArray, FloatArray, IntArray]:
    """Return positions, scores and the queries that ``scan`` says nothing of."""
    found = _nothing(len(queries), scan.k)
    unsettled = in_threads(lambda strip: scan.fill(queries, banned, strip, found), _strips(len(queries), scan.queries_at_once))
    return *found, np.concatenate(unsettled)


def _strips(count: int, at_once: int) -> list[range]:
    """Return a few strips of queries, each of whole blocks, for the threads to share."""
    blocks = math.ceil(count / at_once)
    step = at_once * max(1, math.ceil(blocks / _STRIPS))
    return [range(start, min(start + step, count), at_once) for start in range(0, count, step)]


def _half_is_fast() -> bool:
    import torch

    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def _in_half_range(queries: FloatArray, largest_norm: float) -> bool:
    lengths = np.append(_lengths(queries), np.float32(largest_norm))
    return bool((lengths >= _HALF_RANGE[0]).all() and (lengths <= _HALF_RANGE[1]).all())


class _Scan:
    """One search: the vectors in the format they are scored in, and how the items are dealt into groups.

    Item ``i`` is in group ``i % groups``: a maximum over groups then runs along whole rows of scores. The k-th largest maximum is looked
    for among the maxima of ``span`` groups each, which are fewer to partition and nearly as high. ``count`` is the number of queries.
    """

    def __init__(self, vectors: FloatArray, k: int, alive: BoolArray, largest_norm: float, *, count: int, half: bool) -> None:
        import torch

        self.vectors, self.k, self.largest_norm, self.half = vectors, k, largest_norm, half
        self.table = _tensor(vectors).to(torch.bfloat16 if half else torch.float32)
        self.nothing = _keys(torch.tensor([-torch.inf], dtype=self.table.dtype))[0]
        self.dead = np.flatnonzero(~alive)
        self.size = max(1, math.isqrt(len(vectors) // (4 * k)))
        groups = math.ceil(len(vectors) / self.size)
        self.span = max(1, groups // (16 * k))
        self.groups = math.ceil(groups / self.span) * self.span
        at_once = min(1024, max(_FEWEST_QUERIES, _SCORES_AT_ONCE // ((1 if half else 2) * len(vectors))))
        self.queries_at_once = min(count, max(min(at_once, _FEWEST_QUERIES), ((at_once // _STEP - 1) | 1) * _STEP))
        # Room for scores, one per thread: new memory is slow at its first use.
        self._stores: SimpleQueue[Any] = SimpleQueue()

    def fill(self, queries: FloatArray, banned: Ragged, strip: range, found: tuple[IntArray, FloatArray]) -> IntArray:
        """Put the results of a strip of queries in place, and return the queries that need a finer look."""
        import torch

        try:
            store = self._stores.get_nowait()
        except Empty:
            store = torch.empty(self.size * self.groups * self.queries_at_once, dtype=self.table.dtype)
        left = [np.zeros(0, np.int64)]
        for start in strip:
            stop = min(start + self.queries_at_once, strip.stop)
            part = queries[start:stop]
            rough = store[: self.size * self.groups * len(part)].view(-1, len(part))
            limits, unsettled = self._score(part, banned.slice(start, stop), rough)
            rows, columns = self._candidates(_keys(rough), *limits)
            values = pair_scores(part, self.vectors, rows, columns)
            place_best(rows, columns, values, found[0][start:stop], found[1][start:stop])
            left.append(start + unsettled)
        self._stores.put(store)
        return np.concatenate(left)

    def _score(self, queries: FloatArray, banned: Ragged, rough: Any) -> tuple[tuple[Any, Any], IntArray]:
        """Fill ``rough`` and return ``(groups' maxima, limit of each query)`` and the queries that it says nothing of."""
        import torch

        count = len(self.vectors)
        rounded = torch.from_numpy(queries).to(self.table.dtype)
        torch.mm(self.table, rounded.T, out=rough[:count])
        keys = _keys(rough)
        keys[count:] = self.nothing
        keys[self.dead] = self.nothing
        keys.reshape(-1)[banned.values * len(queries) + banned.rows] = self.nothing  # one index is much faster than two
        maxima = np.maximum.reduce(keys.reshape(self.size, self.groups, -1), axis=0)
        tops = np.ascontiguousarray(np.maximum.reduce(maxima.reshape(self.span, -1, len(queries)), axis=0).T)
        at = max(0, tops.shape[1] - self.k)
        best = np.partition(tops, at, axis=1)[:, at]
        if not self.half:
            # The k-th rough score may be a bound too high and a candidate's a bound too low.
            bound = 2 * rounding_bound(queries, self.largest_norm)[:, 0]
            return (maxima, np.maximum(best - bound, np.finfo(np.float32).min)), np.zeros(0, np.int64)
        limit = self._half_limit(queries, rounded.float().numpy(), best)
        return (maxima, limit), np.flatnonzero(limit == np.iinfo(np.int16).max)

    def _half_limit(self, queries: FloatArray, rounded: FloatArray, best: Any) -> Any:
        """Return the bit pattern that a rough score must reach, the largest of all where nothing can be said.

        The product of rounded vectors is off by what rounding took from the query, which is measured, by at most a unit roundoff of the
        item, and by what summing in float32 loses. It is then rounded to one of its neighbours: the product behind the k-th rough score
        may be a unit of its last place lower, and a product at the limit may be scored as the next number below, to which the limit is
        cut.
        """
        lengths, lost = _lengths(queries), _lengths(queries - rounded)
        off = self.largest_norm * (lost + (lengths + lost) * _HALF_UNIT + queries.shape[1] * np.finfo(np.float32).eps * lengths)
        lowest = (best.astype(np.int32) << 16).view(np.float32) * np.float32(1 - 2 * _HALF_UNIT)
        # The k-th product may be that much too high and a candidate's too low.
        limit = (lowest - 2 * _SLACK * off).astype(np.float32)
        # As whole numbers, bit patterns are ordered as their values are where these are positive: elsewhere nothing can be said.
        clear = (best > 0) & (limit > 0)
        return np.where(clear, limit.view(np.int32) >> 16, np.iinfo(np.int16).max).astype(np.int16)

    def _candidates(self, keys: Any, maxima: Any, limit: Any) -> tuple[IntArray, IntArray]:
        """Return rows and columns of all pairs whose rough score reaches the query's limit, by row."""
        groups, rows = _true(maxima >= limit)
        place, which = _true(keys.reshape(self.size, self.groups, -1)[:, groups, rows] >= limit[rows])
        order = np.argsort(rows[which].astype(np.int16), kind="stable")  # by counting, which NumPy does in 16 bits only
        which, place = which[order], place[order]
        return rows[which], place * self.groups + groups[which]


def _tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    import torch

    with warnings.catch_warnings():  # of a loaded index the vectors are a read-only file; nothing is written to them
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _lengths(rows: FloatArray) -> FloatArray:
    return np.sqrt(np.vecdot(rows, rows))


def _true(mask: BoolArray) -> tuple[IntArray, IntArray]:
    """Return what `numpy.nonzero` does of a matrix, in half the time."""
    flat = np.flatnonzero(mask)
    rows = flat // mask.shape[1]
    return rows, flat - rows * mask.shape[1]


def _keys(rough: Any) -> npt.NDArray[Any]:
    """Return a tensor's values as an array, those of bfloat16 as their bit patterns."""
    import torch

    return np.asarray((rough.view(torch.int16) if rough.dtype == torch.bfloat16 else rough).numpy())


def place_best(rows: IntArray, columns: IntArray, values: FloatArray, positions: IntArray, scores: FloatArray) -> None:
    """Write the first ``k`` pairs of each row, by falling score and rising position, into place; ``rows`` ascend.

    A pair is sorted as one whole number: what falls as the score rises above what rises with the position.
    """
    bits = (values + np.float32(0)).view(np.int32).astype(np.int64)  # -0 becomes 0
    falling = ~(bits ^ ((bits >> 63) & 0x7FFFFFFF))
    counts = np.bincount(rows, minlength=len(positions))
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((len(positions), max(1, int(counts.max(initial=0)))), np.iinfo(np.int64).max)
    table[rows, place] = (falling << 32) | columns
    table = np.sort(table, axis=1)[:, : positions.shape[1]]
    there = np.arange(table.shape[1]) < counts[:, None]
    positions[:, : table.shape[1]][there] = (table & 0xFFFFFFFF)[there]
    ordered = ~(table >> 32)
    scores[:, : table.shape[1]][there] = (ordered ^ ((ordered >> 63) & 0x7FFFFFFF)).astype(np.int32).view(np.float32)[there]

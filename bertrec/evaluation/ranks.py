"""Ranks of targets among all candidates: counted, never sorted, with ties broken against the model.

Positions are those of one ranked list per user, as trec_eval and ranx see it: candidates in descending order of score;
among equals first the items that are no targets, then the targets in the order given. So other targets of the same user
that score above a target do stand above it, and no two targets share a position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.distinct import among, without
from bertrec.core.errors import DataError, NotFiniteError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.evaluation.flags import cells_of, count_flags, flag_at_least, padded

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.floating[Any]]

UNLISTED = 1 << 30
"""The rank, from here on, of a target that no list holds: beyond every cut-off."""

_FLAGS_A_PAIR = 32  # up to so many, flags for all pairs of a user and an item are cheaper than sorting the seen ones
_BLOCK_BYTES = 1 << 21  # a block of scores and its comparison stay in the second-level cache
_FLAGS_AT_ONCE = 1 << 19  # and so do these


def rank_targets(
    scores: FloatArray,
    targets: Ragged,
    *,
    seen: Ragged | None = None,
    candidates: BoolArray | None = None,
    users: Sequence[str | int] | None = None,
    first_row: int = 0,
) -> IntArray:
    """Return the rank, from 1, of every target among its user's candidates.

    Candidates are the columns from 1 on that ``candidates`` allows and that the user has not seen; a target that was seen stays one.
    ``-inf`` says that the model gives the item no score: it stands after all scored candidates, and such a target comes last
    (`unlisted` then puts it beyond every list).

    Args:
        scores: ``[b, n_items + 1]``, higher is better; column 0 is padding and ignored.
        targets: ``b`` rows of distinct inner item ids.
        seen: ``b`` rows of inner item ids, repeats allowed; None masks nothing.
        candidates: ``[n_items + 1]``; None allows the whole catalogue.
        users: ``[b]`` names for error texts.
        first_row: the number of the first row, for error texts.

    Returns:
        ``[total targets]`` int64, in the order of ``targets.values``.

    Raises:
        DataError: shapes that do not fit, a target outside the candidates or twice in a row.
        NotFiniteError: a score is NaN or +inf; the text names row and column.

    >>> rank_targets(np.array([[9.0, 0.5, 0.7, 0.5]]), Ragged.from_rows([[1]]))
    array([3])
    """
    scores = as_scores(scores)
    check_items(targets, scores.shape, candidates, first_row=first_row)
    if seen is not None:
        check_range(seen, scores.shape, "seen items")
    ranks = np.empty(len(targets.values), dtype=np.int64)
    for start, stop in blocks(scores):
        block = scores[start:stop]
        _check_finite(block, first_row + start, users[start:stop] if users is not None else None)
        part = None if seen is None else seen.slice(start, stop)
        ranks[targets.offsets[start] : targets.offsets[stop]] = _rank_block(block, targets.slice(start, stop), part, candidates)
    return ranks


def blocks(scores: FloatArray) -> Iterator[tuple[int, int]]:
    """Yield the borders of row blocks that fit the second-level cache."""
    step = max(1, _BLOCK_BYTES // (scores.shape[1] * scores.itemsize))
    return ((start, min(start + step, len(scores))) for start in range(0, len(scores), step))


def _rank_block(scores: FloatArray, targets: Ragged, seen: Ragged | None, candidates: BoolArray | None) -> IntArray:
    rows = targets.rows
    wanted = scores[rows, targets.values]
    others = masked_scores(scores, seen=seen, candidates=candidates)
    others[rows, targets.values] = np.nan
    above = np.empty(len(rows), dtype=np.int64)
    lengths, flags = targets.lengths, np.zeros((len(scores), padded(scores.shape[1])), bool)
    for position in range(int(lengths.max(initial=0))):
        has = np.flatnonzero(lengths > position)
        which = targets.offsets[has] + position
        block = others if len(has) == len(others) else others[has]
        flag_at_least(block, wanted[which, None], flags[: len(has), : scores.shape[1]])
        above[which] = count_flags(flags[: len(has)])
    return above + place_among_targets(wanted, rows, targets.offsets) + 1


def place_among_targets(wanted: FloatArray, rows: IntArray, offsets: IntArray) -> IntArray:
    """Return for each target how many targets of its row stand before it (equals in the order given); ``rows`` ascend."""
    if not np.any(rows[1:] == rows[:-1]):
        return np.zeros(len(rows), dtype=np.int64)
    order = np.lexsort((-wanted, rows))
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.arange(len(rows)) - offsets[rows]
    return place


def unlisted(ranks: IntArray, without_score: BoolArray) -> IntArray:
    """Move targets without a score beyond every cut-off, ``[total]``: they stand last, but in no list, however few candidates there are."""
    return np.where(without_score, UNLISTED + ranks, ranks)


def ranks_in_lists(items: IntArray, scores: FloatArray, targets: Ragged) -> IntArray:
    """Return the rank of every target in its user's list, ties against it; from `UNLISTED` where the list does not hold it.

    Args:
        items: ``[n, k]`` inner ids, padded with 0.
        scores: ``[n, k]``, by which the lists are ordered.
        targets: ``n`` rows of inner item ids.

    >>> ranks_in_lists(np.array([[4, 2, 1]]), np.array([[0.9, 0.5, 0.5]]), Ragged.from_rows([[2, 3]])).tolist()
    [3, 1073741825]
    """
    rows = targets.rows
    own = items[rows] == targets.values[:, None]
    listed = own.any(axis=1)
    wanted = np.where(listed, np.where(own, scores[rows], -np.inf).max(axis=1, initial=-np.inf), -np.inf)
    width = int(max(items.max(initial=0), targets.values.max(initial=0))) + 1
    keys = np.arange(len(items))[:, None] * width + items
    others = (items > 0) & ~among(keys.reshape(-1), pair_keys(targets, width)).reshape(items.shape)
    above = (others[rows] & (scores[rows] >= wanted[:, None])).sum(axis=1)
    return np.where(listed, above, UNLISTED) + place_among_targets(wanted, rows, targets.offsets) + np.where(listed, 1, 0)


def masked_scores(scores: FloatArray, *, seen: Ragged | None, candidates: BoolArray | None) -> FloatArray:
    """Return a copy with NaN, which no comparison counts, where a column is no candidate of the row."""
    masked = scores.copy()
    masked[:, 0] = np.nan
    if candidates is not None:
        masked[:, ~candidates] = np.nan
    if seen is not None:
        masked[seen.rows, seen.values] = np.nan
    return masked


def as_scores(scores: Any) -> FloatArray:
    """Return a ``[b, n_items + 1]`` array of float32 or float64 (other types are converted to float32 where that is exact).

    Raises:
        DataError: not a table of numbers with at least one item.
    """
    array = np.asarray(scores)
    if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "fiu":
        raise DataError(f"scores must be a table of numbers [users, items + 1], not {array.dtype} of shape {list(array.shape)}")
    if array.dtype in (np.float32, np.float64):
        return array
    return array.astype(np.float32 if array.dtype == np.float16 else np.float64)


def check_items(targets: Ragged, shape: tuple[int, ...], candidates: BoolArray | None, *, first_row: int = 0) -> None:
    """Raise DataError where targets are not distinct candidates, one row per row of scores, which have this shape."""
    if candidates is not None and candidates.shape != shape[1:]:
        raise DataError(f"candidates must be a mask of {shape[1]} columns, as the scores have, not of shape {list(candidates.shape)}")
    check_range(targets, shape, "targets")
    allowed = targets.values > 0 if candidates is None else (targets.values > 0) & candidates[targets.values]
    if not allowed.all():
        at = int(np.argmin(allowed))
        raise DataError(
            f"row {first_row + targets.rows[at]}: target {targets.values[at]} is no candidate; leave such targets out before ranking"
        )
    double = ~first_occurrences(targets)
    if double.any():
        at = int(np.argmax(double))
        raise DataError(f"row {first_row + targets.rows[at]}: target {targets.values[at]} stands there twice; keep one of each")


def check_range(items: Ragged, shape: tuple[int, ...], what: str) -> None:
    """Raise DataError where items are not inner ids, one row per row of scores, which have this shape."""
    if len(items) != shape[0]:
        raise DataError(f"{what} have {len(items)} rows, scores have {shape[0]}")
    if len(items.values) and (items.values.min() < 0 or items.values.max() >= shape[1]):
        raise DataError(f"{what} must be inner item ids up to {shape[1] - 1}, found {items.values.min()} to {items.values.max()}")


def _check_finite(block: FloatArray, first_row: int, users: Sequence[str | int] | None) -> None:
    best = block[:, 1:].max(axis=1)  # NaN wins every maximum, so one pass finds NaN and +inf
    if np.all(best < np.inf):
        return
    row = int(np.argmin(best < np.inf))
    column = 1 + int(np.argmin(block[row, 1:] < np.inf))
    who = f" (user {users[row]!r})" if users is not None else ""
    raise NotFiniteError(
        f"row {first_row + row}{who}, item {column}: the score is {block[row, column]}; scores must be finite, "
        "or -inf where the model knows no score (look for a diverged training or a fully masked attention row)"
    )


def unseen_targets(targets: Ragged, histories: Ragged) -> BoolArray:
    """Return ``[total]``: whether a target is no item of its row's history.

    >>> unseen_targets(Ragged.from_rows([[1, 2], [1]]), Ragged.from_rows([[2, 3], [2]]))
    array([ True, False,  True])
    """
    width = int(max(targets.values.max(initial=0), histories.values.max(initial=0))) + 1
    return ~among(pair_keys(targets, width), pair_keys(histories, width))


def first_occurrences(items: Ragged) -> BoolArray:
    """Return ``[total]``: whether a value stands in its row for the first time."""
    if items.lengths.max(initial=0) < 2:
        return np.ones(len(items.values), dtype=bool)
    keep = np.zeros(len(items.values), dtype=bool)
    keep[np.unique(pair_keys(items), return_index=True)[1]] = True
    return keep


def pair_keys(items: Ragged, width: int | None = None) -> IntArray:
    """Return one int64 a (row, value) pair, ``row * width + value``."""
    width = int(items.values.max(initial=0)) + 1 if width is None else width
    return items.rows * width + items.values


def count_candidates(targets: Ragged, *, n_items: int, seen: Ragged | None = None, candidates: BoolArray | None = None) -> IntArray:
    """Return ``[b]``: how many candidates `rank_targets` ranks for each row.

    >>> count_candidates(Ragged.from_rows([[1]]), n_items=5, seen=Ragged.from_rows([[1, 2, 2, 3]]))
    array([3])
    """
    total = n_items if candidates is None else int(np.count_nonzero(candidates[1:]))
    counts = np.full(len(targets), total, dtype=np.int64)
    if seen is None:
        return counts
    if len(targets) * (n_items + 1) <= _FLAGS_A_PAIR * len(seen.values):
        return counts - _count_gone(targets, n_items, seen, candidates)
    gone = without(pair_keys(seen, n_items + 1), pair_keys(targets, n_items + 1))
    gone = gone[gone % (n_items + 1) > 0]
    if candidates is not None:
        gone = gone[candidates[gone % (n_items + 1)]]
    return counts - np.bincount(gone // (n_items + 1), minlength=len(targets))


def _count_gone(targets: Ragged, n_items: int, seen: Ragged, candidates: BoolArray | None) -> IntArray:
    """Return ``[b]``: how many candidates each row has seen, targets not counted, by a flag for every pair of row and item."""
    width, gone = padded(n_items + 1), np.empty(len(targets), dtype=np.int64)
    step = max(1, _FLAGS_AT_ONCE // width)
    for start in range(0, len(targets), step):
        stop = min(start + step, len(targets))
        flags = np.zeros((stop - start, width), bool)
        flags.reshape(-1)[cells_of(seen, start, stop, width)] = True
        flags.reshape(-1)[cells_of(targets, start, stop, width)] = False
        flags[:, 0] = False
        if candidates is not None:
            flags[:, : n_items + 1] &= candidates
        gone[start:stop] = count_flags(flags)
    return gone

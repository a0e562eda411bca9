"""Which reviews a row may read: those from before its moment, never one of the pair that is scored. All rankers ask here."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect
from bertrec.core.distinct import among
from bertrec.core.errors import DataError
from bertrec.core.ordering import stable_order
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.rankers.context import Context, Known, has_clock
from bertrec.rankers.counts import EventCounts


def lacking(known: Known | None, wanted: AbstractSet[str]) -> tuple[str, ...]:
    """Say which texts of users a ranker would read that the data do not have, a line each.

    Args:
        known: what is known of the users; of None, which is given where nothing is to be read, nothing is said.
        wanted: of ``profile`` and ``reviews``.
    """
    if known is None:
        return ()
    profiles = () if known.users is None else known.users.texts
    reviews = () if known.past is None else known.past.text or ()
    kinds = {"profile": (profiles, "--user-texts FILE brings some"), "reviews": (reviews, "they stand in a column 'text' of interactions")}
    return tuple(
        f"no {'profile of a user' if kind == 'profile' else 'review'} is known, so none is read: {mend}"
        for kind, (texts, mend) in kinds.items()
        if kind in wanted and not any(text.strip() for text in texts)
    )


def reviews_before(
    context: Context, histories: Ragged, candidates: Ragged | None = None, *, most: int, catalog: ItemCatalog | None = None
) -> Ragged:
    """Return the reviews that the user of each row had written before its moment, newest first.

    A review of any of the row's candidates is left out, whenever it was written: what a row reads is the same for all of them. Where there
    is no clock, of the row or of the reviews, only those are taken that go with an item of the history: the k-th review of an item with its
    k-th place there. A row whose moment is no number has none, nor has an unknown user.

    Args:
        context: of ``n`` rows.
        histories: ``[n]`` rows of inner ids, oldest first.
        candidates: ``[n]`` rows of inner ids; None leaves out nothing.
        most: reviews of a row, at most.
        catalog: by which histories and candidates are numbered; None: that of the past.

    Returns:
        ``[n]`` rows of places in ``context.known.past.text``; texts of white space alone are none.

    Raises:
        DataError: rows that do not match.
    """
    past = _reviewed(context, histories, candidates)
    if past is None or not most:
        return _empty(len(histories))
    asked, items = past.users.encode(context.users), _items(past, catalog)
    pairs = (past.sequences.rows + 1) * _width(past, catalog) + items
    if _clocked(context, past):
        written = _written(past)
        shown = np.zeros(len(histories), np.int64) if candidates is None else candidates.lengths
        spare = shown * _most_of_a_pair(pairs[written])
        found = _earlier(past.sequences.rows[written] + 1, written, past, asked, context, most + spare)
    else:
        found = _beside(histories, asked, past, pairs, _width(past, catalog))
    if candidates is not None:
        found = found.where(~_holds(found, items[found.values], candidates, _width(past, catalog)))
    return _newest_first(found.last(most))


def reviews_of_candidates(context: Context, candidates: Ragged, *, most: int, catalog: ItemCatalog | None = None) -> Ragged:
    """Return what others had written of each candidate before its row's moment, newest first.

    Where there is no clock, of the row or of the reviews, nobody knows what was there before: then there are none.

    Args:
        context: of ``n`` rows.
        candidates: ``[n]`` rows of inner ids.
        most: reviews of a candidate, at most.
        catalog: by which candidates are numbered; None: that of the past.

    Returns:
        ``[total candidates]`` rows of places in ``context.known.past.text``.

    Raises:
        DataError: rows that do not match.
    """
    past = _reviewed(context, candidates, None)
    if past is None or not most or not _clocked(context, past):
        return _empty(len(candidates.values))
    asked, owners, items = past.users.encode(context.users)[candidates.rows], past.sequences.rows + 1, _items(past, catalog)
    written = _written(past)
    spare = _most_of_a_pair((owners * _width(past, catalog) + items)[written])
    each = context.take(candidates.rows)
    found = _earlier(items[written], written, past, candidates.values, each, np.full(len(asked), most + spare))
    others = owners[found.values] != asked[found.rows]
    return _newest_first(found.where(others).last(most))


def _reviewed(context: Context, rows: Ragged, more: Ragged | None) -> Interactions | None:
    """Return the past, if it has reviews.

    Raises:
        DataError: rows that do not match.
    """
    expect(context, Context, "reviews: context")
    if len(context) != len(rows) or (more is not None and len(more) != len(rows)):
        raise DataError(f"a context of {len(context)} rows for {len(rows)} rows to score")
    past = context.known.past
    return None if past is None or past.text is None else past


def _clocked(context: Context, past: Interactions) -> bool:
    return context.times is not None and has_clock(past)


def _width(past: Interactions, catalog: ItemCatalog | None) -> int:
    return len(past.catalog if catalog is None else catalog) + 1


def _items(past: Interactions, catalog: ItemCatalog | None) -> IntArray:
    """Return the item of each interaction by its number in the catalogue, 0 where that lacks it."""
    if catalog is None or catalog is past.catalog or catalog.ids == past.catalog.ids:
        return past.sequences.values
    return np.append(0, catalog.ids.encode(past.catalog.ids.ids))[past.sequences.values]


def _written(past: Interactions) -> IntArray:
    """Return the places of the interactions that have a text, and a time where there is a clock."""
    assert past.text is not None
    told = np.fromiter((bool(text.strip()) for text in past.text), np.bool_, len(past.text))
    return np.flatnonzero(told if past.timestamp is None else told & np.isfinite(past.timestamp))


def _most_of_a_pair(pairs: IntArray) -> int:
    """Return how many reviews a user wrote of one item, at most."""
    return int(_turns(pairs).max(initial=-1)) + 1


def _turns(keys: IntArray) -> IntArray:
    """Return how often each key stood before, ``[n]``.

    >>> _turns(np.array([7, 8, 7, 7])).tolist()
    [0, 0, 1, 2]
    """
    order = stable_order(keys)
    first = np.diff(keys[order], prepend=keys.min(initial=0) - 1) != 0
    starts = np.maximum.accumulate(np.where(first, np.arange(len(keys)), 0))
    turns = np.empty(len(keys), np.int64)
    turns[order] = np.arange(len(keys)) - starts
    return turns


def _earlier(owners: IntArray, places: IntArray, past: Interactions, asked: IntArray, context: Context, most: IntArray) -> Ragged:
    """Return the newest ``most [n]`` of the ``places [m]`` of owner ``asked [n]`` strictly before the moment of each row, oldest first."""
    assert past.timestamp is not None
    assert context.times is not None
    times = past.timestamp[places]
    order = stable_order(owners, times)
    passed = EventCounts(owners, times, int(max(owners.max(initial=0), asked.max(initial=0))) + 1).before(asked, context.times)
    return Ragged.before(places[order], np.searchsorted(owners[order], asked) + passed, np.minimum(passed, most))


def _beside(histories: Ragged, asked: IntArray, past: Interactions, pairs: IntArray, width: int) -> Ragged:
    """Return the place that goes with each item of the histories, where it has a text, oldest first; ``pairs`` of users and items."""
    kept, turns = _written(past), _turns(pairs)
    most = int(turns.max(initial=0)) + 1
    wanted, turn = asked[histories.rows] * width + histories.values, _turns(histories.rows * width + histories.values)
    keys = pairs[kept] * most + turns[kept]
    order = np.argsort(keys)
    at = np.searchsorted(keys, wanted * most + turn, sorter=order)
    place = np.append(kept[order], -1)[at]  # -1 beyond the last key
    same = (place >= 0) & (turn < most)
    same[same] = (pairs[place[same]] == wanted[same]) & (turns[place[same]] == turn[same])
    return Ragged(place, histories.offsets).where(same)


def _holds(found: Ragged, items: IntArray, candidates: Ragged, width: int) -> npt.NDArray[np.bool_]:
    """Say of each found review whether its item is among the candidates of its row."""
    return among(found.rows * width + items, candidates.rows * width + candidates.values)


def _newest_first(rows: Ragged) -> Ragged:
    places = rows.offsets[:-1][rows.rows] + rows.offsets[1:][rows.rows] - 1 - np.arange(len(rows.values))
    return Ragged(rows.values[places], rows.offsets)


def _empty(count: int) -> Ragged:
    return Ragged.from_lengths(np.zeros(0, np.int64), np.zeros(count, np.int64))

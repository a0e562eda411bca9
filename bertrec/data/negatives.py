"""Candidates to train on: each click beside items that were not clicked, from impressions or from sequences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bertrec.core.distinct import distinct
from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions

_ROUNDS = 20  # of drawing again what was refused; rows still short after them are drawn among all that is allowed
_EXACT_CELLS = 1 << 22  # rows × items held at once in that exact draw


def sample_negatives(impressions: Impressions, k: int, seed: int) -> Impressions:
    """Return one row per click, as Prompt4NR trains: it and ``k`` candidates of its impression that were not clicked.

    Negatives are distinct places of the impression, every set of them equally likely; fewer where the impression has fewer. An item
    that was clicked anywhere in the impression is no negative. The click stands at a random place. Impressions without a click or
    without such a candidate are left out and counted in ``notes``.

    Args:
        impressions: with labels.
        k: negatives per click.
        seed: of the choice and the order; another one per epoch gives other negatives.

    Returns:
        Rows in the order of the impressions and their clicks; ids, users, histories and times are those of the impression.

    Raises:
        DataError: ``k`` is below 1, the labels are withheld, or nothing is left.
    """
    return sample_places(impressions, k, seed)[0]


def sample_places(impressions: Impressions, k: int, seed: int) -> tuple[Impressions, IntArray]:
    """Return what `sample_negatives` does, and the place of each of its candidates among those of ``impressions``."""
    _check_count(k)
    if impressions.labels is None:
        raise DataError("negatives need labels, and these impressions have none")
    shown = impressions.candidates
    clicked = impressions.labels == 1
    place = Ragged(np.arange(len(shown.values)), shown.offsets)
    clicks, others = place.where(clicked), place.where(~_clicked_items(impressions, clicked))
    usable = (clicks.lengths > 0) & (others.lengths > 0)
    notes = _left_out(clicks.lengths, others.lengths)
    if not usable.any():
        raise DataError(f"no impression holds both a click and another candidate: {'; '.join(notes)}")
    clicks = clicks.where(usable[clicks.rows])
    generator = np.random.default_rng(seed)
    drawn = _distinct(generator, others.lengths[clicks.rows], k)
    negatives = np.where(drawn >= 0, others.values[np.maximum(others.offsets[clicks.rows][:, None] + drawn, 0)], -1)
    candidates, labels = _shuffled(generator, clicks.values, negatives)
    rows = clicks.rows
    drawn_rows = replace(
        impressions,
        ids=[impressions.ids[row] for row in rows],
        users=[impressions.users[row] for row in rows],
        histories=impressions.histories.take(rows),
        candidates=Ragged(shown.values[candidates.values], candidates.offsets),
        labels=labels,
        levels=None if impressions.levels is None else impressions.levels[candidates.values],
        timestamp=None if impressions.timestamp is None else impressions.timestamp[rows],
        notes=(*impressions.notes, *notes),
    )
    return drawn_rows, candidates.values


def impressions_from_sequences(
    interactions: Interactions, *, negatives: int, seed: int, last: int | None = None, alpha: float = 0.0, max_history: int | None = None
) -> Impressions:
    """Return one row per position: the item met there as the click, sampled negatives, the items before as history.

    Negatives are distinct items that occur in these interactions (an item that training never sees is not pushed down) and that the user
    never met, before or after; fewer where there are fewer. The first position of a user has an empty history. Positions of users who met
    every item are left out and counted in ``notes``.

    Args:
        interactions: the training part.
        negatives: how many per click.
        seed: of the negatives and the order of the candidates.
        last: positions per user from the end; None for all.
        alpha: negatives are drawn by (number of interactions) to this power; 0 is uniform.
        max_history: keep the newest of a history only; without it the histories of long sequences take memory by their square.

    Returns:
        Impressions numbered from 1, in the order of users and positions; times are those of the clicks where there is a clock.

    Raises:
        DataError: a number below its range, or nothing is left.
    """
    _check_count(negatives)
    for name, number, least in (("last", last, 1), ("max_history", max_history, 0)):
        if number is not None and number < least:
            raise DataError(f"{name} must be {least} or more, or None, got {number}")
    if not 0 <= alpha < np.inf:
        raise DataError(f"alpha, the power of popularity, must be 0 or more, got {alpha}")
    sequences = interactions.sequences
    met = _Met(interactions)
    at, rows = np.arange(len(sequences.values)), sequences.rows
    keep = met.others[rows] > 0
    notes = _counted({"positions of users who met every item": int(np.count_nonzero(~keep))})
    if last is not None:
        keep &= sequences.offsets[1:][rows] - at <= last
    if not keep.any():
        raise DataError(f"no position is left to make an impression of: {len(at)} interactions; {'; '.join(notes)}")
    at, rows = at[keep], rows[keep]
    generator = np.random.default_rng(seed)
    candidates, labels = _shuffled(generator, sequences.values[at], _unmet(generator, met, rows, negatives, alpha))
    before = at - sequences.offsets[rows]
    return Impressions(
        interactions.catalog,
        [str(number) for number in range(1, len(at) + 1)],
        [interactions.users.ids[row] for row in rows],
        Ragged.before(sequences.values, at, before if max_history is None else np.minimum(before, max_history)),
        candidates,
        labels,
        None if interactions.timestamp is None or interactions.timestamp_is_position else interactions.timestamp[at],
        (*interactions.notes, *notes),
    )


class _Met:
    """Which items each user met, of those that occur at all."""

    def __init__(self, interactions: Interactions) -> None:
        self._width = len(interactions.catalog) + 1
        self._pairs = distinct(interactions.sequences.rows * self._width + interactions.sequences.values)
        self.counts = interactions.item_counts
        self.items = np.flatnonzero(self.counts)
        self.others = len(self.items) - np.bincount(self._pairs // self._width, minlength=len(interactions.sequences))

    def holds(self, rows: IntArray, items: IntArray) -> npt.NDArray[np.bool_]:
        pairs = rows * self._width + items
        place = np.minimum(np.searchsorted(self._pairs, pairs), len(self._pairs) - 1)
        return np.asarray(self._pairs[place] == pairs)


def _unmet(generator: np.random.Generator, met: _Met, rows: IntArray, k: int, alpha: float) -> IntArray:
    """Draw up to ``k`` distinct unmet items for each of ``rows`` one after another, ``[n, k]``, -1 where there are fewer."""
    logits = alpha * np.log(met.counts[met.items])
    weights = np.exp(logits - logits.max())
    edges = np.cumsum(weights / weights.sum())
    drawn = np.full((len(rows), k), -1, dtype=np.int64)
    for column in range(k):
        open_rows = np.flatnonzero(met.others[rows] > column)
        for _ in range(_ROUNDS):
            if not len(open_rows):
                break
            place = np.minimum(np.searchsorted(edges, generator.random(len(open_rows)), side="right"), len(edges) - 1)
            items = met.items[place]
            refused = met.holds(rows[open_rows], items) | (drawn[open_rows, :column] == items[:, None]).any(axis=1)
            drawn[open_rows[~refused], column] = items[~refused]
            open_rows = open_rows[refused]
        step = max(1, _EXACT_CELLS // len(met.items))
        for start in range(0, len(open_rows), step):
            some = open_rows[start : start + step]
            drawn[some, column] = _exactly(generator, met, rows[some], drawn[some, :column], logits)
    return drawn


def _exactly(generator: np.random.Generator, met: _Met, rows: IntArray, taken: IntArray, logits: npt.NDArray[np.float64]) -> IntArray:
    """Draw one item per row among all that are allowed, by the exponential of its logit: the highest Gumbel key."""
    keys = logits + generator.gumbel(size=(len(rows), len(met.items)))
    refused = met.holds(rows[:, None], met.items[None, :])
    for column in range(taken.shape[1]):
        refused |= met.items[None, :] == taken[:, column, None]
    return np.asarray(met.items[np.argmax(np.where(refused, -np.inf, keys), axis=1)])


def _distinct(generator: np.random.Generator, sizes: IntArray, k: int) -> IntArray:
    """Draw ``min(k, size)`` distinct numbers below each size by Floyd's algorithm, every set equally likely, ``[n, k]``, -1 for none."""
    drawn = np.full((len(sizes), k), -1, dtype=np.int64)
    wanted = np.minimum(sizes, k)
    for column in range(k):
        top = sizes - wanted + column
        number = generator.integers(0, np.maximum(top, 0) + 1)
        number = np.where((drawn[:, :column] == number[:, None]).any(axis=1), top, number)
        drawn[:, column] = np.where(column < wanted, number, -1)
    return drawn


def _shuffled(generator: np.random.Generator, clicks: IntArray, negatives: IntArray) -> tuple[Ragged, npt.NDArray[np.int8]]:
    """Put each click ``[n]`` and its negatives ``[n, k]`` (-1 for none) into a random order, with labels."""
    together = np.concatenate([clicks[:, None], negatives], axis=1)
    present = together >= 0
    order = np.argsort(np.where(present, generator.random(together.shape), 2.0), axis=1)
    lengths = present.sum(axis=1)
    filled = np.arange(together.shape[1]) < lengths[:, None]
    labels = (order == 0)[filled].astype(np.int8)
    return Ragged.from_lengths(np.take_along_axis(together, order, axis=1)[filled], lengths), labels


def _clicked_items(impressions: Impressions, clicked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Say of each candidate whether its item was clicked in its impression, at this place or another."""
    pairs = impressions.candidates.rows * (len(impressions.catalog) + 1) + impressions.candidates.values
    return np.isin(pairs, pairs[clicked])


def _left_out(clicks: IntArray, others: IntArray) -> tuple[str, ...]:
    return _counted(
        {
            "impressions without a click": int(np.count_nonzero(clicks == 0)),
            "impressions without a candidate that was not clicked": int(np.count_nonzero((clicks > 0) & (others == 0))),
        }
    )


def _counted(counts: dict[str, int]) -> tuple[str, ...]:
    return tuple(f"{count} {what} (left out of training)" for what, count in counts.items() if count)


def _check_count(k: int) -> None:
    if k < 1:
        raise DataError(f"the number of negatives must be 1 or more, got {k}")

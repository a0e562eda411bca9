"""The ratings that a ranker may learn from: those of the pairs that it is trained on, and no others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.rankers.context import Known, has_clock

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GivenRatings:
    """Rated pairs of the training impressions.

    Attributes:
        users: who rated, numbered from 1.
        user, item: inner ids of each pair, ``[n]`` from 1.
        row: the impression of each pair, ``[n]``.
        rating: ``[n]``.
        without: pairs of the impressions that have no rating, such as drawn negatives.
    """

    users: IdMap
    user: IntArray
    item: IntArray
    row: IntArray
    rating: Float64Array
    without: int

    @classmethod
    def of(cls, impressions: Impressions, known: Known | None, *, what: str) -> GivenRatings:
        """Look up the ratings of the candidates in ``known.past``; of a pair with several the latest until its row's moment counts.

        Nothing else of ``known`` is read, so a rating that is held out cannot be learned, wherever ``known`` ends. Rows without a
        moment take the latest of all.

        Raises:
            DataError: there are no ratings, or none of these pairs.
        """
        past = None if known is None else known.past
        if past is None or past.rating is None:
            raise DataError(f"{what} learns from ratings, and these data have none: add a column 'rating', or take another ranker")
        rows, items = impressions.candidates.rows, impressions.candidates.values
        moments = np.full(len(impressions), np.nan)
        if impressions.timestamp is not None and has_clock(past):
            moments = impressions.timestamp
        found = _looked_up(past, past.users.encode(impressions.users)[rows], items, moments[rows])
        rated = np.isfinite(found)
        if not rated.any():
            raise DataError(f"{what} learns from ratings, and none of the {len(items)} pairs to learn from has one")
        own = np.asarray(impressions.users, dtype=object)[rows[rated]].tolist()
        users = IdMap(dict.fromkeys(own))
        return cls(users, users.encode(own), items[rated], rows[rated], found[rated], int((~rated).sum()))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out, a line each."""
        return (f"{self.without} pairs without a rating (left out of training)",) if self.without else ()


def _looked_up(past: Interactions, users: IntArray, items: IntArray, moments: Float64Array) -> Float64Array:
    """Return the rating of each pair of inner ids, ``[n]``, the latest until its moment; NaN where there is none."""
    assert past.rating is not None
    return np.append(past.rating.astype(np.float64), np.nan)[latest_places(past, users, items, moments=moments)]


def latest_places(past: Interactions, users: IntArray, items: IntArray, *, moments: Float64Array | None = None) -> IntArray:
    """Return where in ``past`` each user met each item, the latest time until a moment, ``[n]``; -1 where never.

    Args:
        past: the interactions.
        users: inner ids, ``[n]``.
        items: inner ids, ``[n]``.
        moments: ``[n]``; None, and NaN, stand for the end.
    """
    width, last = len(past.catalog) + 1, np.full(len(users), np.nan) if moments is None else moments
    pairs, numbers = np.unique((past.sequences.rows + 1) * width + past.sequences.values, return_inverse=True)
    times = np.zeros(len(numbers)) if past.timestamp is None else past.timestamp
    clock = np.unique(times)
    # One sorted array of (pair, number of the moment), so that every question is a binary search.
    keys = numbers * (len(clock) + 1) + np.searchsorted(clock, times)
    order = np.argsort(keys, kind="stable")
    asked = users * width + items
    number = np.searchsorted(pairs, asked)
    until = number * (len(clock) + 1) + np.searchsorted(clock, last, side="right") - 1
    at = np.append(order, -1)[np.searchsorted(keys[order], until, side="right") - 1]  # -1 before the first
    same = (at >= 0) & (np.append(pairs, -1)[number] == asked)
    same[same] = numbers[at[same]] == number[same]
    return np.where(same, at, -1)

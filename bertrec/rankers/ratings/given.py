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
        found = np.append(past.rating.astype(np.float64), np.nan)[latest_places(past, impressions)]
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


def latest_places(past: Interactions, impressions: Impressions) -> IntArray:
    """Return where in ``past`` the user of each candidate met it, the latest time until the row's moment, ``[total candidates]``.

    A row without a moment, or a past without a clock, takes the latest of all. -1 stands where there is none.
    """
    rows, items = impressions.candidates.rows, impressions.candidates.values
    asked = past.users.encode(impressions.users)[rows] * (len(past.catalog) + 1) + items
    clocked = impressions.timestamp is not None and has_clock(past)
    moments = impressions.timestamp[rows] if clocked and impressions.timestamp is not None else np.full(len(rows), np.nan)
    times = past.timestamp if clocked and past.timestamp is not None else np.zeros(len(past.sequences.values))
    return _last_until((past.sequences.rows + 1) * (len(past.catalog) + 1) + past.sequences.values, times, asked, moments)


def _last_until(keys: IntArray, times: Float64Array, asked: IntArray, moments: Float64Array) -> IntArray:
    """Return the place of the last of ``keys [m]`` that equals ``asked [n]`` until ``moments [n]``, NaN for the end; -1 for none."""
    if not len(keys):
        return np.full(len(asked), -1)
    distinct, numbers = np.unique(keys, return_inverse=True)
    clock = np.unique(times)
    # One sorted array of (key, number of the moment), so that every question is a binary search.
    whole = numbers * (len(clock) + 1) + np.searchsorted(clock, times)
    order = np.argsort(whole, kind="stable")
    number = np.searchsorted(distinct, asked)
    until = number * (len(clock) + 1) + np.searchsorted(clock, moments, side="right") - 1
    at = np.searchsorted(whole[order], until, side="right") - 1
    place = order[np.maximum(at, 0)]
    return np.where((at >= 0) & (keys[place] == asked), place, -1)

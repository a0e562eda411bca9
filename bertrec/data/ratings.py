"""Ratings as pairs to judge: would this user like this item, after what the user liked before?"""

from __future__ import annotations

import numpy as np

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions


def impressions_from_ratings(
    interactions: Interactions, *, liked_from: float = 4.0, max_history: int | None = None, most: int = 16, joined: bool = False
) -> Impressions:
    """Return each rating as a candidate with a label, after the items that the user had liked until then.

    An impression holds the ratings that a user gave at one moment, none of which is in their history. ``joined`` puts ratings of
    later moments into it too, for training: far fewer histories to read, some of them older than they could be.

    Args:
        interactions: with ratings.
        liked_from: the lowest rating of an item that the user likes (label 1, and part of later histories).
        max_history: keep the newest of a history only.
        most: candidates of an impression.
        joined: fill impressions up to ``most``, with the history before the first candidate's moment.

    Returns:
        Impressions numbered from 1, in the order of users and times; the time is that of the first candidate. A history may be empty.

    Raises:
        DataError: there are no ratings or one is missing, or a number is below its range.
    """
    ratings = interactions.rating
    if ratings is None:
        raise DataError("ratings are needed, and these interactions have none: add a column 'rating'")
    if not np.isfinite(ratings).all():
        raise DataError(f"interaction {int(np.argmin(np.isfinite(ratings))) + 1} has no rating: drop such rows first")
    for name, number, least in (("most", most, 1), ("max_history", max_history, 0)):
        if number is not None and number < least:
            raise DataError(f"{name} must be {least} or more, got {number}")
    sequences, time = interactions.sequences, interactions.timestamp
    rows, at = sequences.rows, np.arange(len(sequences.values))
    new_user = np.diff(rows, prepend=-1) > 0
    moment = at if time is None else np.maximum.accumulate(np.where(new_user | (np.diff(time, prepend=np.nan) != 0), at, 0))
    start_of_part = sequences.offsets[rows] if joined else moment
    first = np.flatnonzero((at - start_of_part) % most == 0)
    liked = ratings >= liked_from
    return Impressions(
        interactions.catalog,
        [str(number) for number in range(1, len(first) + 1)],
        [interactions.users.ids[row] for row in rows[first]],
        _liked_before(sequences, liked, rows[first], moment[first], max_history),
        Ragged(sequences.values, np.append(first, len(at))),
        liked.astype(np.int8),
        None if time is None or interactions.timestamp_is_position else time[first],
        interactions.notes,
    )


def _liked_before(sequences: Ragged, liked: np.ndarray, users: IntArray, moments: IntArray, most: int | None) -> Ragged:
    """Return the liked items of ``users [n]`` at the places before ``moments [n]``."""
    until = np.concatenate([[0], np.cumsum(liked)])
    stops = until[moments]
    lengths = stops - until[sequences.offsets[users]]
    return Ragged.before(sequences.values[liked], stops, lengths if most is None else np.minimum(lengths, most))

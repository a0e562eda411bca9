"""Ratings as pairs to judge: would this user like this item, after what the user liked before?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.splits import time_split

LIKED_FROM = 4.0
_HISTORY = 50


@dataclass(frozen=True, eq=False)
class RatedPairs:
    """Pairs to judge with the rating of each.

    Attributes:
        impressions: see `impressions_from_ratings`.
        ratings: ``[total candidates]``.
    """

    impressions: Impressions
    ratings: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RatedParts:
    """Ratings in three parts of time.

    Attributes:
        past: the ratings of the training part; users without any keep an empty row.
        learned: these joined in impressions to learn from, up to 16 in each.
        parts: ``train``, ``valid`` and ``test``; a history holds what the user had liked before that moment, whatever
            the part.
        moments: where validation and test begin.
    """

    past: Interactions
    learned: Impressions
    parts: dict[str, RatedPairs]
    moments: tuple[float, float]


def rated_parts(
    interactions: Interactions,
    *,
    liked_from: float = LIKED_FROM,
    moments: tuple[float, float] | None = None,
    max_history: int = _HISTORY,
) -> RatedParts:
    """Divide ratings at two moments: the first 80 % to train on, 10 % for validation, the last 10 % for the test.

    Args:
        interactions: with ratings and times on a common clock.
        liked_from: the lowest rating of an item that the user likes.
        moments: where validation and test begin, in the unit of the times, in place of the shares.
        max_history: the newest liked items that a history keeps.

    Raises:
        DataError: there are no ratings or one is missing, all of them are liked or none is, there is no common clock,
            or a part is empty.
    """
    shown = impressions_from_ratings(interactions, liked_from=liked_from, max_history=max_history)
    ratings = interactions.rating
    assert ratings is not None
    _check_liked(ratings, liked_from)
    if shown.timestamp is None:
        asked, mend = "rated pairs are divided by time, which needs", "add a column 'timestamp'"
        if interactions.timestamp_is_position:
            raise DataError(f"{asked} a common clock, and the times here are only positions within each user (0, 1, 2, …): {mend}")
        raise DataError(f"{asked} timestamps, and these data have none: {mend}")
    begins: dict[str, Any] = {} if moments is None else {"validation_from": moments[0], "test_from": moments[1]}
    split = time_split(interactions, **begins)
    first, second = (float(split.manifest["options"][name]) for name in ("validation_from", "test_from"))
    time = shown.timestamp
    assert time is not None
    rows = {"train": time < first, "valid": (time >= first) & (time < second), "test": time >= second}
    parts = {name: _rated(shown, ratings, np.flatnonzero(chosen)) for name, chosen in rows.items()}
    learned = impressions_from_ratings(split.train, liked_from=liked_from, max_history=max_history, joined=True)
    return RatedParts(split.train, learned, parts, (first, second))


def _check_liked(ratings: npt.NDArray[np.float32], liked_from: float) -> None:
    if not len(ratings):
        raise DataError("ratings are needed, and there is none")
    low, high = float(ratings.min()), float(ratings.max())
    if low == high:
        raise DataError(f"every rating is {low:g}: none is liked more than another, so there is nothing to learn or to measure")
    if not low < liked_from <= high:
        what = "every rating is liked" if liked_from <= low else "no rating is liked"
        raise DataError(f"liked-from {liked_from:g}: {what}, for ratings run from {low:g} to {high:g}: choose one above {low:g}")


def _rated(shown: Impressions, ratings: npt.NDArray[np.float32], rows: IntArray) -> RatedPairs:
    at = Ragged(np.arange(len(ratings)), shown.candidates.offsets).take(rows).values
    return RatedPairs(shown.take(rows), ratings[at])


def impressions_from_ratings(
    interactions: Interactions, *, liked_from: float = LIKED_FROM, max_history: int | None = None, most: int = 16, joined: bool = False
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


def few_shots(rated: RatedPairs, count: int, *, seed: int) -> RatedPairs:
    """Return ``count`` pairs drawn at random, a row each; of one seed fewer shots are among more of them.

    Labels are not balanced, as in TALLRec's protocol (Bao et al., RecSys 2023).

    Args:
        rated: the pairs to draw from.
        count: how many.
        seed: of the draw.

    Raises:
        DataError: ``count`` is below 1, or there are fewer pairs.
    """
    single = one_candidate_each(rated.impressions)
    if not 1 <= count <= len(single):
        raise DataError(f"shots: {count} cannot be drawn of the {len(single)} rated pairs to train on: take 1 to {len(single)}")
    rows = np.sort(np.random.default_rng(seed).permutation(len(single))[:count])
    return RatedPairs(single.take(rows), rated.ratings[rows])


def one_candidate_each(impressions: Impressions) -> Impressions:
    """Return a row for each candidate, with the history and the moment of its impression."""
    rows = impressions.candidates.rows
    return Impressions(
        impressions.catalog,
        [str(number) for number in range(1, len(rows) + 1)],
        [impressions.users[row] for row in rows],
        impressions.histories.take(rows),
        Ragged(impressions.candidates.values, np.arange(len(rows) + 1)),
        impressions.labels,
        None if impressions.timestamp is None else impressions.timestamp[rows],
        impressions.notes,
    )

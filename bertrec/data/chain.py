"""Chains of labels: how far a user went with an item, such as watched, rated, liked, or click, cart, purchase.

A depth of 0 is not even the first step, and each step implies those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.negatives import impressions_from_sequences

Events = Sequence[str] | npt.NDArray[np.generic]
DEEPEST = 100
"""Steps that a chain may have."""
STEPS = (0.0, 4.0)
"""Of a chain of ratings: watched, rated at all, liked."""


def chain_from_ratings(
    interactions: Interactions,
    *,
    steps: Sequence[float] = STEPS,
    negatives: int = 4,
    seed: int = 0,
    max_history: int | None = 50,
) -> Impressions:
    """Return each item that a user met beside sampled ones, with how far it went: met, then the ratings of ``steps``.

    An item that was met several times counts once, at its first time, with its best rating.
    Split first and give the training part alone to learn from: negatives and depths tell what users do later.

    Args:
        interactions: with ratings; one without a rating was met and not rated.
        steps: the lowest rating of each step after the first, rising.
        negatives: items beside each that the user never met.
        seed: of the negatives.
        max_history: newest items of a history that are kept.

    Returns:
        Impressions with `levels`.

    Raises:
        DataError: there are no ratings, or the steps do not rise.
    """
    return _impressions(interactions, rating_depths(interactions, steps), negatives, seed, max_history)


def chain_from_labels(
    interactions: Interactions,
    events: Events,
    order: Sequence[object],
    *,
    negatives: int = 4,
    seed: int = 0,
    max_history: int | None = 50,
) -> Impressions:
    """Return each item that a user met beside sampled ones, with the deepest of the events between them.

    An item counts once, at the time of its first event. A chain that breaks, such as a purchase without a view, is
    taken as whole: a step implies those before it. Notes count such pairs.
    Split first and give the training part alone to learn from: negatives and depths tell what users do later.

    Args:
        interactions: a row for each event.
        events: ``[total]`` what each was: the names of a column in the order of the interactions, or
            ``interactions.label``.
        order: the events from the first step to the last, such as ``("view", "cart", "purchase")``.
        negatives: items beside each that the user never met.
        seed: of the negatives.
        max_history: newest items of a history that are kept.

    Returns:
        Impressions with `levels`.

    Raises:
        DataError: another number of events than of interactions, an event that the order lacks, or an order with one
            twice.
    """
    depths = _depths_of_events(interactions, events, order)
    return _impressions(interactions, depths, negatives, seed, max_history, broken_notes(interactions, depths))


def rating_depths(interactions: Interactions, steps: Sequence[float]) -> IntArray:
    """Return how far each interaction went, ``[total]``: 1 for a rating below all ``steps`` or none.

    Raises:
        DataError: there are no ratings, or the steps do not rise.
    """
    if interactions.rating is None:
        raise DataError("ratings are needed, and these interactions have none: add a column 'rating'")
    limits = np.asarray(steps, np.float64)
    if not np.isfinite(limits).all() or np.any(np.diff(limits) <= 0) or len(limits) >= DEEPEST:
        raise DataError(f"the steps of a chain of ratings must be numbers that rise, not {list(steps)}")
    depths = 1 + np.searchsorted(limits, interactions.rating, side="right")
    return np.where(np.isnan(interactions.rating), 1, depths).astype(np.int64)


def _depths_of_events(interactions: Interactions, events: Events, order: Sequence[object]) -> IntArray:
    names = list(order)
    if len(set(names)) < len(names) or not 0 < len(names) <= DEEPEST:
        raise DataError(f"the order of a chain names each of 1 to {DEEPEST} events once, not {names}")
    if len(events) != len(interactions):
        what = "one is needed for each, in their order"
        raise DataError(f"{len(events)} events for {len(interactions)} interactions: {what}")
    depth = {name: place for place, name in enumerate(names, start=1)}
    given = np.asarray(events).tolist()
    found = [depth.get(event, 0) for event in given]
    if 0 in found:
        hint = "name all events, the first step first"
        raise DataError(f"event {given[found.index(0)]!r} is not in the order {names}: {hint}")
    return np.array(found, np.int64)


def broken_notes(interactions: Interactions, depths: IntArray) -> tuple[str, ...]:
    """Say of how many pairs of user and item a step is missing below the deepest; depths are ``[total]``."""
    pair = np.unique(_pairs(interactions), return_inverse=True)[1]
    deepest = np.zeros(pair.max(initial=-1) + 1, np.int64)
    np.maximum.at(deepest, pair, depths)
    steps = np.bincount(np.unique(np.stack([pair, depths]), axis=1)[0], minlength=len(deepest))
    broken = int((steps < deepest).sum())
    what = f"{broken} of {len(deepest)} pairs of user and item lack a step before their last (taken as implied)"
    return (what,) if broken else ()


def _impressions(
    interactions: Interactions,
    depths: IntArray,
    negatives: int,
    seed: int,
    max_history: int | None,
    notes: tuple[str, ...] = (),
) -> Impressions:
    pairs, first, pair = np.unique(_pairs(interactions), return_index=True, return_inverse=True)
    deepest = np.zeros(len(pairs), np.int64)
    np.maximum.at(deepest, pair, depths)
    once = np.zeros(len(interactions), bool)
    once[first] = True
    met = interactions.where(once)
    shown = impressions_from_sequences(met, negatives=negatives, seed=seed, max_history=max_history)
    levels = np.zeros(len(shown.candidates.values), np.int8)
    clicked = shown.labels == 1
    asked = _asked(shown, interactions)[clicked]
    levels[clicked] = deepest[np.searchsorted(pairs, asked)]
    return replace(shown, levels=levels, notes=(*shown.notes, *notes))


def levels_from(impressions: Impressions, past: Interactions, depths: IntArray) -> npt.NDArray[np.int8]:
    """Return how far each candidate went, from the very interaction that it was: same user, item and time.

    What was rated at that moment was met, whatever its label says: 0 may stand for a low rating. Where one side has no
    clock only clicks are looked up, and it is the first interaction of the pair. A click without such an interaction
    went one step. What came later with the same item is not looked at: it may lie in a part that is held out.

    Args:
        impressions: with labels.
        past: the interactions.
        depths: ``[total]`` how far each went.

    Returns:
        ``[total candidates]``, 0 for what was not met.
    """
    clicked = np.asarray(impressions.labels == 1)
    asked, have, read = _asked(impressions, past), _pairs(past), clicked
    if impressions.timestamp is not None and past.timestamp is not None and not past.timestamp_is_position:
        moments, read = impressions.timestamp[impressions.candidates.rows], np.ones(len(clicked), bool)
        asked, have = _at_times(asked, moments, have, past.timestamp)
        keys, row = np.unique(have, return_inverse=True)
        known = np.zeros(len(keys), np.int64)
        np.maximum.at(known, row, depths)
    else:
        keys, first = np.unique(have, return_index=True)
        known = depths[first]
    place = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    if not len(keys):
        return clicked.astype(np.int8)
    return np.where(read & (keys[place] == asked), known[place], clicked).astype(np.int8)


def unread_notes(impressions: Impressions, past: Interactions, levels: npt.NDArray[np.int8]) -> tuple[str, ...]:
    """Say of how many candidates nothing was taken although their user met them: at another moment than their row's.

    Args:
        impressions: with labels.
        past: the interactions.
        levels: ``[total candidates]``, what `levels_from` found.
    """
    unread = int((np.isin(_asked(impressions, past), _pairs(past)) & (levels == 0)).sum())
    what = f"{unread} of {len(levels)} pairs were met at another moment than their row's (taken as not met)"
    return (what,) if unread else ()


def _pairs(interactions: Interactions) -> IntArray:
    """Return a number for the user and item of each interaction, ``[total]``."""
    return (interactions.sequences.rows + 1) * (len(interactions.catalog) + 1) + interactions.sequences.values


def _asked(impressions: Impressions, interactions: Interactions) -> IntArray:
    """Return that of each candidate, ``[total candidates]``; that of user 0 where the user is not known."""
    users = interactions.users.encode(impressions.users)
    return users[impressions.candidates.rows] * (len(interactions.catalog) + 1) + impressions.candidates.values


def _at_times(
    asked: IntArray, asked_at: npt.NDArray[np.float64], have: IntArray, have_at: npt.NDArray[np.float64]
) -> tuple[IntArray, IntArray]:
    """Return numbers for pair and time together, the same where both are; -1 for what ``have`` lacks for sure."""
    pairs, moments = np.unique(have), np.unique(have_at)
    pair, moment = np.searchsorted(pairs, asked), np.searchsorted(moments, asked_at)
    there = np.isin(asked, pairs) & np.isin(asked_at, moments)
    own = np.searchsorted(pairs, have) * len(moments) + np.searchsorted(moments, have_at)
    return np.where(there, pair * len(moments) + moment, -1), own

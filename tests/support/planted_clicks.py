"""Impressions whose labels are known to depend on one thing alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions

GENRES = ("Comedy", "Drama", "Western")
DAY = 86_400.0


def catalog(n=12, price=None, first=0):
    """Return ``n`` items whose genres take turns; a price of their own where asked for."""
    genres = [GENRES[item % 3] for item in range(n)]
    attributes = None if price is None else pa.table({"price": pa.array(price, pa.float64())})
    names = [f"i{first + item}" for item in range(n)]
    return ItemCatalog(IdMap(names), {"title": [f"film {name}" for name in names], "genres": genres}, attributes=attributes)


def impressions(items, histories, candidates, labels, users=None, times=None):
    """Return them numbered from 0."""
    names = [str(row) for row in range(len(histories))]
    moments = None if times is None else np.asarray(times, np.float64)
    shown, past = Ragged.from_rows(candidates), Ragged.from_rows(histories)
    return Impressions(items, names, list(users or names), past, shown, np.asarray(labels, np.int8), moments)


def same_genre(rows, seed=0, items=None):
    """Return pairs that are clicked where the candidate has the genre of the history."""
    draw, items = np.random.default_rng(seed), items or catalog()
    genre = np.arange(len(items)) % 3
    liked = draw.integers(0, 3, rows)
    histories = [draw.choice(np.flatnonzero(genre == one) + 1, 3, replace=False) for one in liked]
    shown = draw.integers(1, len(items) + 1, (rows, 2))
    return impressions(items, histories, shown, (genre[shown - 1] == liked[:, None]).ravel())


def in_the_evening(rows, seed=0):
    """Return pairs that are clicked from 18 h on, whatever else is known."""
    draw = np.random.default_rng(seed)
    times = draw.integers(0, 28 * 24, rows) * 3600.0 + draw.integers(0, 3600, rows)
    labels = times % DAY >= 18 * 3600
    shown = draw.integers(1, 13, (rows, 1))
    return impressions(catalog(), [[1, 2]] * rows, shown, labels, ["u"] * rows, times)


def told_by_counts(rows, *, later, seed=0):
    """Return pairs of 200 items, one user and moment each, and a past that tells the label.

    Clicked ones have seven interactions on the day before their moment, others none; with ``later`` seven on the day after it and
    the clicks themselves at the moment, and nothing before.
    """
    draw = np.random.default_rng(seed)
    items = catalog(rows)
    times, labels = draw.uniform(100, 200, rows) * DAY, draw.integers(0, 2, rows)
    clicked = np.flatnonzero(labels)
    events = [(f"u{row}", row + 1, times[row]) for row in clicked] if later else []
    sign = 1 if later else -1
    events += [(f"o{number}", row + 1, times[row] + sign * DAY * (number + 1) / 8) for row in clicked for number in range(7)]
    shown = impressions(
        items, [[]] * rows, [[row + 1] for row in draw.permutation(rows)], np.zeros(rows), [f"u{row}" for row in range(rows)]
    )
    order = shown.candidates.values - 1
    return impressions(items, [[]] * rows, shown.candidates, labels[order], [f"u{row}" for row in order], times[order]), past(items, events)


def past(items, events):
    """Return interactions of (user, inner item, time)."""
    users = sorted({user for user, _, _ in events})
    rows = [sorted((time, item) for who, item, time in events if who == user) for user in users]
    times = np.array([time for row in rows for time, _ in row])
    return Interactions(items, IdMap(users), Ragged.from_rows([[item for _, item in row] for row in rows]), times)

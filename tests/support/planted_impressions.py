"""Impressions over eight items whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions

WORDS = ("car", "hat", "sea", "dog", "sun", "tea", "oak", "map")
KINDS = ("sport", "food") * 4
SAID = [*WORDS, *KINDS, "long", "short"]
"""All words that an encoder must know."""


def catalog(**fields: Sequence[str]) -> ItemCatalog:
    """Return eight items, titled one word each, with further fields."""
    return ItemCatalog(IdMap([f"n{k}" for k in range(8)]), {"title": list(WORDS), **{name: list(own) for name, own in fields.items()}})


def impressions(items: ItemCatalog, rows: Sequence[tuple[Sequence[int], Sequence[int], int]], users: Sequence[str]) -> Impressions:
    """Return impressions of rows of history, candidates and the place of the click."""
    labels = [int(place == click) for _, shown, click in rows for place in range(len(shown))]
    histories, shown = Ragged.from_rows([row[0] for row in rows]), Ragged.from_rows([row[1] for row in rows])
    return Impressions(items, [str(k) for k in range(len(rows))], list(users), histories, shown, np.array(labels, np.int8))


def same_kind(items: ItemCatalog, count: int, seed: int = 0) -> Impressions:
    """Return users who click what is of the kind of all their history; titles say nothing of it."""
    draw = np.random.default_rng(seed)
    rows = []
    for row in range(count):
        own, others = (2 * draw.permutation(4) + 1 + (row + other) % 2 for other in (0, 1))
        rows.append((own[:2], [others[0], own[2], others[1]], 1))
    return impressions(items, rows, [f"u{k}" for k in range(count)])


def own_item(items: ItemCatalog, count: int, seed: int = 0, users: int = 8) -> Impressions:
    """Return users who always click one item, another one each, after histories drawn from all others."""
    draw = np.random.default_rng(seed)
    rows, names = [], []
    for row in range(count):
        user = row % users
        others = np.setdiff1d(np.arange(1, 9), [user % 8 + 1])
        rows.append((draw.choice(others, 2, replace=False), [*draw.choice(others, 2, replace=False), user % 8 + 1], 2))
        names.append(f"reader-{user}")
    return impressions(items, rows, names)

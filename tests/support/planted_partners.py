"""A shop whose items have partners in other words: what a user takes after an ``alpha`` item is a ``beta`` item of the same number.

No text says so: an encoder must learn it from who takes what.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

KINDS, EACH = 10, 4
TEXTS = [f"{side}{kind} made{number}" for kind in range(KINDS) for side in ("alpha", "beta") for number in range(EACH)]


def planted_frames(users=80, *, seed=0):
    """Return interactions and items: each user walks to and fro between the two sides of one kind, five items long."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        kind = user % KINDS
        for step in range(5):
            side = step % 2
            rows.append((f"u{user}", 1 + kind * 2 * EACH + side * EACH + int(rng.integers(EACH)), step))
    items = pd.DataFrame({"item_id": range(1, len(TEXTS) + 1), "title": TEXTS})
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), items


def write_planted(folder, **options):
    """Write the shop as tables."""
    folder.mkdir(parents=True)
    interactions, items = planted_frames(**options)
    interactions.to_csv(folder / "interactions.csv", index=False)
    items.to_csv(folder / "items.csv", index=False)
    return folder

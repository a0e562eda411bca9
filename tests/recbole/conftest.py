"""A tiny split, and RecBole's worker driven in a process of its own."""

from __future__ import annotations

import numpy as np
import pytest

from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import Split, leave_one_out


def tiny_split(users: int = 40, items: int = 60, seed: int = 0) -> Split:
    """Users walk up the catalogue in steps of 1 to 3, so that the next item is worth learning; ids hold white space and quotes."""
    generator = np.random.default_rng(seed)
    catalog = ItemCatalog(IdMap([f'item "{k}" a' for k in range(items)]), {"title": [f"thing {k} of ten" for k in range(items)]}, None)
    rows = []
    for _ in range(users):
        steps = generator.integers(1, 4, size=generator.integers(5, 12))
        rows.append(1 + (generator.integers(items) + np.cumsum(steps)) % items)
    return leave_one_out(Interactions(catalog, IdMap([f"user {k}" for k in range(users)]), Ragged.from_rows(rows)))


@pytest.fixture(scope="session")
def split():
    return tiny_split()

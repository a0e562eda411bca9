"""Rows of one candidate each whose label stands in the user's own review of that candidate, and nowhere else."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog, UserCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.rankers.context import Known

TITLES = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("car", "hat", "sea", "dog")]
MOMENT = 400.0
WORDS = ("awful", "lovely")  # of a review whose rating is bad or good


def planted(users: int, seed: int) -> tuple[Impressions, Known]:
    """Return rows whose users took three items before and wrote a word, drawn at random, of each.

    What they write of the candidate, at the row's moment, is their label. Profiles say the same, as if somebody had handed it over.
    """
    draw = np.random.default_rng(seed)
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": [f"i{n}" for n in range(12)], "title": TITLES}))
    names = [f"{seed}-{number}" for number in range(users)]
    items = np.stack([draw.permutation(12)[:4] for _ in names])
    felt = draw.integers(0, 2, (users, 4))
    met = pd.DataFrame(
        {
            "user_id": np.repeat(names, 4),
            "item_id": [f"i{item}" for item in items.reshape(-1)],
            "timestamp": np.tile([100.0, 200.0, 300.0, MOMENT], users),
            "text": [f"it is {WORDS[good]}" for good in felt.reshape(-1)],
        }
    )
    profiles = pd.DataFrame({"user_id": names, "text": [f"it is {WORDS[good]}" for good in felt[:, 3]]})
    impressions = Impressions(
        catalog,
        [str(number) for number in range(users)],
        list(names),
        Ragged.from_rows(items[:, :3] + 1),
        Ragged.from_rows(items[:, 3:] + 1),
        felt[:, 3].astype(np.int8),
        np.full(users, MOMENT),
    )
    return impressions, Known(UserCatalog.from_frame(profiles), Interactions.from_frame(met, catalog))

"""Items that are asked for in words which no item's text holds: what only pairs can teach."""

from __future__ import annotations

import numpy as np
from static_folders import static_folder

KINDS, ITEMS = 12, 160


def planted():
    """Return texts of three words each, and the same in other words, word by word."""
    three = [(a, b, c) for a in range(KINDS) for b in range(a + 1, KINDS) for c in range(b + 1, KINDS)]
    chosen = [three[row] for row in np.random.default_rng(0).permutation(len(three))[:ITEMS]]
    return [" ".join(f"thing{n}" for n in one) for one in chosen], [" ".join(f"ding{n}" for n in one) for one in chosen]


def planted_encoder(folder):
    """Write an encoder in which every word has a vector, and no two have anything to do with one another."""
    texts, queries = planted()
    return static_folder(folder, [*texts, *queries], width=32)


def write_planted(folder):
    """Write the items with a few users as tables, and the pairs beside them as ``pairs.csv``."""
    texts, queries = planted()
    (folder / "data").mkdir(parents=True)
    rows = {"items": ["item_id,title", *(f"i{row + 1},{text}" for row, text in enumerate(texts))]}
    rows["interactions"] = [
        "user_id,item_id,timestamp",
        *(f"u{user},i{user * 3 + step + 1},{step}" for user in range(8) for step in range(4)),
    ]
    for name, lines in rows.items():
        (folder / "data" / f"{name}.csv").write_text("\n".join(lines) + "\n")
    pairs = ["query,item_id", *(f"{query},i{row + 1}" for row, query in enumerate(queries))]
    (folder / "pairs.csv").write_text("\n".join(pairs) + "\n")
    return folder

"""Data sets with one law in their texts and no item in common: after a thing comes that of the next colour and the next size but one.

A text's nearest neighbours are things of the same colour or of the same size, which never come next: text similarity is wrong.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bertrec.data.load import Dataset

COLOURS, SIZES = ("red", "orange", "yellow", "green", "blue", "violet"), ("tiny", "small", "middling", "large", "huge")
MAKERS = ("acme", "bolt", "crown", "drake")
TEXTS = [f"{colour} {size} {maker}" for colour in COLOURS for size in SIZES for maker in MAKERS]
"""Every text there is, for a tokenizer."""


def planted_frames(name, *, users=60, length=5, seed=0, with_text=True):
    """Return interactions and items of one data set; ids are whole numbers, the same ones in every data set and of other items."""
    rng = np.random.default_rng(seed)
    maker = MAKERS[sum(map(ord, name)) % len(MAKERS)]
    kinds = [(colour, size) for colour in range(len(COLOURS)) for size in range(len(SIZES))]
    ids = {kind: int(number) for kind, number in zip(kinds, 1 + rng.permutation(len(kinds)), strict=True)}
    rows = []
    for user in range(users):
        colour, size = rng.integers(len(COLOURS)), rng.integers(len(SIZES))
        rows += [(f"u{user}", ids[(int(colour + step) % len(COLOURS), int(size + 2 * step) % len(SIZES))], step) for step in range(length)]
    texts = {ids[kind]: f"{COLOURS[kind[0]]} {SIZES[kind[1]]} {maker}" for kind in kinds}
    items = pd.DataFrame({"item_id": sorted(texts), "title": [texts[one] if with_text else "" for one in sorted(texts)]})
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), items


def planted_domain(name, **options):
    """Return one data set."""
    return Dataset.from_frames(*planted_frames(name, **options), name=name)


def write_domain(folder, **options):
    """Write one as tables; the folder names it."""
    folder.mkdir(parents=True)
    interactions, items = planted_frames(folder.name, **options)
    interactions.to_csv(folder / "interactions.csv", index=False)
    items.to_csv(folder / "items.csv", index=False)
    return folder


def planted_people(name, *, users=60, length=6, seed=0, items=None):
    """Return a data set of people who take things of one colour each, with categories, times, ratings and reviews.

    A thing's category is its colour. Its rating is 5 where its size is at an even place, else 1, and the review says "lovely" or "awful"; a
    user of one of the first three colours writes "dearly", others "plainly". The odd users come on Saturdays, the others on Mondays.

    Args:
        name: of the data set.
        users: how many.
        length: of each sequence.
        seed: of their colours and first sizes.
        items: a table to give in place of that of things.
    """
    rng = np.random.default_rng(seed)
    things = [(colour, size) for colour in range(len(COLOURS)) for size in range(len(SIZES))]
    rows = []
    for user in range(users):
        colour, first = int(rng.integers(len(COLOURS))), int(rng.integers(len(SIZES)))
        for step in range(length):
            size = (first + 2 * step + step // len(SIZES)) % len(SIZES)
            words = ("dearly" if colour < 3 else "plainly", "awful" if size % 2 else "lovely")
            when = (4 if user % 2 == 0 else 2) * 86_400 + 7 * 86_400 * step + 3600 * 9  # 1970-01-05 is a Monday
            rows.append((f"u{user}", colour * len(SIZES) + size + 1, when, 1 if size % 2 else 5, " ".join(words)))
    titles = [(number, f"{COLOURS[colour]} {SIZES[size]} {MAKERS[0]}", COLOURS[colour]) for number, (colour, size) in enumerate(things, 1)]
    catalog = pd.DataFrame(titles, columns=["item_id", "title", "categories"]) if items is None else items
    interactions = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "rating", "text"])
    return Dataset.from_frames(interactions, catalog, name=name)

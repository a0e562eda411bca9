"""Training histories that are a little other than they were: neighbours swapped, items replaced by others of the same label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import Ragged


def swapped(histories: Ragged, probability: float, *, labels: Ragged | None = None, seed: int | Sequence[int]) -> Ragged:
    """Return the histories with some neighbours swapped and some items replaced (PALR's augmentation).

    Each item changes places with the next one of its row with the probability, unless the one before it was drawn too. Then each item is
    replaced with the probability: one of its labels is drawn, then an item of that label, perhaps the same. An item without a label stays.

    Args:
        histories: ``[n]`` rows of inner ids; 0 stays.
        probability: 0 to 1; 0 changes nothing.
        labels: label numbers by inner id, ``[n_items + 1]`` rows; None replaces nothing.
        seed: of the draws.

    Returns:
        Rows of the same lengths; times stay where they were.

    Raises:
        ConfigError: a probability outside 0 to 1.
    """
    if not 0 <= probability <= 1:
        raise ConfigError(f"the probability of a swap is {probability}: it lies between 0 and 1")
    draw = np.random.default_rng(seed)
    values = histories.values.copy()
    asked = draw.random(len(values)) < probability
    asked[histories.offsets[1:][histories.lengths > 0] - 1] = False  # the last of a row has no neighbour
    asked &= values > 0
    first = np.flatnonzero(asked & ~np.concatenate([[False], asked[:-1]]))
    values[first], values[first + 1] = values[first + 1], values[first]
    if labels is not None:
        place = np.flatnonzero(draw.random(len(values)) < probability)
        values[place] = _of_same_label(values[place], labels, draw)
    return Ragged(values, histories.offsets, histories.times)


def _of_same_label(items: np.ndarray, labels: Ragged, draw: np.random.Generator) -> np.ndarray:
    """Return for each of ``items`` one of a label of it, or itself where it has none."""
    order = np.argsort(labels.values, kind="stable")
    holders = Ragged.from_lengths(labels.rows[order], np.bincount(labels.values))
    able = labels.lengths[items] > 0
    label = labels.values[labels.offsets[items[able]] + draw.integers(labels.lengths[items[able]])]
    found = items.copy()
    found[able] = holders.values[holders.offsets[label] + draw.integers(holders.lengths[label])]
    return found

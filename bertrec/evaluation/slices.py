"""Named parts of an evaluation set: item slices restrict the targets, history slices restrict the users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bertrec.core.ragged import IntArray, Ragged
from bertrec.evaluation.ranks import BoolArray

FEW_SHOT_MAX = 5
SHORT_HISTORY_MAX = 5
LONG_HISTORY_ABOVE = 20

SLICES = {
    "all": "every user and target",
    "cold_items": "targets never in training",
    "few_shot_items": f"targets 1 to {FEW_SHOT_MAX} times in training",
    "warm_items": f"targets over {FEW_SHOT_MAX} times in training",
    "short_histories": f"users with {SHORT_HISTORY_MAX} or fewer items before",
    "medium_histories": f"users with {SHORT_HISTORY_MAX + 1} to {LONG_HISTORY_ABOVE} items before",
    "long_histories": f"users with over {LONG_HISTORY_ABOVE} items before",
}


@dataclass(frozen=True)
class Slice:
    """The users and ranks of one slice.

    Attributes:
        rows: ``[users]``, row numbers of the evaluation set.
        ranks: ranks of the targets in the slice, one row per user, none empty.
    """

    rows: IntArray
    ranks: Ragged


def popularity_thirds(item_counts: IntArray) -> dict[str, BoolArray]:
    """Return three groups of items, each with about a third of the training interactions: the head, the torso and the tail.

    Items that training never saw are in none. An item belongs to the third in which its interactions begin, most popular items first.

    Args:
        item_counts: ``[n_items + 1]``, how often training holds each item.

    Returns:
        ``head_items``, ``torso_items`` and ``tail_items``, ``[n_items + 1]`` each.

    >>> {name: np.flatnonzero(items).tolist() for name, items in popularity_thirds(np.array([0, 1, 4, 0, 2, 2])).items()}
    {'head_items': [2], 'torso_items': [4], 'tail_items': [1, 5]}
    """
    order = np.argsort(-item_counts, kind="stable")
    before = np.cumsum(item_counts[order]) - item_counts[order]
    third = np.full(len(item_counts), -1)
    third[order] = np.minimum(3 * before // max(1, int(item_counts.sum())), 2)
    third[item_counts == 0] = -1
    return {name: third == number for number, name in enumerate(("head_items", "torso_items", "tail_items"))}


def make_slices(
    ranks: Ragged,
    targets: Ragged,
    histories: Ragged,
    item_counts: IntArray,
    item_groups: Mapping[str, BoolArray] | None = None,
) -> dict[str, Slice]:
    """Cut ranks into the slices of `SLICES`; users without a target in a slice are left out of it.

    Ranks are not computed again: a target outside an item slice that stands above one inside still does.

    Args:
        ranks: the rank of each target, ``n`` rows.
        targets: inner item ids in the same order.
        histories: full histories, ``n`` rows.
        item_counts: ``[n_items + 1]``, how often training holds each item.
        item_groups: more slices, of the targets that are in each group, ``[n_items + 1]``.
    """
    counts, rows = item_counts[targets.values], targets.rows
    length = histories.lengths[rows]
    keep: dict[str, BoolArray] = {
        "all": np.ones(len(counts), dtype=bool),
        "cold_items": counts == 0,
        "few_shot_items": (counts >= 1) & (counts <= FEW_SHOT_MAX),
        "warm_items": counts > FEW_SHOT_MAX,
        "short_histories": length <= SHORT_HISTORY_MAX,
        "medium_histories": (length > SHORT_HISTORY_MAX) & (length <= LONG_HISTORY_ABOVE),
        "long_histories": length > LONG_HISTORY_ABOVE,
    }
    keep |= {name: np.asarray(items, dtype=bool)[targets.values] for name, items in (item_groups or {}).items()}
    return {name: _cut(ranks, rows, kept) for name, kept in keep.items()}


def _cut(ranks: Ragged, rows: IntArray, keep: BoolArray) -> Slice:
    lengths = np.bincount(rows[keep], minlength=len(ranks))
    kept = np.flatnonzero(lengths)
    return Slice(kept.astype(np.int64), Ragged.from_lengths(ranks.values[keep], lengths[kept]))

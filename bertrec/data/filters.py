"""Filters over interactions; each says in ``filters`` what it did and in ``notes`` how much it took."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError, unknown_name
from bertrec.core.ragged import Ragged
from bertrec.data.interactions import Interactions

Duplicates = Literal["keep", "first", "last"]


def min_rating(interactions: Interactions, minimum: float) -> Interactions:
    """Keep interactions rated ``minimum`` or better.

    Raises:
        DataError: there are no ratings, or none is high enough.
    """
    if interactions.rating is None:
        raise DataError("a minimum rating needs a column 'rating', which these data do not have")
    return _kept(interactions, interactions.rating >= minimum, f"min_rating={minimum:g}")


def drop_duplicates(interactions: Interactions, keep: Duplicates) -> Interactions:
    """Keep all, only the first or only the last interaction of a user with one item.

    Raises:
        DataError: another policy.
    """
    if keep not in ("keep", "first", "last"):
        raise DataError(unknown_name("policy for duplicates", keep, ["keep", "first", "last"]))
    if keep == "keep":
        return interactions
    pairs = interactions.sequences.rows * (len(interactions.catalog) + 1) + interactions.sequences.values
    if keep == "last":
        pairs = pairs[::-1]
    first = np.unique(pairs, return_index=True)[1]
    chosen = first if keep == "first" else len(pairs) - 1 - first
    mask = np.zeros(len(pairs), dtype=bool)
    mask[chosen] = True
    return _kept(interactions, mask, f"duplicates={keep}")


def k_core(interactions: Interactions, k: int) -> Interactions:
    """Drop users and items with fewer than ``k`` interactions until none is left; the catalogue keeps the remaining items only.

    Raises:
        DataError: ``k`` is below 1 or nothing remains.
    """
    if k < 1:
        raise DataError(f"k-core: k must be 1 or more, got {k}")
    rows, items = interactions.sequences.rows, interactions.sequences.values
    keep = np.ones(len(items), dtype=bool)
    while True:
        by_user = np.bincount(rows[keep], minlength=len(interactions.users))
        by_item = np.bincount(items[keep], minlength=len(interactions.catalog) + 1)
        survives = keep & (by_user[rows] >= k) & (by_item[items] >= k)
        if survives.sum() == keep.sum():
            break
        keep = survives
    return _only_met_items(_kept(interactions, keep, f"k_core={k}"))


def _kept(interactions: Interactions, keep: npt.NDArray[np.bool_], name: str) -> Interactions:
    if not keep.any():
        raise DataError(f"{name}: no interaction is left: choose a weaker filter")
    kept = interactions.where(keep).without_empty_users()
    users = len(interactions.users) - len(kept.users)
    note = f"{name}: {int((~keep).sum())} of {len(interactions)} interactions and {users} users dropped"
    return replace(kept, filters=(*interactions.filters, name), notes=(*interactions.notes, note))


def _only_met_items(interactions: Interactions) -> Interactions:
    inner = np.flatnonzero(interactions.item_counts)
    gone = len(interactions.catalog) - len(inner)
    if not gone:
        return interactions
    renumbered = np.zeros(len(interactions.catalog) + 1, np.int64)
    renumbered[inner] = np.arange(1, len(inner) + 1)
    sequences = Ragged(renumbered[interactions.sequences.values], interactions.sequences.offsets)
    note = f"{interactions.filters[-1]}: {gone} of {len(interactions.catalog)} items dropped from the catalogue"
    return replace(interactions, catalog=interactions.catalog.take(inner - 1), sequences=sequences, notes=(*interactions.notes, note))

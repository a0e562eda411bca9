"""Histories of one width, as RecBole's own augmentation makes them; its benchmark files come out as wide as their longest row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_ITEMS, _NEGATIVES = "item_id_list", "neg_item_id_list"


def widen(datasets: list[Any], *, width: int, n_items: int, negatives: bool) -> None:
    """Pad the histories of sequential datasets to ``width``.

    Args:
        datasets: RecBole's training, validation and test datasets, changed in place.
        width: its ``MAX_ITEM_LIST_LENGTH``.
        n_items: size of its vocabulary.
        negatives: also draw an item that was not chosen beside each item of a history, which DIEN trains on.
    """
    from recbole.data.interaction import Interaction

    for dataset in datasets:
        items = dataset.inter_feat.interaction[_ITEMS]
        padded = torch.nn.functional.pad(items, (0, width - items.shape[1]))
        columns = {_ITEMS: padded} | ({_NEGATIVES: _others(padded, n_items)} if negatives else {})
        dataset.inter_feat.update(Interaction(columns))
        dataset.field2seqlen[_ITEMS] = width  # CORE takes its number of positions from here


def _others(items: Tensor, n_items: int) -> Tensor:
    """Return items other than those given, uniform over the vocabulary without padding; 0 stays 0."""
    shift = torch.randint(1, n_items - 1, items.shape)
    return torch.where(items > 0, (items - 1 + shift) % (n_items - 1) + 1, 0)

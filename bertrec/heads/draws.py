"""Draws of items by their counts: what a draw takes grows with how many are drawn, and not with the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class ItemDraw:
    """What is drawn from; making it goes over all items once.

    Args:
        counts: ``[n_items + 1]`` int64, at least one above 0; items with none are never drawn.
    """

    def __init__(self, counts: Tensor) -> None:
        self.counts = counts
        self.pool = (counts > 0).nonzero(as_tuple=True)[0]
        self._up_to = counts[self.pool].cumsum(0)
        self.total = int(self._up_to[-1])

    def by_share(self, k: int) -> Tensor:
        """Return ``[k]`` inner ids, each drawn by its share of the counts, with replacement."""
        places = torch.randint(self.total, (k,), device=self.counts.device)
        return self.pool[torch.searchsorted(self._up_to, places, right=True)]

    def evenly(self, shape: Sequence[int]) -> Tensor:
        """Return inner ids of this shape, every one as likely, with replacement."""
        return self.pool[torch.randint(len(self.pool), tuple(shape), device=self.counts.device)]

    def log_share(self, ids: Tensor) -> Tensor:
        """Return the logarithm of each item's share of the counts, of the shape of ``ids``; one without any as if it had one."""
        return log_share(self.counts, ids, self.total)


def log_share(counts: Tensor, ids: Tensor, total: Tensor | int) -> Tensor:
    """Return the logarithm of each item's share of the counts, whose sum is given; of the shape of ``ids``."""
    return (counts[ids].clamp(min=1) / total).log()

"""The item tower: text vectors, ID vectors or both become item vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.heads.adaptors import make_adaptor
from bertrec.heads.config import ItemConfig
from bertrec.heads.dropout import Dropout

_ID_STD = 0.02


class Tower(nn.Module, ABC):
    """From what is known of items to their vectors.

    Attributes:
        trained: ``[n_items + 1]`` bool, the items that training has seen.
    """

    trained: Tensor

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.register_buffer("trained", torch.zeros(n_items + 1, dtype=torch.bool))

    @abstractmethod
    def forward(self, text: Tensor | None, rows: Tensor | None) -> Tensor:
        """Return item vectors ``[m, width]``.

        Args:
            text: ``[m, …]`` what the text source gives of these items; None without text.
            rows: ``[m]`` inner ids; None for all items in order, from 0.
        """

    def id_vectors(self) -> Tensor | None:
        """Return vectors of items by their ids alone, ``[n_items + 1, width]``; None without."""
        return None

    def learn_by_rows(self) -> None:
        """Give ID vectors a sparse gradient, of the items in a step alone; only where no step asks for all items."""

    @torch.no_grad()
    def carry(self, source: Tower, rows: Tensor, origin: Tensor) -> None:
        """Take what is known of single items from another tower, where its training saw them and both have a place for it.

        Args:
            source: the other tower.
            rows: ``[m]`` inner ids here of items that both have.
            origin: ``[m]`` their inner ids there.
        """
        seen = source.trained[origin]
        rows, origin = rows[seen], origin[seen]
        if self.carry_items(source, rows, origin):
            self.trained[rows] = True

    @abstractmethod
    def carry_items(self, source: Tower, rows: Tensor, origin: Tensor) -> bool:
        """Take what belongs to these items, and say whether they are now known as they were to the other tower."""


class ItemTower(Tower):
    """``vector = adaptor(text) + id``, with either part left out by ``config.input``; copies of a text share the adaptor and are summed.

    Items that training has not seen have no ID vector (zero), since theirs would be noise.
    """

    def __init__(self, config: ItemConfig, *, n_items: int, text_dim: int | None) -> None:
        super().__init__(n_items)
        self.config = config
        self.adaptor = make_adaptor(text_dim // config.text_copies, config) if text_dim is not None else None
        self.dropout = Dropout(config.dropout)
        self.id = nn.Embedding(n_items + 1, config.width, padding_idx=0) if "id" in config.input else None
        if self.id is not None:
            nn.init.normal_(self.id.weight, std=_ID_STD)
            with torch.no_grad():
                self.id.weight[0] = 0

    def forward(self, text: Tensor | None, rows: Tensor | None) -> Tensor:
        """Return item vectors ``[m, width]``.

        Args:
            text: ``[m, text_dim]`` whitened text vectors of these items, copies side by side; None for an ID-only tower.
            rows: ``[m]`` inner ids; None for all items in order, from 0.
        """
        parts: list[Tensor] = []
        if self.adaptor is not None and text is not None:
            parts += map(self.adaptor, self.dropout(text).chunk(self.config.text_copies, dim=-1))
        if self.id is not None:
            parts.append(self._id_vectors(self.id, rows))
        return reduce(add, parts)

    def id_vectors(self) -> Tensor | None:
        """Return the table of ID vectors, ``[n_items + 1, width]``; None without."""
        return None if self.id is None else self.id.weight

    def learn_by_rows(self) -> None:
        """Give ID vectors a sparse gradient; DistributedDataParallel looks for the same mark."""
        if self.id is not None:
            self.id.sparse = True

    def carry_items(self, source: Tower, rows: Tensor, origin: Tensor) -> bool:
        """Take the ID vectors, where there are any."""
        given = source.id_vectors()
        if self.id is None or given is None:
            return self.id is None
        self.id.weight[rows] = given[origin]
        return True

    def _id_vectors(self, table: nn.Embedding, rows: Tensor | None) -> Tensor:
        vectors = table.weight if rows is None else functional.embedding(rows, table.weight, sparse=table.sparse)
        keep = self.trained if rows is None else self.trained[rows]
        if self.training and self.config.id_dropout:
            keep = keep & (torch.rand(len(keep), device=keep.device) >= self.config.id_dropout)
        return vectors * keep[:, None]

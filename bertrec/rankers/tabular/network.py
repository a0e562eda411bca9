"""Embeddings of the features, a tower over them, and the logit of a pair."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bertrec.rankers.losses import rank_loss
from bertrec.rankers.tabular.config import TabularConfig
from bertrec.rankers.tabular.counts import BUCKETS
from bertrec.rankers.tabular.features import FeatureSpace, ItemFeatures
from bertrec.rankers.tabular.towers import make_tower

_SPREAD = 0.05  # of the embeddings at the start
_ITEMS_AT_ONCE = 65_536


class Embeddings(nn.Module):
    """A vector for each value of each feature; 0, what is not known, has the vector 0.

    Args:
        space: how many values there are.
        config: width, and the share of ids that are hidden in training.
    """

    def __init__(self, space: FeatureSpace, config: TabularConfig) -> None:
        super().__init__()
        self.id_dropout = config.id_dropout
        sizes = {"user": len(space.users), "item": len(space.items), "label": len(space.labels), "hour": 24, "day": 7}
        sizes |= {f"number{place}": len(edges) + 1 for place, edges in enumerate(space.edges)}
        self.tables = nn.ModuleDict({name: nn.Embedding(size + 1, config.width, padding_idx=0) for name, size in sizes.items()})
        self.tables.update({name: nn.Embedding(BUCKETS, config.width) for name in ("activity", "popularity")})
        for table in self.tables.values():
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=_SPREAD)
            if table.padding_idx is not None:
                nn.init.zeros_(table.weight[0])
        self.item_width, self.side_width = (2 + len(space.edges)) * config.width, 5 * config.width

    def of_items(self, ids: Tensor, labels: Tensor, numbers: Tensor) -> Tensor:
        """Return id, mean of the labels and numbers side by side, ``[m, item_width]``, of ``[m]``, ``[m, most]`` and ``[m, columns]``."""
        label = self.tables["label"](labels).sum(dim=1) / (labels > 0).sum(dim=1, keepdim=True).clamp(min=1)
        columns = [self.tables[f"number{place}"](column) for place, column in enumerate(numbers.unbind(dim=1))]
        return torch.cat([self.tables["item"](self._seen(ids)), label, *columns], dim=1)

    def of_pairs(self, users: Tensor, hours: Tensor, days: Tensor, activity: Tensor, popularity: Tensor) -> Tensor:
        """Return all else side by side, ``[u, g, side_width]``, of four ``[u]`` and ``popularity [u, g]``."""
        rows = {"user": self._seen(users), "hour": hours, "day": days, "activity": activity}
        row = torch.cat([self.tables[name](values) for name, values in rows.items()], dim=1)
        return torch.cat([row[:, None].expand(-1, popularity.shape[1], -1), self.tables["popularity"](popularity)], dim=2)

    def _seen(self, ids: Tensor) -> Tensor:
        if not (self.training and self.id_dropout):
            return ids
        return ids * (torch.rand(ids.shape, device=ids.device) >= self.id_dropout)


class TabularNetwork(nn.Module):
    """A tower over embedded features; of a batch every distinct item is embedded once.

    Args:
        space: the features.
        items: those of the catalogue.
        config: the settings.
    """

    def __init__(self, space: FeatureSpace, items: ItemFeatures, config: TabularConfig) -> None:
        super().__init__()
        self.embed = Embeddings(space, config)
        self.tower = make_tower(self.embed.item_width, self.embed.side_width, config)
        self.head, self.loss = nn.Linear(self.tower.dim, 1), config.loss
        self.take(items)

    def take(self, items: ItemFeatures) -> None:
        """Take the features of other items."""
        for name in ("ids", "labels", "numbers"):
            here = torch.from_numpy(np.ascontiguousarray(getattr(items, name))).to(self.head.weight.device)
            self.register_buffer(f"of_{name}", here, persistent=False)

    def item_vectors(self, items: Tensor | None = None) -> Tensor:
        """Return the vectors of inner ids ``[m]``, or of all with that of padding first, ``[n_items + 1, item_width]``."""
        ids, labels, numbers = (getattr(self, f"of_{name}") for name in ("ids", "labels", "numbers"))
        if items is not None:
            return self.embed.of_items(ids[items], labels[items], numbers[items])
        parts = zip(*(table.split(_ITEMS_AT_ONCE) for table in (ids, labels, numbers)), strict=True)
        return torch.cat([self.embed.of_items(*part) for part in parts])

    def pair_vectors(self, histories: Tensor, candidates: Tensor, *, table: Tensor | None = None, **features: Tensor) -> Tensor:
        """Return the tower's vectors, ``[u, g, dim]``.

        Args:
            histories: ``[u, H]`` inner ids, 0 for none.
            candidates: ``[u, g]``, likewise.
            table: of all item vectors; None embeds those of the batch.
            **features: those of `Embeddings.of_pairs`.
        """
        if table is None:
            distinct, place = torch.cat([histories.flatten(), candidates.flatten()]).unique(return_inverse=True)
            vectors, (past, shown) = self.item_vectors(distinct), place.split([histories.numel(), candidates.numel()])
        else:
            vectors, past, shown = table, histories.flatten(), candidates.flatten()
        history, items = vectors[past].reshape(*histories.shape, -1), vectors[shown].reshape(*candidates.shape, -1)
        pairs: Tensor = self.tower(history, histories > 0, items, self.embed.of_pairs(**features))
        return pairs

    def logits(self, **batch: Tensor) -> Tensor:
        """Return ``[u, g]``; the arguments are those of `pair_vectors`."""
        logits: Tensor = self.head(self.pair_vectors(**batch))[..., 0]
        return logits

    def forward(self, labels: Tensor, **batch: Tensor) -> dict[str, Tensor]:
        """Return the loss of labels ``[u, g]``, -1 where there is no candidate."""
        return {"loss": rank_loss(self.logits(**batch), labels, self.loss)}

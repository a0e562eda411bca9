"""What is trained: adapters that begin as the identity, over the unit vectors of a frozen encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.heads.losses import info_nce
from bertrec.models.queries.config import QueryConfig


class Adapter(nn.Module):
    """``x + f(x)``, f a matrix or a layer of hidden units without biases; f begins at zero, and 0 stays 0."""

    def __init__(self, width: int, config: QueryConfig) -> None:
        super().__init__()
        mlp = config.adapter == "mlp"
        self.first = nn.Sequential(nn.Linear(width, config.hidden, bias=False), nn.GELU()) if mlp else nn.Identity()
        self.last = nn.Linear(config.hidden if mlp else width, width, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return ``[n, width]``."""
        return vectors + self.last(self.first(vectors))


class TowerNetwork(nn.Module):
    """Unit vectors of queries and of items, compared by their inner product, in training as in serving.

    Args:
        width: of the encoder's vectors.
        config: the settings.
    """

    def __init__(self, width: int, config: QueryConfig) -> None:
        super().__init__()
        self.query = Adapter(width, config)
        made = Adapter(width, config) if config.sides == "both" else nn.Identity()
        self.items: nn.Module = self.query if config.sides == "shared" else made

    def query_vectors(self, vectors: Tensor) -> Tensor:
        """Return unit vectors of queries from those of the encoder, ``[n, width]``; zeros stay zeros."""
        return functional.normalize(self.query(vectors), dim=1)

    def item_vectors(self, vectors: Tensor) -> Tensor:
        """Return unit vectors of items from those of the encoder, ``[n, width]``; zeros stay zeros."""
        return functional.normalize(self.items(vectors), dim=1)


class TowerLoss(nn.Module):
    """InfoNCE of the pairs of a batch: ``−mean_i log(e^{q_i·v_i/T} / Σ_j e^{q_i·v_j/T})``.

    The sum goes over the items of all pairs and over hard negatives.

    Args:
        network: is trained.
        queries: unit vectors of the encoder, ``[n_queries, width]``.
        items: unit vectors of the encoder by inner id, ``[n_items + 1, width]``.
        temperature: T.
        identity: by which a resumed training knows encoder and catalogue again.
    """

    queries: Tensor
    items: Tensor

    def __init__(self, network: TowerNetwork, queries: Tensor, items: Tensor, *, temperature: float, identity: str = "") -> None:
        super().__init__()
        self.network, self.temperature, self.identity = network, temperature, identity
        self.register_buffer("queries", queries, persistent=False)
        self.register_buffer("items", items, persistent=False)

    def forward(self, query: Tensor, item: Tensor, masked: Tensor) -> dict[str, Tensor]:
        """Return ``{"loss": scalar}``.

        Args:
            query: ``[b]`` numbers of queries.
            item: ``[b + m]`` inner ids: what answers each query, then negatives of all.
            masked: ``[b, b + m]`` bool, items that answer the query of the row too, and so are no negatives.
        """
        left = self.network.query_vectors(self.queries[query]) / self.temperature
        return {"loss": info_nce(left, self.network.item_vectors(self.items[item]), masked=masked)}


def unit(vectors: Tensor) -> Tensor:
    """Return vectors at length 1, ``[n, width]`` float32; zeros stay zeros."""
    return functional.normalize(vectors.to(torch.float32), dim=1)

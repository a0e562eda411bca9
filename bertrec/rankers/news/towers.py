"""The two towers: from texts to item vectors, and from a history's to what scores a candidate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bertrec.core.ragged import IntArray
from bertrec.rankers.news.texts import ItemTexts, TextVectors


class Past(NamedTuple):
    """What is known of ``u`` users.

    Attributes:
        items: ``[u, H, dim]`` vectors of their histories, oldest first.
        mask: ``[u, H]``, true at items.
        users: ``[u]`` numbers of users, 0 for one who is not known; None where nobody reads them.
        topics: ``[u, H, dim]`` vectors of what the items are about, of length 1 or 0; None where nobody reads them.
        query: ``[u, dim]`` vectors of what was asked for, zeros where nothing was; None where nobody asks.
    """

    items: Tensor
    mask: Tensor
    users: Tensor | None = None
    topics: Tensor | None = None
    query: Tensor | None = None


class Shown(NamedTuple):
    """``p`` candidates: their vectors and what they are about, ``[p, dim]`` each."""

    items: Tensor
    topics: Tensor | None = None


class ItemTower(nn.Module):
    """The first view of text as it is.

    Args:
        texts: of the items.
    """

    def __init__(self, texts: ItemTexts) -> None:
        super().__init__()
        self.texts = texts

    def take(self, texts: ItemTexts) -> None:
        """Take other items."""
        self.texts = texts

    def forward(self, vectors: TextVectors, rows: IntArray) -> Tensor:
        """Return vectors of length 1, ``[m, dim]``, of items numbered from 0."""
        return vectors(self.texts.views[0][rows])

    def topics(self, vectors: TextVectors, rows: IntArray) -> Tensor | None:
        """Return what the items are about, ``[m, dim]``; None for a tower that does not say."""
        return None


class UserTower(nn.Module, ABC):
    """From histories to the scores of candidates."""

    @abstractmethod
    def forward(self, past: Past) -> Tensor:
        """Return what is known of each user, ``[u, …]``."""

    def match(self, users: Tensor, past: Past, rows: Tensor, shown: Shown) -> Tensor:
        """Return the inner product of each candidate with its user, ``[p]``.

        Args:
            users: what `forward` gave for ``past``.
            past: the histories.
            rows: ``[p]`` the row of each candidate's user.
            shown: the candidates.
        """
        return (users[rows] * shown.items).sum(dim=-1)

    def penalty(self, users: Tensor, past: Past) -> Tensor | None:
        """Return what joins the loss, or None; the arguments are those of `match`."""
        return None


def additive_attention(vectors: Tensor, there: Tensor, project: nn.Linear, query: nn.Linear) -> Tensor:
    """Return the sum of vectors ``[…, L, dim]``, weighed by ``softmax(query · tanh(project(vector)))``.

    Args:
        vectors: what is pooled.
        there: ``[…, L]``; each row holds one at least.
        project: the inner layer.
        query: to one number; with weights of 0 the result is the mean.
    """
    weights = query(torch.tanh(project(vectors)))[..., 0].masked_fill(~there, float("-inf")).softmax(dim=-1)
    return (weights[..., None] * vectors).sum(dim=-2)


class AttentiveTower(UserTower):
    """Additive attention over the history, untrained its mean; an empty history is a learned vector.

    Args:
        dim: of the item vectors.
        **before: modules that come before, by name.
    """

    def __init__(self, dim: int, **before: nn.Module) -> None:
        super().__init__()
        for name, module in before.items():
            self.add_module(name, module)
        self.project, self.query = nn.Linear(dim, dim), nn.Linear(dim, 1, bias=False)
        nn.init.zeros_(self.query.weight)
        self.empty = nn.Parameter(torch.zeros(dim))

    def attended(self, items: Tensor, padding: Tensor) -> Tensor:
        """Return what is pooled, ``[u, H, dim]``; ``padding [u, H]`` is true nowhere in a row without items."""
        return items

    def forward(self, past: Past) -> Tensor:
        """Return user vectors, ``[u, dim]``."""
        nothing = ~past.mask.any(dim=1)
        padding = ~past.mask & ~nothing[:, None]  # a row of padding alone would have no softmax
        pooled = additive_attention(self.attended(past.items, padding), ~padding, self.project, self.query)
        return torch.where(nothing[:, None], self.empty, pooled)


def mean_of_history(past: Past, empty: Tensor) -> Tensor:
    """Return the mean of each history, ``[u, dim]``, and ``empty [dim]`` for one without items."""
    count = past.mask.sum(dim=1, keepdim=True)
    mean = (past.items * past.mask[..., None]).sum(dim=1) / count.clamp(min=1)
    return torch.where(count > 0, mean, empty)

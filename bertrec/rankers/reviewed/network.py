"""User and item as sets of text vectors, matched with one another (after U-BERT, AAAI 2021; the formulas are ours)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from bertrec.rankers.losses import RankLoss, rank_loss

_KINDS = ("history", "profile", "own review", "item", "review")


class CoMatching(nn.Module):
    """Sets of texts on both sides, each text of one side read against those of the other.

    The user's set is the mean text of the history (a learned vector where there is none), the profile, and the reviews that the user wrote;
    the item's set is its own text and the reviews that others wrote. Each side has a vector by attention from its first member, and a
    match: of each member with what attention from it finds on the other side, averaged.

    Args:
        dim: of the text vectors.
        width: of what is matched.
        dropout: on the text vectors.
        loss: of the scores.
        scale: of the cosine between the history's mean and the item's text, with which scores start.
    """

    def __init__(self, dim: int, width: int, *, dropout: float, loss: RankLoss, scale: float) -> None:
        super().__init__()
        self.loss: RankLoss = loss
        self.project, self.dropout = nn.Linear(dim, width), nn.Dropout(dropout)
        self.kinds = nn.Parameter(torch.zeros(len(_KINDS), width))
        self.nobody = nn.Parameter(torch.zeros(width))
        self.user_query, self.item_query = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.across = nn.Linear(width, width, bias=False)
        self.matched = nn.Linear(4 * width, width)
        self.hidden, self.last = nn.Linear(5 * width, width), nn.Linear(width, 1)
        self.scale = nn.Parameter(torch.tensor(math.log(scale)))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, labels: Tensor, **texts: Tensor) -> dict[str, Tensor]:
        """Return the loss of labels ``[u, g]``, -1 for an empty place; the texts are those of `scores`."""
        return {"loss": rank_loss(self.scores(**texts), labels, self.loss)}

    def scores(self, history: Tensor, said: Tensor, said_mask: Tensor, items: Tensor, reviews: Tensor, reviews_mask: Tensor) -> Tensor:
        """Return scores ``[u, g]`` of ``u`` users and ``g`` candidates of each.

        Args:
            history: ``[u, d]`` mean text vectors; zeros where there is no history.
            said: ``[u, 1 + S, d]``, the profile, then the user's reviews.
            said_mask: ``[u, 1 + S]``, true where there is one.
            items: ``[u, g, d]``.
            reviews: ``[u, g, T, d]``, of others.
            reviews_mask: ``[u, g, T]``.
        """
        users, known = self._users(history, said, said_mask)
        told, mask = self._items(items, reviews, reviews_mask)
        user = _attended(self.user_query(users[:, 0]), users, known)[:, None].expand(-1, items.shape[1], -1)
        item = _attended(self.item_query(told[:, :, 0]), told, mask)
        likeness = torch.einsum("usw,ugtw->ugst", self.across(users), told) / math.sqrt(users.shape[-1])
        to_items = likeness.masked_fill(~mask[:, :, None], -torch.inf).softmax(dim=3) @ told
        to_users = likeness.transpose(2, 3).masked_fill(~known[:, None, None], -torch.inf).softmax(dim=3) @ users[:, None]
        of_user = self._match(users[:, None].expand_as(to_items), to_items, known[:, None].expand(to_items.shape[:3]))
        of_item = self._match(told, to_users, mask)
        joined = torch.cat([user, item, user * item, of_user, of_item], dim=2)
        start = self.scale.exp() * cosine_similarity(history[:, None], items, dim=2)
        return start + self.last(torch.relu(self.hidden(joined)))[..., 0]

    def _users(self, history: Tensor, said: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the user's set ``[u, 2 + S, w]`` and which of it there is."""
        met = history.any(dim=1, keepdim=True)
        first = torch.where(met, self._seen(history), self.nobody) + self.kinds[0]
        others = self._seen(said) + torch.cat([self.kinds[1:2], self.kinds[2:3].expand(said.shape[1] - 1, -1)])
        return torch.cat([first[:, None], others], dim=1), torch.cat([torch.ones_like(met), mask], dim=1)

    def _items(self, items: Tensor, reviews: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the items' sets ``[u, g, 1 + T, w]`` and which of them there is."""
        whole = torch.cat([(self._seen(items) + self.kinds[3])[:, :, None], self._seen(reviews) + self.kinds[4]], dim=2)
        return whole, torch.cat([mask.new_ones((*mask.shape[:2], 1)), mask], dim=2)

    def _seen(self, vectors: Tensor) -> Tensor:
        found: Tensor = self.project(self.dropout(vectors))
        return found

    def _match(self, own: Tensor, other: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the set of how each member ``[u, g, n, w]`` goes with what it found on the other side."""
        matched = torch.relu(self.matched(torch.cat([own, other, own - other, own * other], dim=3)))
        return (matched * mask[..., None]).sum(dim=2) / mask.sum(dim=2, keepdim=True)


def _attended(query: Tensor, members: Tensor, mask: Tensor) -> Tensor:
    """Return ``[…, w]``: the members ``[…, n, w]`` weighted by their products with a query ``[…, w]``; ``mask [… , n]``."""
    logits = (members @ query[..., None])[..., 0] / math.sqrt(query.shape[-1])
    weights = logits.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    return (weights[..., None] * members).sum(dim=-2)

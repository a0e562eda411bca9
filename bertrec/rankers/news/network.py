"""Both towers under one loss; every distinct item of a batch is encoded once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from bertrec.core.ragged import IntArray
from bertrec.encoders.text import TextEncoder
from bertrec.rankers.losses import RankLoss, rank_loss
from bertrec.rankers.news.texts import ItemTexts, TextVectors
from bertrec.rankers.news.towers import ItemTower, Past, Shown, UserTower


class Towers(nn.Module):
    """Item and user tower, without a loss.

    Args:
        encoder: what reads the texts.
        items: from texts to item vectors.
        users: from histories to what scores candidates.
        dropout: on item vectors.
    """

    users: UserTower

    def __init__(self, encoder: TextEncoder, items: ItemTower, users: UserTower, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.items, self.users = encoder, items, users
        self.vectors = TextVectors(encoder, items.texts.tokens)
        self.dropout = nn.Dropout(dropout)

    def encoder_parameters(self) -> Iterable[nn.Parameter]:
        """Return what takes the encoder's learning rate."""
        return self.encoder.parameters()

    def take(self, texts: ItemTexts) -> None:
        """Take other items."""
        self.items.take(texts)
        self.vectors = TextVectors(self.encoder, texts.tokens)

    def table(self) -> Shown:
        """Return the vectors of all items by inner id, ``[n_items + 1, dim]``; row 0, padding, is zeros."""
        rows = np.arange(len(self.items.texts.views[0]))
        found, topics = self.items(self.vectors, rows), self.items.topics(self.vectors, rows)
        return Shown(_with_padding(found), None if topics is None else _with_padding(topics))

    def gather(self, histories: Tensor, candidates: Tensor, users: Tensor | None = None) -> tuple[Past, Tensor, Shown]:
        """Return histories, the row of each candidate's user, ``[u * g]``, and candidates.

        Args:
            histories: ids ``[u, H]``, 0 for none.
            candidates: ids ``[u, g]``, 0 for none.
            users: numbers ``[u]``.
        """
        distinct, place = torch.cat([histories.flatten(), candidates.flatten()]).unique(return_inverse=True)
        rows: IntArray = np.maximum(distinct.cpu().numpy() - 1, 0)
        topics = self.items.topics(self.vectors, rows)
        sizes = [histories.numel(), candidates.numel()]
        past, shown = self.dropout(self.items(self.vectors, rows))[place].split(sizes)
        read, about = (None, None) if topics is None else topics[place].split(sizes)
        past = past.reshape(*histories.shape, -1)
        of_past = Past(past, histories > 0, users, None if read is None else read.reshape(past.shape))
        of = torch.arange(len(candidates), device=candidates.device).repeat_interleave(candidates.shape[1])
        return of_past, of, Shown(shown, about)


class NewsNetwork(Towers):
    """Both towers under a loss of lists.

    Args:
        encoder, items, users, dropout: of `Towers`.
        scale: factor of the scores in the loss, at the start.
        loss: what is minimised; a pointwise loss has a bias, as its scores are logits.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        items: ItemTower,
        users: UserTower,
        *,
        dropout: float,
        scale: float,
        loss: RankLoss,
    ) -> None:
        super().__init__(encoder, items, users, dropout=dropout)
        self.loss = loss
        self.scale = nn.Parameter(torch.tensor(float(np.log(scale))))
        self.bias = nn.Parameter(torch.zeros(())) if loss == "pointwise" else None

    def logits(self, scores: Tensor) -> Tensor:
        """Return what the loss compares."""
        scaled = self.scale.exp() * scores
        return scaled if self.bias is None else scaled + self.bias

    def forward(self, histories: Tensor, candidates: Tensor, labels: Tensor, users: Tensor) -> dict[str, Tensor]:
        """Return the loss of lists; the arguments are those of `gather`, and labels ``[u, g]``, -1 for none."""
        past, rows, shown = self.gather(histories, candidates, users)
        known = self.users(past)
        scores = self.users.match(known, past, rows, shown).reshape(candidates.shape)
        loss, penalty = rank_loss(self.logits(scores), labels, self.loss), self.users.penalty(known, past)
        return {"loss": loss if penalty is None else loss + penalty}


def _with_padding(vectors: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(vectors[:1]), vectors])

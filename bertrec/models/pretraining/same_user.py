"""Which two periods are of one user: UserBERT's behaviour sequence matching (Wu et al., 2021, arXiv:2109.01274)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from bertrec.heads.similarity import scores
from bertrec.models.pretraining.config import PretrainConfig
from bertrec.models.pretraining.domains import Domains
from bertrec.models.pretraining.tasks import Task
from bertrec.models.pretraining.view import View


class SameUserTask(Task):
    """The earlier half of a sequence, told by the later one from later halves of other users.

    ``−mean_i log(e^{a_i·b_i} / (e^{a_i·b_i} + Σ_{n∈N_i} e^{a_i·n}))``. N_i are ``pretrain.hard`` periods of other users, the nearest to
    ``a_i`` after a share ``pretrain.too_hard`` of the very nearest; they are of the batch, and of a pool of earlier steps, which gets no
    gradient.
    """

    owner: Tensor
    pool: Tensor
    pool_owner: Tensor
    filled: Tensor

    def __init__(self, config: PretrainConfig, domains: Domains) -> None:
        super().__init__(config, domains)
        users = torch.from_numpy(domains.train.sequences.rows + 1)
        self.register_buffer("owner", torch.cat([users.new_zeros(1), users]), persistent=False)

    def build(self, width: int) -> None:
        """Make the pool, empty; it is part of a checkpoint."""
        self.register_buffer("pool", torch.zeros(self.config.pool, width))
        self.register_buffer("pool_owner", torch.zeros(self.config.pool, dtype=torch.long))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    @property
    def weight(self) -> float:
        """``pretrain.same_user_weight``."""
        return self.config.same_user_weight

    def forward(self, view: View) -> Tensor:
        """Return the loss of a batch, and keep its later halves for the next ones."""
        earlier, later = halves(view)
        places = view.places
        assert places is not None  # every batch of a pre-training has them
        users = self.owner[places[:, 0]]
        left, right = view.network.scaled_users(earlier), view.network.scaled_items(later)
        held = self.pool_owner > 0
        candidates = torch.cat([right, self.pool[held].to(right.dtype)])
        logits = scores(left, candidates)
        foreign = users[:, None] != torch.cat([users, self.pool_owner[held]])
        wrong = medium_hard(logits.masked_fill(~foreign, -math.inf), self.config.hard, self.config.too_hard)
        if self.training:
            self._keep(right.detach(), users)
        both = torch.cat([logits.diagonal()[:, None], wrong], dim=1)
        return functional.cross_entropy(both, torch.zeros_like(users))

    @torch.no_grad()
    def _keep(self, periods: Tensor, users: Tensor) -> None:
        """Write vectors over the oldest of the pool."""
        size, count = len(self.pool), min(len(self.pool), len(periods))
        if size:
            slots = (self.filled + torch.arange(count, device=users.device)) % size
            self.pool[slots], self.pool_owner[slots] = periods[-count:].to(self.pool.dtype), users[-count:]
            self.filled.copy_((self.filled + count) % size)


def halves(view: View) -> tuple[Tensor, Tensor]:
    """Return the states after the earlier and the later half of each sequence, each read by itself, ``[batch, width]`` both.

    Of an odd number of items the later half has one more.
    """
    read = view.behaviours
    lengths = (read > 0).sum(1)
    first = lengths // 2
    column = torch.arange(read.shape[1], device=read.device)
    later = read.gather(1, (first[:, None] + column).clamp(max=read.shape[1] - 1))
    rows = torch.cat([read * (column < first[:, None]), later * (column < (lengths - first)[:, None])])
    earlier, newer = view.network.newest_states(view.items, rows, torch.cat([first, lengths - first])).chunk(2)
    return earlier, newer


def medium_hard(logits: Tensor, count: int, share: float) -> Tensor:
    """Return the largest logits of each row without a share of the very largest.

    Args:
        logits: ``[b, c]``; −inf is none.
        count: of those that are returned, at most.
        share: of a row's logits, rounded down, that are passed over.

    Returns:
        ``[b, k]``, k at most ``count``; −inf where a row has fewer.
    """
    known = (logits > -math.inf).sum(1)
    passed = (known * share).long()
    most = min(logits.shape[1], int(passed.max()) + count)
    ordered = logits.topk(most, dim=1).values
    column = passed[:, None] + torch.arange(min(count, most), device=logits.device)
    beyond = column >= most
    return ordered.gather(1, column.clamp(max=most - 1)).masked_fill(beyond, -math.inf)

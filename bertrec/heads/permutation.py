"""A permutation that is learned: hard in the forward pass, soft in the backward pass."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

_TEMPERATURE = 0.7
_ROUNDS = 20


def sinkhorn(logits: Tensor, *, rounds: int = _ROUNDS) -> Tensor:
    """Return the doubly stochastic matrices that rows and columns divided by their sums, in turn, lead to (Sinkhorn, 1964).

    Args:
        logits: ``[…, n, n]``, of which the exponentials are taken.
        rounds: how often both are divided.
    """
    for _ in range(rounds):
        logits = logits - logits.logsumexp(dim=-2, keepdim=True)
        logits = logits - logits.logsumexp(dim=-1, keepdim=True)
    return logits.exp()


def best_assignment(weights: Tensor) -> Tensor:
    """Return for each row of ``[m, n, n]`` the column that it is given, ``[m, n]``: each column once, with the largest sum of weights."""
    from scipy.optimize import linear_sum_assignment

    columns = [linear_sum_assignment(one, maximize=True)[1] for one in weights.detach().cpu().double().numpy()]
    return torch.from_numpy(np.stack(columns)).to(weights.device)


class SlotPermutation(nn.Module):
    """One permutation of the codes for each slot, from logits through Sinkhorn's matrices (Mena et al., ICLR 2018).

    The forward pass takes the assignment of the largest weight, which is a permutation; the gradient is that of the soft
    matrix. In training Gumbel noise is added to the logits, so that other permutations are tried.

    Attributes:
        logits: ``[slots, size, size]``; entry (i, j) of a slot: that code i takes the vector of code j.
    """

    def __init__(self, slots: int, size: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.randn(slots, size, size) * 0.01)

    def forward(self, vectors: Tensor) -> Tensor:
        """Re-order ``[slots, size, width]`` within each slot."""
        noise = -torch.empty_like(self.logits).exponential_().log() if self.training else 0.0
        soft = sinkhorn((self.logits + noise) / _TEMPERATURE)
        hard = torch.zeros_like(soft).scatter_(-1, best_assignment(soft)[..., None], 1.0)
        return (hard + soft - soft.detach()) @ vectors

    def order(self) -> Tensor:
        """Return the code whose vector each code takes, ``[slots, size]``."""
        return best_assignment(sinkhorn(self.logits / _TEMPERATURE))

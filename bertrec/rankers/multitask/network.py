r"""A mixture of experts over pairs of vectors, a gate and a head for each task, and probabilities along the chain.

Of the vector u of a query or a history and v of a product the experts read :math:`[u, v, |u - v|, u \odot v]`; task t
mixes them by a softmax of its own. Its head gives the probability of the step after the one before, and

.. math:: p_t = \prod_{s \le t} σ(z_s), \qquad L = \sum_t w_t\, \mathrm{BCE}(p_t, y_t)

so that a deeper step is never likelier, and every pair teaches every step (ESMM; Ma et al., SIGIR 2018).

Heads begin at 0 beside a multiple of the cosine of u and v, 1 for the first step and 0 for the others, and a bias, the
logit of the share of pairs that take the step: untrained, the order is that of text similarity. A later step then has
the share among pairs that took the one before; the first is higher than its share by what the cosine adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from bertrec.encoders.text import TextEncoder
from bertrec.rankers.news.network import Towers
from bertrec.rankers.news.texts import TextVectors
from bertrec.rankers.news.towers import ItemTower, Past, Shown, UserTower, mean_of_history

_LOG_HALF = -0.6931
_CERTAIN = -1e-6
"""The largest logarithm of a probability that the loss sees: that of 1 would make a mistake infinitely bad."""


class MixtureOfExperts(nn.Module):
    """Experts of one hidden layer, mixed by a softmax gate for each task; gates begin equal.

    Args:
        width: of what they read.
        experts: how many.
        hidden: dimensions that each gives.
        tasks: how many.
        dropout: behind the experts.
    """

    def __init__(self, width: int, experts: int, hidden: int, tasks: int, dropout: float) -> None:
        super().__init__()
        self.experts, self.hidden, self.tasks = experts, hidden, tasks
        self.layer, self.gate = nn.Linear(width, experts * hidden), nn.Linear(width, tasks * experts)
        self.dropout = nn.Dropout(dropout)
        for begins_at_0 in (self.gate.weight, self.gate.bias):
            nn.init.zeros_(begins_at_0)

    def gates(self, features: Tensor) -> Tensor:
        """Return what each task makes of each expert, ``[p, tasks, experts]``; they sum to 1 for each task."""
        return self.gate(features).reshape(-1, self.tasks, self.experts).softmax(dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        """Return a vector for each task, ``[p, tasks, hidden]``, of ``[p, width]``."""
        experts = self.dropout(torch.relu(self.layer(features))).reshape(-1, self.experts, self.hidden)
        return self.gates(features) @ experts


def pair_features(u: Tensor, v: Tensor) -> Tensor:
    """Return ``[u, v, |u − v|, u ⊙ v]``, ``[p, 4 dim]``, of vectors ``[p, dim]`` brought to a mean square of 1."""
    u, v = (vectors * vectors.shape[-1] ** 0.5 for vectors in (u, v))
    return torch.cat([u, v, (u - v).abs(), u * v], dim=-1)


class ChainTower(UserTower):
    """The logits of all steps for pairs of a query or history and a product.

    Args:
        dim: of the vectors.
        tasks: steps of the chain.
        experts: how many.
        hidden: dimensions of each.
        dropout: behind the experts.
    """

    def __init__(self, dim: int, tasks: int, *, experts: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.mixture = MixtureOfExperts(4 * dim, experts, hidden, tasks, dropout)
        self.heads = nn.Parameter(torch.zeros(tasks, hidden))
        self.similar = nn.Parameter(torch.eye(tasks)[0])
        self.bias = nn.Parameter(torch.zeros(tasks))
        self.empty = nn.Parameter(torch.zeros(dim))

    def begin(self, shares: Sequence[float]) -> None:
        """Let the biases say how many pairs take each step after the one before."""
        with torch.no_grad():
            self.bias.copy_(torch.tensor(shares, dtype=self.bias.dtype).logit())

    def forward(self, past: Past) -> Tensor:
        """Return vectors ``[u, dim]``: of the query, else of the history, of length 1; a learned one without either."""
        # Nothing of length 0 is normalised: its gradient would drown all others.
        mean = normalize(mean_of_history(past, self.empty), dim=1)
        history = torch.where(past.mask.any(dim=1, keepdim=True), mean, self.empty)
        return history if past.query is None else torch.where(past.query.any(dim=1, keepdim=True), past.query, history)

    def match(self, users: Tensor, past: Past, rows: Tensor, shown: Shown) -> Tensor:
        """Return the logit of each step after the one before, ``[p, tasks]``."""
        u, v = users[rows], shown.items
        learned = (self.mixture(pair_features(u, v)) * self.heads).sum(dim=-1)
        return learned + self.similar * (u * v).sum(dim=-1, keepdim=True) + self.bias


def log_chain(logits: Tensor) -> Tensor:
    """Return the logarithm of the probability of each step, ``[…, tasks]``, never rising along the chain."""
    return logsigmoid(logits).cumsum(dim=-1)


def chain_loss(logits: Tensor, levels: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum over tasks of the mean cross-entropy of ``p_t`` and of whether the step was taken.

    Args:
        logits: ``[p, tasks]``, each after the step before.
        levels: ``[p]`` how many steps were taken.
        weights: ``[tasks]``.
    """
    log_p = log_chain(logits).clamp(max=_CERTAIN)
    log_not = torch.where(log_p > _LOG_HALF, torch.log(-torch.expm1(log_p)), torch.log1p(-torch.exp(log_p)))
    taken = levels[:, None] > torch.arange(logits.shape[1], device=levels.device)
    return -(torch.where(taken, log_p, log_not).mean(dim=0) * weights).sum()


def step_shares(levels: npt.NDArray[np.int8], tasks: int) -> list[float]:
    """Return the share of pairs at each step among those before it, one of each added so that none is 0 or 1."""
    at = [int((levels >= depth).sum()) for depth in range(tasks + 1)]
    return [(taken + 1) / (before + 2) for before, taken in pairwise(at)]


class ChainNetwork(Towers):
    """Both towers under the loss of the chain.

    Args:
        encoder, items, users: of `Towers`.
        weights: of the tasks.
    """

    def __init__(self, encoder: TextEncoder, items: ItemTower, users: UserTower, *, weights: Sequence[float]) -> None:
        super().__init__(encoder, items, users)
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self.queries: TextVectors | None = None

    def forward(
        self,
        histories: Tensor,
        candidates: Tensor,
        labels: Tensor,
        queries: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the loss of lists.

        Args:
            histories: ids ``[u, H]``, 0 for none.
            candidates: ids ``[u, g]``, 0 for none.
            labels: levels ``[u, g]``, -1 for none.
            queries: ``[u]`` rows among the queries, -1 for none.
        """
        past, rows, shown = self.gather(histories, candidates)
        if queries is not None and self.queries is not None:
            past = past._replace(query=self.queries(queries.cpu().numpy()))
        there = labels.flatten() >= 0
        shown = Shown(shown.items[there])
        logits = self.users.match(self.users(past), past, rows[there], shown)
        weights: Tensor = self.get_buffer("weights")
        return {"loss": chain_loss(logits, labels.flatten()[there], weights)}

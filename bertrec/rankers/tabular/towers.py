"""The towers, from the vectors of history, candidate and row to one vector of a pair: DIN and DCN."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from bertrec.rankers.tabular.config import CTRLConfig, DCNConfig, DINConfig, TabularConfig


def perceptron(widths: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Return linear layers between the widths, each with PReLU and dropout behind it."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.PReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


class ActivationUnit(nn.Module):
    r"""DIN's weight of each item of a history for each candidate, :math:`a(k, q) = MLP([q, k, q - k, q \odot k])`, not normalised.

    The first layer is computed in parts, :math:`(W_1 + W_3) q + (W_2 - W_3) k + (W_4 \odot q) k`, so that neither history nor candidate is
    copied for each pair.

    Args:
        width: of items' vectors.
        hidden: widths of the layers.
    """

    def __init__(self, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.first = nn.Linear(4 * width, hidden[0])
        self.rest = nn.Sequential(nn.PReLU(), perceptron(hidden), nn.Linear(hidden[-1], 1))

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        """Return weights ``[u, g, H]`` of ``history [u, H, d]`` for ``candidates [u, g, d]``."""
        of_q, of_k, of_difference, of_product = self.first.weight.chunk(4, dim=1)
        products = (candidates[:, :, None, :] * of_product).flatten(1, 2)  # [u, g * hidden, d]
        crossed = (history @ products.transpose(1, 2)).unflatten(2, (candidates.shape[1], -1))  # [u, H, g, hidden]
        own = candidates @ (of_q + of_difference).T + self.first.bias
        past = history @ (of_k - of_difference).T
        weights: Tensor = self.rest(crossed + own[:, None] + past[:, :, None])[..., 0].transpose(1, 2)
        return weights


class DINTower(nn.Module):
    """Deep Interest Network (Zhou et al., KDD 2018, https://arxiv.org/abs/1706.06978).

    Args:
        item: width of items' vectors.
        side: width of all else that is known of a pair.
        config: the settings.

    Attributes:
        dim: width of what it returns.
    """

    def __init__(self, item: int, side: int, config: DINConfig) -> None:
        super().__init__()
        self.attention = ActivationUnit(item, config.attention_hidden)
        self.deep = perceptron([2 * item + side, *config.hidden], config.dropout)
        self.dim = config.hidden[-1]

    def forward(self, history: Tensor, mask: Tensor, candidates: Tensor, side: Tensor) -> Tensor:
        """Return a vector of each pair, ``[u, g, dim]``.

        Args:
            history: ``[u, H, item]``.
            mask: ``[u, H]``, true at items.
            candidates: ``[u, g, item]``.
            side: ``[u, g, side]``.
        """
        weights = self.attention(history, candidates) * mask[:, None]
        pair: Tensor = self.deep(torch.cat([side, candidates, weights @ history], dim=2))
        return pair


class CrossLayer(nn.Module):
    r"""DCN's cross, :math:`x_{l+1} = x_0 \odot (W x_l + b) + x_l`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, start: Tensor, now: Tensor) -> Tensor:
        """Return what follows ``now [.., width]``, where the first layer began with ``start``."""
        following: Tensor = start * self.linear(now) + now
        return following


class DCNTower(nn.Module):
    """Deep and Cross Network V2, parallel (Wang et al., WWW 2021, https://arxiv.org/abs/2008.13535); a history is the mean of its items.

    The arguments and the attribute are those of `DINTower`.
    """

    def __init__(self, item: int, side: int, config: DCNConfig) -> None:
        super().__init__()
        width = 2 * item + side
        self.cross = nn.ModuleList(CrossLayer(width) for _ in range(config.cross_layers))
        self.deep = perceptron([width, *config.hidden], config.dropout)
        self.dim = width + config.hidden[-1]

    def forward(self, history: Tensor, mask: Tensor, candidates: Tensor, side: Tensor) -> Tensor:
        """Return a vector of each pair, ``[u, g, dim]``; the arguments are those of `DINTower.forward`."""
        share = mask / mask.sum(dim=1, keepdim=True).clamp(min=1)
        mean = (share[:, None] @ history).expand(-1, candidates.shape[1], -1)
        start = torch.cat([side, candidates, mean], dim=2)
        now = start
        for layer in self.cross:
            now = layer(start, now)
        return torch.cat([now, self.deep(start)], dim=2)


def make_tower(item: int, side: int, config: TabularConfig) -> DINTower | DCNTower:
    """Return the tower that the settings are of; those of CTRL name theirs."""
    if isinstance(config, DINConfig) and not (isinstance(config, CTRLConfig) and config.tower == "dcn"):
        return DINTower(item, side, config)
    assert isinstance(config, DCNConfig)
    return DCNTower(item, side, config)

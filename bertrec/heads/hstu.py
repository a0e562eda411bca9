"""HSTU: pointwise aggregated attention with a gate, and a bias of places and of times between items.

Zhai et al., ICML 2024, "Actions Speak Louder than Words", https://arxiv.org/abs/2402.17152. Written from the formulas.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.ragged import NO_TIME
from bertrec.heads.config import HeadConfig
from bertrec.heads.users import UserHead, check_heads, later, newest_rows

_STEP = 0.301
"""Of the logarithm of seconds, the width of a bucket: each is 1.35 times as long as the one before."""
_BUCKETS = 80
"""Buckets of known times; the last one begins at 700 years."""
_UNKNOWN_SHARE = 0.1
"""Share of histories whose times are not read in a training step, so that histories without times are served too."""


def time_buckets(times: Tensor) -> Tensor:
    """Return which bucket the time between every two items falls into, ``[batch, length, length]``.

    Bucket ``floor(ln(max(1, |t_i - t_j|)) / .301)``, at most 79; 80 where one of the times is not known.

    Args:
        times: ``[batch, length]`` in whole seconds, or `bertrec.core.ragged.NO_TIME`.
    """
    known = times != NO_TIME
    when = times.masked_fill(~known, 0)
    apart = (when[:, :, None] - when[:, None, :]).abs().clamp(min=1)
    buckets = (apart.float().log() / _STEP).long().clamp(max=_BUCKETS - 1)
    return buckets.masked_fill(~(known[:, :, None] & known[:, None, :]), _BUCKETS)


class HSTULayer(nn.Module):
    """``x + f2(norm(A V) ⊙ U)`` with ``U, V, Q, K = silu(f1(norm(x)))`` and ``A = silu(Q Kᵀ + bias) / n``.

    A sums over the n items read so far, and no softmax takes part. Each attention head has its share of the width; the
    bias is theirs together.
    """

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 4 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.places = nn.Parameter(torch.empty(config.max_history).normal_(0.0, 0.02))
        self.times = nn.Parameter(torch.empty(_BUCKETS + 1).normal_(0.0, 0.02))  # the last one: times not known

    def forward(self, states: Tensor, buckets: Tensor) -> Tensor:
        """Map ``[batch, length, width]`` to the same shape.

        Args:
            states: of the items, oldest first.
            buckets: of `time_buckets`, ``[batch or 1, length, length]``.
        """
        gate, value, query, key = functional.silu(self.project(self.norm1(states))).chunk(4, dim=-1)
        read = self._attend(self._split(query), self._split(key), self._split(value), self._bias(buckets))
        gathered = read.transpose(1, 2).reshape(states.shape)
        out: Tensor = states + self.out(self.dropout(self.norm2(gathered) * gate))
        return out

    def _split(self, states: Tensor) -> Tensor:
        batch, length, width = states.shape
        return states.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def _bias(self, buckets: Tensor) -> Tensor:
        place = torch.arange(buckets.shape[-1], device=buckets.device)
        back = (place[:, None] - place).clamp(min=0)
        return self.places[back] + self.times[buckets]

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        weights = functional.silu(query @ key.transpose(2, 3) + bias[:, None])
        weights = weights.masked_fill(later(value[:, 0]), 0.0)
        read = torch.arange(1, weights.shape[-1] + 1, device=weights.device)
        return weights @ value / read[:, None]


class HSTUHead(UserHead):
    """Learned positions, HSTU layers, and the norm that a pre-norm stack ends with."""

    reads_times: ClassVar[bool] = True
    norm_of_inputs: ClassVar[bool] = False

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__(width, config)
        check_heads(width, config)
        self.positions = nn.Parameter(torch.empty(config.max_history, width).normal_(0.0, 0.02))
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(HSTULayer(width, config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        """Map item vectors ``[batch, length, width]`` to user vectors of the same shape.

        Args:
            items: oldest first, padded on the right.
            times: ``[batch, length]`` in whole seconds, or `bertrec.core.ragged.NO_TIME`; None where none is known.
        """
        buckets = self._buckets(items, times)
        states: Tensor = self.dropout(items + self.positions[: items.shape[1]])
        for layer in self.layers:
            states = layer(states, buckets)
        out: Tensor = self.norm(states)
        return out

    def newest(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """Do as `UserHead.newest`, with the times that `forward` takes."""
        return newest_rows(self(items, times), lengths)

    def _buckets(self, items: Tensor, times: Tensor | None) -> Tensor:
        if times is None:
            length = items.shape[1]
            return torch.full((1, length, length), _BUCKETS, device=items.device)
        if self.training:
            unread = torch.rand(len(times), device=times.device) < _UNKNOWN_SHARE
            times = times.masked_fill(unread[:, None], NO_TIME)
        return time_buckets(times)

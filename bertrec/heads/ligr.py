"""The user head of LiGR blocks: pre-norm attention and a SwiGLU, each behind a gate of its own input.

LiGR: Borisyuk et al. 2025, https://arxiv.org/abs/2502.03417; within SASRec: "eSASRec", RecSys 2025,
https://arxiv.org/abs/2508.06450. Written from the formulas.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.heads.config import HeadConfig
from bertrec.heads.users import UserHead, attend_newest, check_heads, later, newest_rows


class SwiGLU(nn.Module):
    """``W_3(silu(W_1 x) ⊙ W_2 x)`` (Shazeer 2020, https://arxiv.org/abs/2002.05202), without biases.

    Shapes: ``[…, width]`` to ``[…, width]``.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """Map ``[…, width]`` to the same shape."""
        out: Tensor = self.out(functional.silu(self.gate(states)) * self.value(states))
        return out


class LiGRBlock(nn.Module):
    """``y = x + attention(norm(x)) ⊙ σ(G_1 x)`` and then ``y + swiglu(norm(y)) ⊙ σ(G_2 y)``."""

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, config.heads, config.dropout, batch_first=True)
        self.feed_forward = SwiGLU(width, config.inner or width)
        self.gate1, self.gate2 = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout1, self.dropout2 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Map ``[batch, length, width]`` to the same shape; ``mask [length, length]`` is True where nothing is read."""
        read = self.norm1(states)
        attended = self.attention(read, read, read, attn_mask=mask, is_causal=True, need_weights=False)[0]
        return self._rest(states, attended)

    def newest(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Return row ``lengths - 1`` of what `forward` gives, ``[batch, width]``, and compute no other."""
        return self._rest(newest_rows(states, lengths), attend_newest(self.attention, self.norm1(states), lengths))

    def _rest(self, states: Tensor, attended: Tensor) -> Tensor:
        mixed = states + self.dropout1(attended) * self.gate1(states).sigmoid()
        out: Tensor = mixed + self.dropout2(self.feed_forward(self.norm2(mixed))) * self.gate2(mixed).sigmoid()
        return out


class LiGRHead(UserHead):
    """Learned positions, causal LiGR blocks, and the norm that a pre-norm stack ends with."""

    norm_of_inputs: ClassVar[bool] = False

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__(width, config)
        check_heads(width, config)
        self.positions = nn.Parameter(torch.empty(config.max_history, width).normal_(0.0, 0.02))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(LiGRBlock(width, config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, items: Tensor) -> Tensor:
        """Map item vectors ``[batch, length, width]`` to user vectors of the same shape."""
        states, mask = self._read(items), later(items)
        for block in self.blocks:
            states = block(states, mask)
        out: Tensor = self.norm(states)
        return out

    def newest(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Do as `UserHead.newest`; the last block computes no other row."""
        states, mask = self._read(items), later(items)
        *before, last = self.blocks
        for block in before:
            states = block(states, mask)
        assert isinstance(last, LiGRBlock)
        out: Tensor = self.norm(last.newest(states, lengths))
        return out

    def _read(self, items: Tensor) -> Tensor:
        read: Tensor = self.dropout(items + self.positions[: items.shape[1]])
        return read

"""Dropout with a mask from whole random words: on a CPU a fraction of the time of a number per component."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16  # of a random number of 16 bits, four of which are cut from each word


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`, whose mask on a CPU is drawn by 16 bits per component.

    There ``p`` is rounded to a multiple of 2⁻¹⁶, and what is kept is scaled by that probability, so that the mean stays exact. The global
    random state decides the mask, as it does with torch's own, but gives another one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input`` with components set to 0 with probability ``p`` and the others scaled up, in training; unchanged otherwise."""
        dropped = round(self.p * _LEVELS)
        if not self.training or self.inplace or input.device.type != "cpu" or not 0 < dropped < _LEVELS:
            return super().forward(input)
        return input * _mask(input, dropped)


def _mask(like: Tensor, dropped: int) -> Tensor:
    count = math.prod(like.shape)
    words = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(1 << 63), None)
    kept = words.view(torch.int16)[:count] >= dropped - _LEVELS // 2
    return kept.to(like.dtype).mul_(_LEVELS / (_LEVELS - dropped)).view(like.shape)


def with_quick_dropout(module: nn.Module) -> nn.Module:
    """Replace every `torch.nn.Dropout` within ``module`` by `Dropout`, and return it."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p, child.inplace))
        else:
            with_quick_dropout(child)
    return module

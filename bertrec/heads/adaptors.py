"""From text vectors to item vectors: linear (with or without MoRec's GELU), two-layer, and UniSRec's mixture of parametric whitenings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.heads.config import ItemConfig


class MLPAdaptor(nn.Module):
    """``Linear(GELU(Linear(x)))``.

    Shapes: ``[…, dim_in]`` to ``[…, dim_out]``.
    """

    def __init__(self, dim_in: int, dim_out: int, *, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim_in, hidden)
        self.out = nn.Linear(hidden, dim_out)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map text vectors ``[…, dim_in]`` to ``[…, dim_out]``."""
        out: Tensor = self.out(functional.gelu(self.hidden(vectors)))
        return out


class MoEAdaptor(nn.Module):
    """UniSRec's adaptor: a dense, noisily gated sum of parametric whitenings (Hou et al., KDD 2022).

    ``v = sum_k g_k · W_k(x − b_k)`` with ``g = softmax(x·W_g + ε · (softplus(x·W_n) + 0.01))``; ε is standard normal in training and 0
    otherwise, and W_g, W_n start at zero, so that all experts count alike at first.
    """

    def __init__(self, dim_in: int, dim_out: int, *, experts: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(experts, dim_in))
        self.weight = nn.Parameter(torch.empty(experts, dim_in, dim_out).normal_(0.0, 0.02))
        self.gate = nn.Parameter(torch.zeros(dim_in, experts))
        self.noise = nn.Parameter(torch.zeros(dim_in, experts))

    def gates(self, vectors: Tensor) -> Tensor:
        """Return the experts' shares for ``[n, dim_in]``, ``[n, experts]``, each row summing to 1."""
        logits = vectors @ self.gate
        if self.training:
            logits = logits + torch.randn_like(logits) * (functional.softplus(vectors @ self.noise) + 1e-2)
        return logits.softmax(dim=-1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map text vectors ``[n, dim_in]`` to ``[n, dim_out]``."""
        gates = self.gates(vectors)
        # W_k(x − b_k) = x·W_k − b_k·W_k: the shift costs one small product instead of a copy of x per expert.
        shifted = torch.einsum("ki,kio->ko", self.shift, self.weight)
        out = gates @ -shifted
        for expert in range(self.weight.shape[0]):
            out = out + gates[:, expert : expert + 1] * (vectors @ self.weight[expert])
        return out


def make_adaptor(dim_in: int, config: ItemConfig) -> nn.Module:
    """Build the adaptor that ``config.adaptor`` names, ``[n, dim_in]`` to ``[n, config.width]``."""
    if config.adaptor == "mlp":
        return MLPAdaptor(dim_in, config.width, hidden=config.hidden)
    if config.adaptor == "moe":
        return MoEAdaptor(dim_in, config.width, experts=config.experts)
    linear = nn.Linear(dim_in, config.width)
    return nn.Sequential(linear, nn.GELU()) if config.adaptor == "gelu" else linear

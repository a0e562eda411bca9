"""An item source that is a table of vectors under a small head, for losses beside their formulas."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from bertrec.heads.config import HeadConfig
from bertrec.heads.users import SelfAttentionHead

TAU = 0.07


def unit(rows):
    """Return rows of length 1."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class Source:
    """Item vectors that are a table, under a head of our own; altered items are the negative ones."""

    def __init__(self, n_items, width=8, counts=None, max_history=8):
        torch.manual_seed(3)
        self.table = torch.nn.Parameter(torch.randn(n_items + 1, width).double())
        self.head = SelfAttentionHead(width, HeadConfig(layers=1, heads=2, dropout=0.0, max_history=max_history)).double().eval()
        ours = counts if counts is not None else torch.ones(n_items + 1)
        self.network = SimpleNamespace(
            repeat_bias=None,
            settings=SimpleNamespace(head=self.head.config),
            counts=ours,
            user_states=lambda items, inputs: self.head(items[inputs]),
            newest_states=lambda items, inputs, lengths: self.head.newest(items[inputs], lengths),
            scaled_users=lambda states: torch.nn.functional.normalize(states, dim=-1) / TAU,
            scaled_items=lambda items: torch.nn.functional.normalize(items, dim=-1),
        )

    def vectors(self, rows):
        return self.table if rows is None else self.table[rows]

    def altered(self, rows):
        return -self.table[rows]

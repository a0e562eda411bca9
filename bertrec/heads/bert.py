"""A head that reads both ways and fills masked places, with a masked place after the newest item for what comes next.

BERT4Rec: Sun et al., CIKM 2019, https://arxiv.org/abs/1904.06690. Written from the formulas.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.heads.config import HeadConfig
from bertrec.heads.users import UserHead, check_heads, newest_rows


class BERTHead(UserHead):
    """Learned positions and self-attention over all items; a learned vector stands at masked places.

    Positions are counted from the end, so that what comes next has the same one after a history of any length.
    """

    bidirectional: ClassVar[bool] = True

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__(width, config)
        check_heads(width, config)
        self.mask = nn.Parameter(torch.empty(width).normal_(0.0, 0.02))
        longest = config.max_history + 1  # with what comes next
        self.positions = nn.Parameter(torch.empty(longest, width).normal_(0.0, 0.02))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, config.inner or width, config.dropout, activation="gelu", batch_first=True, norm_first=False
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)

    def forward(self, items: Tensor, masked: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """Map item vectors ``[batch, length, width]`` to vectors of the same shape.

        Row t of a masked place says what may stand there.

        Args:
            items: oldest first, padded on the right; of at most ``max_history + 1``.
            masked: ``[batch, length]`` bool, places whose item nothing reads; None masks none.
            lengths: ``[batch]``, places that are no padding; None means all.
        """
        read = items if masked is None else torch.where(masked[:, :, None], self.mask.to(items.dtype), items)
        ends = torch.full((len(items),), items.shape[1], device=items.device) if lengths is None else lengths
        after = ends[:, None] - 1 - torch.arange(items.shape[1], device=items.device)
        states = self.dropout(self.norm(read + functional.embedding(after.clamp(min=0), self.positions)))
        out: Tensor = self.layers(states, src_key_padding_mask=after < 0)
        return out

    def newest(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Return the vector of a masked place after the newest item, ``[batch, width]``: the vector that recommends."""
        longer = functional.pad(items, (0, 0, 0, 1))
        masked = torch.arange(longer.shape[1], device=items.device) == lengths[:, None]
        return newest_rows(self(longer, masked, lengths + 1), lengths + 1)

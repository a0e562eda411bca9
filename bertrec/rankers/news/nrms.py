"""NRMS (Wu et al., EMNLP 2019) over a pretrained encoder: two towers, trained on impressions.

Item vectors come from the text encoder; multi-head self-attention and additive attention over those of the history make
the user vector; a candidate's score is their inner product. The word-level attention of the paper is the encoder's
here.

Unlike the paper's, the towers start from what the encoder knows, which a thousand impressions are too few to find: item
vectors have length 1, the self-attention is added to its input and begins at 0, and the additive attention begins with
equal weights, so that the untrained user vector is the mean of the history.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError
from bertrec.rankers.news.config import NewsConfig
from bertrec.rankers.news.texts import ItemTexts
from bertrec.rankers.news.towers import AttentiveTower, UserTower
from bertrec.rankers.news.two_tower import TwoTower


class NRMSConfig(NewsConfig):
    """Settings of NRMS."""

    heads: int = Field(
        0,
        ge=0,
        description="Heads of the self-attention, a divisor of the encoder's width; 0 takes one for 32 dimensions.",
    )


class SelfAttentionTower(AttentiveTower):
    """Multi-head self-attention, then additive attention; an empty history is a learned vector.

    Args:
        dim: of the item vectors.
        heads: of the self-attention.
        dropout: behind it.
    """

    attention: nn.MultiheadAttention
    dropout: nn.Dropout

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        super().__init__(dim, attention=attention, dropout=nn.Dropout(dropout))
        nn.init.zeros_(self.attention.out_proj.weight)

    def attended(self, items: Tensor, padding: Tensor) -> Tensor:
        """Return the items with what they attend to added, ``[u, H, dim]``."""
        found, _ = self.attention(items, items, items, key_padding_mask=padding, need_weights=False)
        return items + self.dropout(found)


class NRMS(TwoTower):
    """Two towers on impressions: self-attention, then additive attention over the history; inner products."""

    name: ClassVar[str] = "nrms"
    config_class: ClassVar[type[Config]] = NRMSConfig
    config: NRMSConfig

    def user_tower(self, dim: int, texts: ItemTexts) -> UserTower:
        """Make the attention over the history.

        Raises:
            ConfigError: ``heads`` does not divide the encoder's width.
        """
        heads = self.config.heads or max(1, dim // 32)
        if dim % heads:
            raise ConfigError(f"heads={heads} does not divide the encoder's {dim} dimensions")
        return SelfAttentionTower(dim, heads, self.config.dropout)

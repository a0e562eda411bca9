"""User heads: from the item vectors of a history to a user vector at every position, in one causal pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bertrec.core.errors import ConfigError
from bertrec.core.foreign import guard_results, tensor
from bertrec.heads.config import HEADS, HeadConfig
from bertrec.heads.dropout import with_quick_dropout


class UserHead(nn.Module, ABC):
    """From the item vectors of a history to user vectors; ``head.kind`` names a class derived from it.

    A head has no settings of its own: it reads those of ``config`` that mean something to it.

    Args:
        width: of item and user vectors.
        config: the settings ``head.*``.

    Attributes:
        reads_times: whether `forward` and `newest` also take ``times [batch, length]``, when each item was met in whole seconds, or None
            where that is not known.
        bidirectional: whether rows read later items too, see `bertrec.heads.bert`; only a loss that masks its targets trains it.
    """

    reads_times: ClassVar[bool] = False
    bidirectional: ClassVar[bool] = False
    norm_of_inputs: ClassVar[bool] = True  # whether ``norm`` is one of inputs, and not one of outputs

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__()
        self.width, self.config = width, config

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        guard_results(cls, {"forward": tensor, "newest": tensor})

    def freeze(self) -> None:
        """Let nothing of it learn but ``norm``, where it has one of that name and `norm_of_inputs` says that it is."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self.norm_of_inputs and name.startswith("norm."))

    @abstractmethod
    def forward(self, items: Tensor) -> Tensor:
        """Map item vectors ``[batch, length, width]``, oldest first, to user vectors of the same shape.

        Row t has read items 0…t and no later one: all rows are trained at once, each on the item after it. A history is
        padded on the right.
        """

    def newest(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Return row ``lengths - 1`` of what `forward` gives, ``[batch, width]``: the vector that recommends.

        Args:
            items: ``[batch, length, width]``, padded on the right.
            lengths: ``[batch]``, at least 1.
        """
        return newest_rows(self(items), lengths)


class SelfAttentionHead(UserHead):
    """SASRec's head: learned positions and causal self-attention (Kang and McAuley, ICDM 2018).

    Rows are padded on the right, so that the causal mask alone keeps padding from every real position and no row of the mask is empty.
    """

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__(width, config)
        check_heads(width, config)
        self.positions = nn.Parameter(torch.empty(config.max_history, width).normal_(0.0, 0.02))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, config.inner or width, config.dropout, activation="gelu", batch_first=True, norm_first=False
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)

    def forward(self, items: Tensor) -> Tensor:
        """Map item vectors ``[batch, length, width]`` to user vectors of the same shape."""
        # is_causal lets attention take its fused path; the mask is still what defines the result.
        out: Tensor = self.layers(self._read(items), mask=later(items), is_causal=True)
        return out

    def newest(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Do as `UserHead.newest`; the last layer computes no other row, some half of its work."""
        states, mask = self._read(items), later(items)
        *before, last = self.layers.layers
        for layer in before:
            states = layer(states, src_mask=mask, is_causal=True)
        own = newest_rows(states, lengths)
        mixed = last.norm1(own + last.dropout1(attend_newest(last.self_attn, states, lengths)))
        out: Tensor = last.norm2(mixed + last.dropout2(last.linear2(last.dropout(last.activation(last.linear1(mixed))))))
        return out

    def _read(self, items: Tensor) -> Tensor:
        read: Tensor = self.dropout(self.norm(items + self.positions[: items.shape[1]]))
        return read


def newest_rows(states: Tensor, lengths: Tensor) -> Tensor:
    """Return row ``lengths - 1`` of each of ``states [batch, length, width]``, ``[batch, width]``."""
    return states[torch.arange(len(states), device=states.device), lengths - 1]


def check_heads(width: int, config: HeadConfig) -> None:
    """See that the attention heads divide the width.

    Raises:
        ConfigError: they do not.
    """
    if width % config.heads:
        raise ConfigError(f"setting 'head.heads': {config.heads} does not divide item.width {width}")


def later(items: Tensor) -> Tensor:
    """Return ``[length, length]``: which of ``items [batch, length, width]`` stand after which."""
    return torch.ones(items.shape[1], items.shape[1], dtype=torch.bool, device=items.device).triu(1)


def attend_newest(attention: nn.MultiheadAttention, states: Tensor, lengths: Tensor) -> Tensor:
    """Return what the newest of ``states [batch, length, width]`` reads of those up to itself, ``[batch, width]``.

    Args:
        attention: with the batch first.
        states: padded on the right.
        lengths: ``[batch]``, at least 1.
    """
    own = newest_rows(states, lengths)
    unread = torch.arange(states.shape[1], device=states.device) >= lengths[:, None]
    attended: Tensor = attention(own[:, None], states, states, key_padding_mask=unread, need_weights=False)[0][:, 0]
    return attended


class GRUHead(UserHead):
    """A gated recurrent unit over the history (GRU4Rec form: Hidasi et al., ICLR 2016)."""

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__(width, config)
        self.dropout = nn.Dropout(config.dropout)
        self.gru = nn.GRU(width, width, config.layers, batch_first=True, dropout=config.dropout if config.layers > 1 else 0.0)

    def forward(self, items: Tensor) -> Tensor:
        """Map ``[batch, length, width]`` to user vectors of the same shape."""
        out: Tensor = self.gru(self.dropout(items))[0]
        return out


class MeanHead(UserHead):
    """The mean of the items read so far; nothing to train."""

    def forward(self, items: Tensor) -> Tensor:
        """Map ``[batch, length, width]`` to running means of the same shape."""
        return _running_means(items)


def _running_means(items: Tensor) -> Tensor:
    count = torch.arange(1, items.shape[1] + 1, device=items.device, dtype=items.dtype)
    return items.cumsum(dim=1) / count[:, None]


class DSSMHead(UserHead):
    """The user tower of a two-tower model: a small network over the mean of the history (DSSM form: Huang et al., CIKM 2013)."""

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__(width, config)
        inner = config.inner or width
        blocks: list[nn.Module] = []
        for _ in range(config.layers):
            blocks += [nn.LayerNorm(width), nn.Linear(width, inner), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(inner, width)]
        self.tower = nn.Sequential(*blocks)

    def forward(self, items: Tensor) -> Tensor:
        """Map ``[batch, length, width]`` to user vectors of the same shape."""
        mean = _running_means(items)
        out: Tensor = mean + self.tower(mean)
        return out


def make_head(width: int, config: HeadConfig) -> UserHead:
    """Build the user head that ``config.kind`` names; its dropout becomes `bertrec.heads.dropout.Dropout`.

    Raises:
        ConfigError: there is no such class, it is no whole head, or a setting does not fit it.
    """
    head: UserHead = HEADS.find(config.kind)(width, config)
    with_quick_dropout(head)
    return head

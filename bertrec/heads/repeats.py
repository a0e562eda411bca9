"""Which (position, item) pairs of a batch repeat an item of the history, with the learned bias of such a pair."""

from __future__ import annotations

import torch
from torch import Tensor


class Repeats:
    """Pairs (position, item) where the item stands in the history read so far, and the learned bias of such a pair.

    Attributes:
        row: ``[pairs]`` position numbers, not decreasing.
        item: ``[pairs]`` inner item ids; a pair stands once.
        bias: scalar tensor.
    """

    def __init__(self, row: Tensor, item: Tensor, bias: Tensor) -> None:
        self.row, self.item, self.bias = row, item, bias

    @classmethod
    def of_sequences(cls, inputs: Tensor, used: Tensor, bias: Tensor) -> Repeats:
        """Collect the pairs of a batch.

        Args:
            inputs: ``[batch, length]`` inner ids, 0 where padded.
            used: ``[batch, length]`` bool, the positions that have a target; position numbers count these in row order.
            bias: scalar tensor.
        """
        batch, position = used.nonzero(as_tuple=True)
        read = torch.arange(inputs.shape[1], device=inputs.device)[None, :] <= position[:, None]
        return cls._where(read, inputs, batch, bias)

    @classmethod
    def of_visible(cls, visible: Tensor, masked: Tensor, bias: Tensor) -> Repeats:
        """Collect the pairs of masked places and the other items of their sequence.

        Args:
            visible: ``[batch, length]`` inner ids, 0 where masked or padded.
            masked: ``[batch, length]`` bool; position numbers count these in row order.
            bias: scalar tensor.
        """
        batch = masked.nonzero(as_tuple=True)[0]
        return cls._where(torch.ones_like(visible, dtype=torch.bool)[batch], visible, batch, bias)

    @classmethod
    def _where(cls, read: Tensor, ids: Tensor, batch: Tensor, bias: Tensor) -> Repeats:
        row, column = (read & _first_time(ids)[batch] & (ids[batch] > 0)).nonzero(as_tuple=True)
        return cls(row, ids[batch[row], column], bias)


def _first_time(inputs: Tensor) -> Tensor:
    same = inputs[:, :, None] == inputs[:, None, :]
    return ~same.tril(-1).any(dim=2)

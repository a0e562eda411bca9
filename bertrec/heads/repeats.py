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
        length = inputs.shape[1]
        read = torch.arange(length, device=inputs.device)[None, :] <= position[:, None]
        read = read & (_first_time(inputs)[batch]) & (inputs[batch] > 0)
        row, column = read.nonzero(as_tuple=True)
        return cls(row, inputs[batch[row], column], bias)


def _first_time(inputs: Tensor) -> Tensor:
    same = inputs[:, :, None] == inputs[:, None, :]
    return ~same.tril(-1).any(dim=2)

"""The matrix product by which a model scores all items at once, caught while the model makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.overrides import TorchFunctionMode

FloatArray = npt.NDArray[np.float32]
_PRODUCTS = (torch.matmul, torch.mm, torch.Tensor.matmul, torch.Tensor.mm, torch.Tensor.__matmul__)


class Products(TorchFunctionMode):
    """While entered, remembers the factors of the last product of two matrices that has a column for each item.

    Args:
        columns: of that product.

    Attributes:
        last: ``[b, d]`` and ``[columns, d]``; None where there was no such product.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns
        self.last: tuple[FloatArray, FloatArray] | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call ``func``, and look at what it was called with."""
        result = func(*args, **(kwargs or {}))
        if func in _PRODUCTS and len(args) == 2 and [tensor.dim() for tensor in args] == [2, 2] and args[1].shape[1] == self.columns:
            left, right = (tensor.detach().float().cpu().numpy() for tensor in args)
            self.last = left, right.T
        return result

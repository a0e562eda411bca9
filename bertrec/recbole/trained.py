"""What a RecBole model is once it is trained: its weights, its numbers of our items, and their vectors, as one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ModelError
from bertrec.core.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FILE = "trained.safetensors"
_WEIGHTS, _VOCABULARY, _VECTORS, _SCALE = "recbole.", "vocabulary", "vectors", "scale"


@dataclass(frozen=True)
class Trained:
    """A trained RecBole model whose scores are inner products.

    Attributes:
        weights: by RecBole's names.
        vocabulary: ``[n_items + 1]`` int64, RecBole's number of each of our inner ids.
        vectors: ``[n_items + 1, d + 1]`` float32 in our inner ids, row 0 zero, NaN for an item that training never saw; the last column is
            what the model adds to an item's score whoever asks.
        scale: ``[1]`` float32, by which the model multiplies its user vectors in the end, such as one over CORE's temperature.
    """

    weights: Mapping[str, Tensor]
    vocabulary: Tensor
    vectors: Tensor
    scale: Tensor

    @cached_property
    def known(self) -> npt.NDArray[np.bool_]:
        """``[n_items + 1]``, which inner ids have a vector; that of padding counts as one."""
        return np.asarray(np.isfinite(self.vectors.numpy()).all(axis=1))

    def tensors(self) -> dict[str, Tensor]:
        """Return all of it under names of one file."""
        named = {f"{_WEIGHTS}{name}": value for name, value in self.weights.items()}
        # Two names may stand for one tensor, which safetensors does not write.
        return {name: value.detach().cpu().contiguous().clone() for name, value in named.items()} | {
            _VOCABULARY: self.vocabulary,
            _VECTORS: self.vectors,
            _SCALE: self.scale,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Rebuild from `tensors`.

        Raises:
            KeyError: one is missing.
        """
        weights = {name.removeprefix(_WEIGHTS): value for name, value in tensors.items() if name.startswith(_WEIGHTS)}
        return cls(weights, tensors[_VOCABULARY], tensors[_VECTORS], tensors[_SCALE])

    def save(self, folder: Path) -> None:
        """Write ``trained.safetensors``."""
        import safetensors.torch

        with atomic_file(folder / FILE) as temporary:
            safetensors.torch.save_file(self.tensors(), temporary)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``trained.safetensors``.

        Raises:
            ModelError: it is absent or damaged.
        """
        import safetensors.torch

        try:
            return cls.from_tensors(safetensors.torch.load_file(folder / FILE))
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise ModelError(f"{folder / FILE} is missing or damaged: {error}") from error

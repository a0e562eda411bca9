"""Codes of text vectors: product quantisation behind a learned rotation (Ge et al., CVPR 2013, "Optimized Product Quantization").

FAISS learns rotation and centroids; they are kept as tensors, and a vector's codes are the nearest centroids of its parts.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.errors import ConfigError, DataError
from bertrec.heads.config import CodeConfig
from bertrec.models.serving import FloatArray
from bertrec.retrieval.engine import import_faiss

FEWEST_A_CENTROID = 4
"""Items of training for each centroid of a slot, at least: with fewer items a slot has fewer centroids."""
_ROWS_AT_ONCE = 1 << 16
_ROUNDS = 25


class Quantiser(nn.Module):
    """A rotation and the centroids of each slot, both fixed: buffers, so that it travels in a ``state_dict``.

    Attributes:
        rotation: ``[slots · part, dim]``; rows beyond ``dim`` belong to vectors filled up with zeros to a multiple of ``slots``.
        centroids: ``[slots, size, part]``.
    """

    rotation: Tensor
    centroids: Tensor

    def __init__(self, rotation: Tensor, centroids: Tensor) -> None:
        super().__init__()
        self.register_buffer("rotation", rotation)
        self.register_buffer("centroids", centroids)

    @property
    def slots(self) -> int:
        """Codes of a vector."""
        return self.centroids.shape[0]

    @property
    def size(self) -> int:
        """Centroids of a slot."""
        return self.centroids.shape[1]

    @classmethod
    def fit(cls, vectors: FloatArray, config: CodeConfig) -> Self:
        """Learn both from the vectors of training items.

        Args:
            vectors: ``[n, dim]``.
            config: the settings ``codes.*``.

        Raises:
            ConfigError: there are more slots than dimensions.
            DataError: there are too few items.
        """
        if config.slots > vectors.shape[1]:
            raise ConfigError(f"setting 'codes.slots': {config.slots} is above the {vectors.shape[1]} dimensions of a text vector")
        bits = centroid_bits(len(vectors), config.centroids)
        rotation, centroids = _learned(np.ascontiguousarray(vectors, np.float32), config.slots, bits)
        return cls(torch.from_numpy(rotation), torch.from_numpy(centroids))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the codes of ``[n, dim]``, ``[n, slots]`` uint8."""
        none = torch.zeros(0, self.slots, dtype=torch.uint8, device=vectors.device)
        return torch.cat([none, *(self._codes(rows) for rows in vectors.split(_ROWS_AT_ONCE))])

    def _codes(self, vectors: Tensor) -> Tensor:
        parts = functional.linear(vectors, self.rotation).view(len(vectors), self.slots, -1)
        norms = self.centroids.pow(2).sum(dim=2)
        nearest = [(norms[slot] - 2 * parts[:, slot] @ self.centroids[slot].T).argmin(dim=1) for slot in range(self.slots)]
        return torch.stack(nearest, dim=1).to(torch.uint8)


class Coding(nn.Module):
    """What is done to raw text vectors ``[n, dim]`` to have codes ``[n, slots]``, and the whitening that stands beside it.

    Args:
        whitening: None leaves vectors as they are.
        quantiser: of raw or of whitened vectors.
        of_raw: which of these.
    """

    def __init__(self, whitening: nn.Module | None, quantiser: Quantiser, *, of_raw: bool) -> None:
        super().__init__()
        self.whitening, self.quantiser, self.of_raw = whitening, quantiser, of_raw

    def whitened(self, vectors: Tensor) -> Tensor:
        """Whiten ``[n, dim]``."""
        return vectors if self.whitening is None else self.whitening(vectors)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the codes, ``[n, slots]`` uint8."""
        codes: Tensor = self.quantiser(vectors if self.of_raw else self.whitened(vectors))
        return codes


def centroid_bits(items: int, most: int) -> int:
    """Return the binary logarithm of the centroids of a slot: the largest power of two up to ``most`` with so many items for each.

    Raises:
        DataError: there are too few items for two centroids.
    """
    if items < 2 * FEWEST_A_CENTROID:
        told = f"codes are learned from the texts of at least {2 * FEWEST_A_CENTROID} items of training, and there are {items}"
        raise DataError(f"{told}: train on more, or take --model unisrec")
    return (min(most, items // FEWEST_A_CENTROID)).bit_length() - 1


def _learned(vectors: FloatArray, slots: int, bits: int) -> tuple[FloatArray, FloatArray]:
    faiss, dim = import_faiss(), vectors.shape[1]
    padded = -(-dim // slots) * slots
    opq = faiss.OPQMatrix(dim, slots, padded)
    inner, outer = (_product_quantiser(faiss, padded, slots, bits) for _ in range(2))
    opq.pq, opq.niter = inner, _ROUNDS
    opq.train(np.tile(vectors, (-(-padded // len(vectors)), 1)))  # with fewer rows than columns FAISS writes beyond its buffers
    outer.train(opq.apply(vectors))
    rotation = faiss.vector_to_array(opq.A).reshape(padded, dim)
    return rotation.copy(), faiss.vector_to_array(outer.centroids).reshape(slots, 1 << bits, -1).copy()


def _product_quantiser(faiss: Any, dim: int, slots: int, bits: int) -> Any:
    quantiser = faiss.ProductQuantizer(dim, slots, bits)
    quantiser.cp.min_points_per_centroid = 1  # FAISS warns below 39, where codes are still of use
    return quantiser

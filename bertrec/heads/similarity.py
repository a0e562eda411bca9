"""Inner products of user and item vectors, as every loss and every score takes them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def scaled(vectors: Tensor, similarity: str, temperature: float = 1.0) -> Tensor:
    """Prepare vectors for inner products: for ``cosine`` normalised and divided by ``temperature``, for ``dot`` unchanged."""
    if similarity == "dot":
        return vectors
    return functional.normalize(vectors, dim=-1) / temperature


def scores(user: Tensor, items: Tensor) -> Tensor:
    """Return ``[positions, items]`` inner products, never in half precision: at cosine / 0.07 a logit of 14 would lose its second digit."""
    with torch.autocast(user.device.type, enabled=False):
        return at_least_single(user) @ at_least_single(items).T


def paired_scores(user: Tensor, items: Tensor) -> Tensor:
    """Return ``[positions, k]`` inner products of ``user [positions, width]`` with ``items [positions, k, width]``, as `scores` does."""
    with torch.autocast(user.device.type, enabled=False):
        return torch.einsum("pw,pkw->pk", at_least_single(user), at_least_single(items))


def at_least_single(vectors: Tensor) -> Tensor:
    """Return float16 and bfloat16 vectors as float32, others as they are."""
    return vectors.float() if vectors.dtype in (torch.float16, torch.bfloat16) else vectors

"""The whitening that ``item.whitening`` and ``item.fields`` ask for: of whole vectors or field by field, once or in two copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.ragged import IntArray
from bertrec.encoders.whitening import Whitening
from bertrec.heads.config import ItemConfig
from bertrec.models.serving import FloatArray

Method = Literal["pca", "zca"]


class ByField(nn.Module):
    """Whiten the vectors of each field, which stand side by side, by themselves; zeros, an empty field, stay zeros.

    Shapes: ``[…, fields · dim]`` to the same.
    """

    def __init__(self, parts: Iterable[Whitening]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, vectors: Tensor) -> Tensor:
        """Whiten ``[…, fields · dim]``."""
        fields = zip(self.parts, vectors.chunk(len(self.parts), dim=-1), strict=True)
        return torch.cat([part(field) * field.any(dim=-1, keepdim=True) for part, field in fields], dim=-1)


class Copies(nn.Module):
    """Several whitenings of the same vectors, side by side: ``[…, dim]`` to ``[…, copies · dim]``."""

    def __init__(self, copies: Iterable[nn.Module]) -> None:
        super().__init__()
        self.copies = nn.ModuleList(copies)

    def forward(self, vectors: Tensor) -> Tensor:
        """Whiten ``[…, dim]``."""
        return torch.cat([copy(vectors) for copy in self.copies], dim=-1)


def fit_whitening(config: ItemConfig, vectors: FloatArray, rows: IntArray, fields: Sequence[str] = ()) -> nn.Module | None:
    """Fit what the settings ask for; None where they ask for none.

    Args:
        config: the settings ``item.*``.
        vectors: raw text vectors ``[n, dim]``, or ``[n, len(fields) · dim]`` with fields apart.
        rows: which of them count, those of training items.
        fields: names of the fields that are read apart; items where one is empty do not count for it.

    Raises:
        ConfigError: there are more groups than dimensions.
        DataError: fewer than two items have a text, or one of the fields.
    """
    if config.whitening == "none":
        return None
    blocks = np.split(vectors[rows], max(1, len(fields)), axis=1)
    if fields:
        blocks = [block[block.any(axis=1)] for block in blocks]
        _check_filled(fields, blocks)
    if "relaxed" in config.whitening and config.whitening_groups > blocks[0].shape[1]:
        dims = blocks[0].shape[1]
        raise ConfigError(f"setting 'item.whitening_groups': {config.whitening_groups} is above the {dims} dimensions of a text vector")
    return _assembled(config, len(fields), lambda field, method, groups: Whitening.fit(blocks[field], method=method, groups=groups))


def empty_whitening(config: ItemConfig, width: int, fields: Sequence[str] = ()) -> nn.Module | None:
    """Return what `fit_whitening` gives, not fitted: to be filled from a saved state.

    Args:
        config: the settings ``item.*``.
        width: of the raw vectors, all fields together.
        fields: names of the fields that are read apart.
    """
    if config.whitening == "none":
        return None
    return _assembled(config, len(fields), lambda *_: Whitening(width // max(1, len(fields))))


def _assembled(config: ItemConfig, fields: int, one: Callable[[int, Method, int], Whitening]) -> nn.Module:
    copies: list[nn.Module] = []
    for method, groups in _copies(config):
        parts = [one(field, method, groups) for field in range(max(1, fields))]
        copies.append(ByField(parts) if fields else parts[0])
    return copies[0] if len(copies) == 1 else Copies(copies)


def _copies(config: ItemConfig) -> list[tuple[Method, int]]:
    """Return method and number of groups of each copy; relaxed is ZCA within groups, so that each dimension stays what it was."""
    forms: dict[str, tuple[Method, int]] = {"pca": ("pca", 1), "zca": ("zca", 1), "relaxed": ("zca", config.whitening_groups)}
    return [forms[name] for name in config.whitening.split("+")]


def _check_filled(fields: Sequence[str], blocks: Sequence[FloatArray]) -> None:
    for name, block in zip(fields, blocks, strict=True):
        if len(block) < 2:
            told = f"text field '{name}' is filled in for {len(block)} of the items of training, too few to be whitened apart"
            raise DataError(f"{told}: leave it out of the text fields, or set item.fields=together")

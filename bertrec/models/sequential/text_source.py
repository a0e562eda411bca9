"""Where a model's text vectors come from: a table that a frozen encoder wrote once, or an encoder that is being tuned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.devices import device_of
from bertrec.core.ragged import Ragged
from bertrec.encoders.text import TextEncoder
from bertrec.training.config import GradientCache
from bertrec.training.gradient_cache import encode_in_parts, pass_over


class TextSource(nn.Module):
    """Whitened text vectors by inner id.

    Attributes:
        dim: width of a whitened text vector, all copies together.
        whitening: fixed, of `bertrec.models.sequential.whitened`; fitted on training items' vectors of the encoder before any tuning.
        encoder: the encoder that is being tuned, else None.
    """

    encoder: TextEncoder | None

    def __init__(self, dim: int, whitening: nn.Module | None) -> None:
        super().__init__()
        self.encoder = None
        self.whitening = whitening
        self.dim: int = self.whitened(torch.zeros(1, dim)).shape[1]

    def whitened(self, vectors: Tensor) -> Tensor:
        """Whiten raw vectors ``[…, dim]``, where the whitening is; as they are where there is none."""
        if self.whitening is None:
            return vectors
        vectors = vectors.to(device_of(self.whitening))
        # Not in half precision: whitening magnifies just those directions in which vectors differ least.
        with torch.autocast(vectors.device.type, enabled=False):
            whitened: Tensor = self.whitening(vectors.float())
        return whitened


class TextTable(TextSource):
    """Vectors of a frozen encoder, whitened once.

    Args:
        vectors: ``[n_items, dim]`` raw vectors; row ``i`` is inner id ``i + 1``.
        whitening: applied here, once.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor, whitening: nn.Module | None) -> None:
        super().__init__(vectors.shape[1], whitening)
        # Vectors belong to the catalogue, not to the weights: they are saved beside it.
        self.register_buffer("vectors", self._with_padding(vectors), persistent=False)

    def _with_padding(self, vectors: Tensor) -> Tensor:
        read = self.whitened(vectors)
        return torch.cat([read.new_zeros(1, self.dim), read])

    def replace(self, vectors: Tensor) -> None:
        """Take other items' raw vectors, ``[n_items, dim]``."""
        self.vectors = self._with_padding(vectors.to(self.vectors.device))

    def forward(self, rows: Tensor | None, fresh: Tensor | None = None) -> Tensor:
        """Return the vectors of the inner ids ``rows`` ``[m]``, or of all items from 0 on: ``[m, dim]``; all of them are fresh."""
        return self.vectors if rows is None else functional.embedding(rows, self.vectors)


class TunedText(TextSource):
    """Vectors of an encoder that is being tuned, computed when asked for and with gradients.

    With ``last:K`` the layers below are run once for the whole catalogue and only the top K are run again, where the encoder's
    architecture allows it.

    Args:
        encoder: in its tuning depth.
        tokens: word pieces of each item's text; row ``i`` is inner id ``i + 1``.
        whitening: applied to what the encoder gives.
        gradient_cache: whether a step runs the encoder twice, so as to keep the activations of one small batch alone.
        refresh_every: steps between encodings of the whole catalogue, from which vectors of items that are not asked for as ``fresh`` are
            taken, without gradients; 0 encodes every item that is asked for.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        tokens: Ragged,
        whitening: nn.Module | None,
        *,
        gradient_cache: GradientCache = "auto",
        refresh_every: int = 0,
    ) -> None:
        super().__init__(encoder.dim, whitening)
        self.encoder = encoder
        self.gradient_cache: GradientCache = gradient_cache
        self.refresh_every = refresh_every
        self._encode: Callable[[Tensor], Tensor]
        self.replace(tokens)

    def replace(self, tokens: Ragged) -> None:
        """Take other items' word pieces."""
        encoder = self.encoder
        assert encoder is not None
        self.lengths = tokens.lengths
        self._forget_table()
        self._encode = pass_over(encoder, tokens)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; old vectors are forgotten, so that an epoch begins with new ones, after a resume as without one."""
        self._forget_table()
        return super().train(mode)

    def _forget_table(self) -> None:
        self._table: Tensor | None = None
        self._table_steps = 0

    def forward(self, rows: Tensor | None, fresh: Tensor | None = None) -> Tensor:
        """Return the vectors of the inner ids ``rows`` ``[m]``, or of all items from 0 on: ``[m, dim]``.

        Args:
            rows: inner ids, each once.
            fresh: inner ids whose vectors must be of the present weights, with gradients; None stands for all. It matters in training
                with ``refresh_every`` alone.
        """
        if rows is None:
            rows = torch.arange(len(self.lengths) + 1, device=self.device)
        if fresh is None or not self.refresh_every or not self.training:
            return self._vectors(rows)
        where = torch.isin(rows, fresh).nonzero(as_tuple=True)[0]
        return self._old_vectors()[rows].index_copy(0, where, self._vectors(rows[where]))

    def _vectors(self, rows: Tensor) -> Tensor:
        real = (rows > 0).nonzero(as_tuple=True)[0]
        vectors = self.whitened(self._encoded(rows[real] - 1))
        return vectors.new_zeros(len(rows), self.dim).index_copy(0, real, vectors)

    def _encoded(self, rows: Tensor) -> Tensor:
        assert self.encoder is not None
        if len(rows) and self.training and torch.is_grad_enabled():
            return encode_in_parts(self._encode, self.lengths, rows, self.encoder, self.gradient_cache)
        return self._encode(rows)

    @torch.no_grad()
    def _old_vectors(self) -> Tensor:
        if self._table is None or self._table_steps == self.refresh_every:
            assert self.encoder is not None
            self.encoder.eval()
            self._table = self._vectors(torch.arange(len(self.lengths) + 1, device=self.device))
            self._table_steps = 0
            self.encoder.train()
        self._table_steps += 1
        return self._table

    @property
    def device(self) -> torch.device:
        """Where the encoder is."""
        assert self.encoder is not None
        return self.encoder.device

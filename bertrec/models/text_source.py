"""Where a model's text vectors come from: a table that a frozen encoder wrote once, or an encoder that is being tuned."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.ragged import Ragged
from bertrec.encoders.text import TextEncoder
from bertrec.encoders.whitening import Whitening


class TextSource(nn.Module):
    """Whitened text vectors by inner id.

    Attributes:
        dim: width of a text vector.
        whitening: fixed; fitted on training items' vectors of the encoder as it was before any tuning.
        encoder: the encoder that is being tuned, else None.
    """

    encoder: TextEncoder | None

    def __init__(self, dim: int, whitening: Whitening | None) -> None:
        super().__init__()
        self.encoder = None
        self.dim = dim
        self.whitening = whitening

    def _whitened(self, vectors: Tensor) -> Tensor:
        if self.whitening is None:
            return vectors
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

    def __init__(self, vectors: Tensor, whitening: Whitening | None) -> None:
        super().__init__(vectors.shape[1], whitening)
        # Vectors belong to the catalogue, not to the weights: they are saved beside it.
        self.register_buffer("vectors", self._with_padding(vectors), persistent=False)

    def _with_padding(self, vectors: Tensor) -> Tensor:
        return torch.cat([vectors.new_zeros(1, vectors.shape[1]), self._whitened(vectors)])

    def replace(self, vectors: Tensor) -> None:
        """Take other items' raw vectors, ``[n_items, dim]``."""
        self.vectors = self._with_padding(vectors.to(self.vectors.device))

    def forward(self, rows: Tensor | None) -> Tensor:
        """Return the vectors of the inner ids ``rows`` ``[m]``, or of all items from 0 on: ``[m, dim]``."""
        return self.vectors if rows is None else functional.embedding(rows, self.vectors)


class TunedText(TextSource):
    """Vectors of an encoder that is being tuned, computed when asked for and with gradients.

    With ``last:K`` the layers below are run once for the whole catalogue and only the top K are run again, where the encoder's
    architecture allows it.

    Args:
        encoder: in its tuning depth.
        tokens: word pieces of each item's text; row ``i`` is inner id ``i + 1``.
        whitening: applied to what the encoder gives.
    """

    def __init__(self, encoder: TextEncoder, tokens: Ragged, whitening: Whitening | None) -> None:
        super().__init__(encoder.dim, whitening)
        self.encoder = encoder
        self._encode: Callable[[Tensor], Tensor]
        self.replace(tokens)

    def replace(self, tokens: Ragged) -> None:
        """Take other items' word pieces."""
        encoder = self.encoder
        assert encoder is not None
        self.n_items = len(tokens)
        if encoder.supports_lower_states:
            states = encoder.lower_states(tokens)
            self._encode = lambda rows: encoder.encode_states(states, rows.cpu().numpy())
        else:
            self._encode = lambda rows: encoder.encode_tokens(tokens, rows.cpu().numpy())

    def forward(self, rows: Tensor | None) -> Tensor:
        """Return the vectors of the inner ids ``rows`` ``[m]``, or of all items from 0 on: ``[m, dim]``."""
        if rows is None:
            rows = torch.arange(self.n_items + 1, device=self.device)
        real = (rows > 0).nonzero(as_tuple=True)[0]
        vectors = self._whitened(self._encode(rows[real] - 1))
        return vectors.new_zeros(len(rows), self.dim).index_copy(0, real, vectors)

    @property
    def device(self) -> torch.device:
        """Where the encoder is."""
        assert self.encoder is not None
        return self.encoder.device

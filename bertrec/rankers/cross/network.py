"""The cross-encoder's network: the pooled vector of a pair, a head that begins at 0, and the score that it begins from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bertrec.core.files import sha256_text
from bertrec.encoders.text import TextEncoder
from bertrec.rankers.cross.config import CrossEncoderConfig
from bertrec.rankers.losses import rank_loss
from bertrec.rankers.prompts.prior import Prior


class CrossNetwork(nn.Module):
    r"""Scores :math:`g\,m + w\,s + b` of a pair: :math:`m` from the pooled vector, :math:`s` known before any training.

    The last layer of what makes :math:`m` begins at 0, so that the first scores are in the order of :math:`s`.

    Args:
        encoder: reads history and candidate together.
        config: the settings.
    """

    def __init__(self, encoder: TextEncoder, config: CrossEncoderConfig) -> None:
        super().__init__()
        self.encoder, self.loss = encoder, config.loss
        last = nn.Linear(encoder.dim, 1)
        self.head = nn.Sequential(nn.Linear(encoder.dim, encoder.dim), nn.GELU(), nn.Dropout(config.dropout), last)
        self.prior = Prior(gain=1.0)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        # By it a resumed training knows its model again.
        self.identity = sha256_text(str({name: value for name, value in config.to_flat().items() if not name.startswith("train.")}))

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return what takes the encoder's learning rate."""
        return list(self.encoder.parameters())

    def forward(
        self, labels: Tensor, prior: Tensor, items: Tensor, tokens: Tensor, tokens_mask: Tensor, place: Tensor
    ) -> dict[str, Tensor]:
        """Return the loss of clicks ``labels [u, g]`` (1), negatives (0) and empty places (-1).

        Args:
            labels: as above.
            prior: ``[u, g]`` scores to begin from.
            items: ``[u, g]``, 0 for an empty place.
            tokens: ``[n, L]`` of the pairs.
            tokens_mask: ``[n, L]``.
            place: ``[n]``, which of the ``u * g`` places each pair has.
        """
        margins = self.margins(self.encoder(tokens, tokens_mask))
        whole = torch.zeros(items.numel(), device=margins.device).index_put((place,), margins).reshape(items.shape)
        return {"loss": rank_loss(self.prior(whole, prior), labels, self.loss)}

    def margins(self, pooled: Tensor) -> Tensor:
        """Return ``[n]`` of pooled vectors ``[n, d]``."""
        found: Tensor = self.head(pooled)[:, 0]
        return found

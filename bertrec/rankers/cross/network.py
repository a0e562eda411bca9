"""The cross-encoder's network: the pooled vector of a pair, a head that begins at 0, and the score that it begins from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bertrec.core.errors import ConfigError
from bertrec.core.files import sha256_text
from bertrec.encoders.masked.shared_prefix import Prefix, read_continuations, read_prefix, supports_shared_prefix
from bertrec.encoders.precision import computing_in
from bertrec.encoders.text import TextEncoder
from bertrec.rankers.cross.config import CrossEncoderConfig
from bertrec.rankers.losses import rank_loss
from bertrec.rankers.prompts.config import Attention
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

    def forward(self, labels: Tensor, prior: Tensor, **batch: Tensor) -> dict[str, Tensor]:
        """Return the loss of clicks ``labels [u, g]`` (1), negatives (0) and empty places (-1), from the scores ``prior [u, g]``."""
        return {"loss": rank_loss(self.prior(self.margins(**batch), prior), labels, self.loss)}

    def margins(self, items: Tensor, users: Tensor | None = None, **tokens: Tensor) -> Tensor:
        """Return ``[u, g]``; places without a candidate hold anything finite.

        Args:
            items: ``[u, g]``, 0 for an empty place.
            users: have no use here.
            **tokens: ``tokens`` and ``tokens_mask [n, L]`` of the pairs, and the ``place [n]`` that each has among all; or ``prefix`` and
                ``prefix_mask [u, P]``, ``suffix`` and ``suffix_mask [u, g, S]`` where the history is read once.
        """
        if "prefix" in tokens:
            return self.ask(self.read(tokens["prefix"], tokens["prefix_mask"]), items, tokens["suffix"], tokens["suffix_mask"])
        found = self._score(self.encoder(tokens["tokens"], tokens["tokens_mask"]))
        return torch.zeros(items.numel(), device=found.device).index_put((tokens["place"],), found).reshape(items.shape)

    def read(self, prefix: Tensor, prefix_mask: Tensor, users: Tensor | None = None) -> Prefix:
        """Read histories, ``[u, P]`` tokens, once for all of their candidates."""
        with self._computing():
            return read_prefix(self.encoder.model, self._words(prefix), prefix_mask.bool())

    def ask(self, shared: Prefix, items: Tensor, suffix: Tensor, suffix_mask: Tensor) -> Tensor:
        """Return ``[u, g]`` of candidates ``suffix [u, g, S]``; pooled are their own tokens, which have seen the history."""
        with self._computing():
            hidden = read_continuations(self.encoder.model, shared, self._words(suffix), suffix_mask.bool())
            pooled = self.encoder.pooling([hidden.flatten(0, 1)], suffix_mask.flatten(0, 1))
        return self._score(pooled).reshape(items.shape)

    def _words(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.encoder.model.get_input_embeddings()(tokens)
        return found

    def _score(self, pooled: Tensor) -> Tensor:
        found: Tensor = self.head(pooled)[:, 0]
        return found

    def _computing(self) -> Any:
        return computing_in(self.encoder.config.precision, self.encoder.device, tuning=self.training and torch.is_grad_enabled())


def reads_once(encoder: TextEncoder, wanted: Attention) -> bool:
    """Say whether histories are read once for all of their candidates.

    Raises:
        ConfigError: ``once`` is wanted and the encoder or its pooling does not allow it.
    """
    possible = supports_shared_prefix(encoder.model) and encoder.config.pooled_layers == 1
    if wanted == "once" and not possible:
        raise ConfigError(
            "attention=once needs an encoder like BERT, RoBERTa or ELECTRA, and pooling over its last layer: take attention=joint"
        )
    return possible and wanted != "joint"

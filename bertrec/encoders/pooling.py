"""Hidden states to one vector per text."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bertrec.encoders.config import EncoderConfig


class TokenPooling(torch.nn.Module):
    """``cls``, ``mean``, ``max``, or the mean of the last K layers followed by the mean over tokens.

    The vectors are raw: they are not normalised, which is the head's business.

    Args:
        dim: width of a hidden state.
        config: its ``pooling`` says how.
    """

    def __init__(self, dim: int, config: EncoderConfig) -> None:
        from sentence_transformers.sentence_transformer.modules.pooling import Pooling

        super().__init__()
        self.layers = config.pooled_layers
        self.over_tokens = Pooling(dim, "mean" if config.pooling.startswith("mean") else config.pooling)

    def forward(self, hidden: Sequence[torch.Tensor], attention_mask: torch.Tensor) -> torch.Tensor:
        """Pool.

        Args:
            hidden: the outputs of (at least) the last ``layers`` layers, ``[b, L, dim]`` each, the top one last.
            attention_mask: ``[b, L]``, 1 at tokens and 0 at padding.

        Returns:
            ``[b, dim]`` float32.
        """
        tokens = hidden[-1] if self.layers == 1 else torch.stack(tuple(hidden[-self.layers :])).mean(dim=0)
        pooled: torch.Tensor = self.over_tokens({"token_embeddings": tokens, "attention_mask": attention_mask})["sentence_embedding"]
        return pooled.float()

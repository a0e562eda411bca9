"""Encode with gradients in small batches of which only one at a time keeps what its backward pass needs.

Gradient caching (Gao et al. 2021, https://arxiv.org/abs/2101.06983): the vectors are computed without keeping activations, the loss gives
their gradients at once, and then each small batch is run again, now with activations, to carry its share of these gradients to the weights.
So the batch of the loss is bounded by the head's memory and not by the encoder's. The second run draws the same dropout as the first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from bertrec.core.ragged import IntArray, Ragged
from bertrec.encoders.batching import token_budget_batches
from bertrec.encoders.text import TextEncoder
from bertrec.training.config import GradientCache

_BYTES_A_COMPONENT = 100
"""Of activations per token, layer and component of the hidden state, rounded up.

Measured with MiniLM-L6: 81 in fp32, 83 in bf16 autocast.
"""
_ACTIVATIONS_AT_ONCE = 2 << 30
_TOKENS_AT_ONCE = {"cpu": 512}
_TOKENS_AT_ONCE_ELSEWHERE = 8192
"""Small, so that a CPU's cache holds a layer's activations and texts of one batch are about equally long."""


_EXACT_STATES = 1 << 30
"""Bytes of the texts' lower states up to which they are kept in float32; above it in float16."""


def pass_over(encoder: TextEncoder, tokens: Ragged) -> Callable[[Tensor], Tensor]:
    """Return what encodes rows of ``tokens``, from row numbers ``[b]`` to vectors ``[b, dim]``.

    With ``last:K`` the layers below are run here, once for all texts, and later only the top K, where the encoder's architecture allows it.
    """
    if not encoder.supports_lower_states:
        return lambda rows: encoder.encode_tokens(tokens, rows.cpu().numpy())
    size = len(tokens.values) * encoder.model.config.hidden_size * 4
    states = encoder.lower_states(tokens, dtype=torch.float32 if size <= _EXACT_STATES else torch.float16)
    return lambda rows: encoder.encode_states(states, rows.cpu().numpy())


def activation_bytes(encoder: TextEncoder, tokens: int) -> int:
    """Return about how much memory a pass with gradients over so many tokens keeps for its backward pass."""
    settings = encoder.model.config
    layers = encoder.config.tuned_layers or settings.num_hidden_layers
    return int(tokens * layers * settings.hidden_size * _BYTES_A_COMPONENT)


def encode_in_parts(
    encode: Callable[[Tensor], Tensor], lengths: IntArray, rows: Tensor, encoder: TextEncoder, cache: GradientCache
) -> Tensor:
    """Return ``encode(rows)``, ``[m, dim]``, in small batches of texts of similar length.

    Args:
        encode: from row numbers ``[b]`` to vectors ``[b, dim]``.
        lengths: word pieces of every row.
        rows: ``[m]``, each once, on the encoder's device, whose random state the second run restores.
        encoder: whose ``batch_tokens``, where set, is the size of a small batch.
        cache: ``on`` runs every small batch twice, ``off`` none, ``auto`` those that are left when the others' activations fill 2 GiB.
    """
    budget = encoder.config.batch_tokens or _TOKENS_AT_ONCE.get(rows.device.type, _TOKENS_AT_ONCE_ELSEWHERE)
    of_rows = lengths[rows.cpu().numpy()]
    parts, vectors, tokens = list(token_budget_batches(of_rows, budget)), [], 0
    for part in parts:
        tokens += len(part) * int(of_rows[part[0]])  # the first is the longest
        again = cache == "on" or (cache == "auto" and activation_bytes(encoder, tokens) > _ACTIVATIONS_AT_ONCE)
        picked = rows[torch.from_numpy(part).to(rows.device)]
        vectors.append(checkpoint(encode, picked, use_reentrant=False) if again else encode(picked))
    order = torch.from_numpy(np.argsort(np.concatenate(parts))).to(rows.device)
    return torch.cat(vectors)[order]

"""A prefix that many texts share, computed once: its tokens attend to one another only, those of each continuation to both.

Computing the lower layers of shared segments once is M6-Rec's idea (Cui et al. 2022, arXiv 2205.08084); here it holds for all layers, and
what is computed once gives the same numbers as what is computed anew, in training too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bertrec.encoders.depth import transformer_layers

_SUPPORTED = {"bert", "roberta", "xlm-roberta", "camembert", "electra"}


@dataclass(frozen=True)
class Prefix:
    """The keys and values of ``u`` prefixes in every layer.

    Attributes:
        keys, values: a tensor per layer, ``[u, heads, P, width]``.
        mask: ``[u, P]``, true at tokens.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor

    def take(self, rows: Tensor) -> Prefix:
        """Return the prefixes of the rows ``[n]``."""
        return Prefix(tuple(key[rows] for key in self.keys), tuple(value[rows] for value in self.values), self.mask[rows])


def supports_shared_prefix(model: Any) -> bool:
    """Say whether the layers of this architecture can be run with a prefix of their own."""
    return model.config.model_type in _SUPPORTED and not getattr(model.config, "is_decoder", False)


def read_prefix(model: Any, vectors: Tensor, mask: Tensor) -> Prefix:
    """Run the prefixes.

    Args:
        model: a Hugging Face encoder that `supports_shared_prefix`.
        vectors: word embeddings, ``[u, P, width]``.
        mask: ``[u, P]``, true at tokens; padding stands on the right.
    """
    hidden = _embed(model, vectors, torch.arange(vectors.shape[1], device=vectors.device).expand(vectors.shape[:2]))
    bias = _bias(mask, hidden.dtype)[:, None, None, :]
    keys, values = [], []
    for layer in _layers(model):
        attention = layer.attention.self
        key, value = _heads(attention, attention.key(hidden)), _heads(attention, attention.value(hidden))
        keys.append(key)
        values.append(value)
        query = _heads(attention, attention.query(hidden))
        context = _attend(attention, query, key, value, bias)
        hidden = _rest(layer, context.transpose(1, 2).flatten(2), hidden)
    return Prefix(tuple(keys), tuple(values), mask)


def read_continuations(model: Any, prefix: Prefix, vectors: Tensor, mask: Tensor) -> Tensor:
    """Run ``g`` continuations of each prefix; their positions go on where the prefix ends, and none sees another.

    Args:
        model: as in `read_prefix`.
        prefix: of ``u`` rows.
        vectors: word embeddings, ``[u, g, S, width]``.
        mask: ``[u, g, S]``, true at tokens; padding stands on the right.

    Returns:
        Last hidden states ``[u, g, S, width]``.
    """
    u, g, s = mask.shape
    places = prefix.mask.sum(dim=1)[:, None] + torch.arange(s, device=vectors.device)
    hidden = _embed(model, vectors.reshape(u, g * s, -1), places.repeat(1, g))
    own, shared = _bias(mask, hidden.dtype)[:, None, :, None, :], _bias(prefix.mask, hidden.dtype)[:, None, None, :]
    for number, layer in enumerate(_layers(model)):
        attention = layer.attention.self
        query, key, value = (_heads(attention, part(hidden)) for part in (attention.query, attention.key, attention.value))
        scaled = query * attention.attention_head_size**-0.5
        apart = [part.reshape(u, -1, g, s, attention.attention_head_size) for part in (scaled, key, value)]
        to_prefix = scaled @ prefix.keys[number].transpose(-1, -2) + shared  # [u, heads, g * s, P]
        to_own = apart[0] @ apart[1].transpose(-1, -2) + own  # [u, heads, g, s, s]
        weights = torch.cat([to_prefix, to_own.flatten(2, 3)], dim=-1).softmax(dim=-1)
        on_prefix, on_own = attention.dropout(weights).split([to_prefix.shape[-1], s], dim=-1)
        context = on_prefix @ prefix.values[number] + (on_own.reshape(to_own.shape) @ apart[2]).flatten(2, 3)
        hidden = _rest(layer, context.transpose(1, 2).flatten(2), hidden)
    return hidden.reshape(u, g, s, -1)


def _layers(model: Any) -> list[Any]:
    return list(transformer_layers(model))


def _embed(model: Any, vectors: Tensor, places: Tensor) -> Tensor:
    table = model.embeddings.position_embeddings
    # RoBERTa numbers positions from its padding index + 1.
    first = 0 if table.padding_idx is None else table.padding_idx + 1
    last = table.num_embeddings - 1
    hidden: Tensor = model.embeddings(inputs_embeds=vectors, position_ids=(places + first).clamp(max=last))  # beyond it is padding alone
    return model.embeddings_project(hidden) if hasattr(model, "embeddings_project") else hidden


def _heads(attention: Any, projected: Tensor) -> Tensor:
    return projected.unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def _attend(attention: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    dropped = float(attention.dropout.p) if attention.training else 0.0
    if dropped and query.device.type == "cpu":
        # torch has no fused way with dropout there, and its plain one looks through all weights for rows without a token.
        weights = (query @ key.transpose(-1, -2) * attention.attention_head_size**-0.5 + bias).softmax(dim=-1)
        return attention.dropout(weights) @ value
    return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropped)


def _rest(layer: Any, context: Tensor, entered: Tensor) -> Tensor:
    attended = layer.attention.output(context, entered)
    hidden: Tensor = layer.output(layer.intermediate(attended), attended)
    return hidden

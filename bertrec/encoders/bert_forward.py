"""The inference pass of BERT's build, in float32, bfloat16 or int8: what Hugging Face's layers compute, in fewer steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.encoders.precision import has_exact_int8

Projection = Callable[[Tensor], Tensor]
NumberFormat = Literal["fp32", "bf16", "int8"]

_BUILDS = {"bert", "roberta", "xlm-roberta", "camembert"}


@dataclass(frozen=True)
class _Layer:
    """One transformer layer: query, key and value in one product, and the two norms after their residual sums."""

    projected: Projection
    attended: Projection
    widened: Projection
    narrowed: Projection
    attention_norm: nn.LayerNorm
    output_norm: nn.LayerNorm


def supports_forward(model: Any) -> bool:
    """Say whether ``BertForward`` computes what this model computes: BERT's or RoBERTa's encoder with GELU and without LoRA matrices."""
    config = model.config
    if config.model_type not in _BUILDS or config.hidden_act != "gelu" or getattr(config, "is_decoder", False):
        return False
    if getattr(config, "position_embedding_type", "absolute") != "absolute":
        return False
    return all(type(part) is nn.Linear for layer in model.encoder.layer for part in _dense_parts(layer))


def supports_int8() -> bool:
    """Say whether this torch has oneDNN's dynamic int8 products."""
    return "onednn" in torch.backends.quantized.supported_engines


class BertForward:
    """Copies of a model's weights in one number format, and the pass over them; dropout is off, no gradient is kept.

    int8 is dynamic: weights are rounded once with a scale per row, activations with one scale per product and batch, so
    a text's vector depends, within that rounding, on the texts of its batch. On a CPU without ``has_exact_int8`` weights
    keep to 7 bits.

    Args:
        model: a model that ``supports_forward``.
        number_format: ``fp32``, ``bf16`` (weights, activations, norms; the embeddings are summed in float32), or ``int8`` (the products of
            the projections; all else float32).
        keep: how many of the top states to return.
    """

    def __init__(self, model: Any, number_format: NumberFormat, *, keep: int = 1) -> None:
        self.keep = keep
        self.heads = int(model.config.num_attention_heads)
        self.dtype = torch.bfloat16 if number_format == "bf16" else torch.float32
        embeddings = model.embeddings
        self.words = embeddings.word_embeddings.weight.detach()
        # RoBERTa numbers positions from the padding index + 1.
        padding = embeddings.position_embeddings.padding_idx
        positions = embeddings.position_embeddings.weight[0 if padding is None else padding + 1 :]
        self.positions = (positions + embeddings.token_type_embeddings.weight[0]).detach()
        self.embedding_norm = embeddings.LayerNorm
        project = _int8_projection if number_format == "int8" else self._projection
        self.layers = [self._layer(layer, project) for layer in model.encoder.layer]

    @torch.inference_mode()
    def __call__(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        """Return the ``keep`` top states ``[b, L, hidden]``, the last one on top, of right-padded ``input_ids`` ``[b, L]``."""
        hidden = functional.embedding(input_ids, self.words) + self.positions[: input_ids.shape[1]]
        hidden = self.embedding_norm(hidden).to(self.dtype)
        bias = None
        if not bool(attention_mask.all()):
            empty = attention_mask[:, None, None, :] == 0
            bias = torch.zeros(empty.shape, dtype=self.dtype, device=hidden.device).masked_fill_(empty, float("-inf"))
        states = [hidden]
        for layer in self.layers:
            states.append(self._run(layer, states[-1], bias))
            del states[: -self.keep]
        return states

    def _run(self, layer: _Layer, hidden: Tensor, bias: Tensor | None) -> Tensor:
        texts, length, width = hidden.shape
        parts = layer.projected(hidden).view(texts, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias).transpose(1, 2).reshape(hidden.shape)
        attended = layer.attention_norm(layer.attended(mixed).add_(hidden))
        normed: Tensor = layer.output_norm(layer.narrowed(functional.gelu(layer.widened(attended))).add_(attended))
        return normed

    def _layer(self, layer: Any, project: Callable[[Tensor, Tensor], Projection]) -> _Layer:
        *three, attended, widened, narrowed = _dense_parts(layer)
        weight, bias = (torch.cat([getattr(part, name).detach() for part in three]) for name in ("weight", "bias"))
        own = [project(part.weight.detach(), part.bias.detach()) for part in (attended, widened, narrowed)]
        norms = self._norm(layer.attention.output.LayerNorm), self._norm(layer.output.LayerNorm)
        return _Layer(project(weight, bias), own[0], own[1], own[2], *norms)

    def _norm(self, norm: nn.LayerNorm) -> nn.LayerNorm:
        copy = nn.LayerNorm(norm.normalized_shape, norm.eps, device=norm.weight.device, dtype=self.dtype).requires_grad_(False)
        copy.load_state_dict(norm.state_dict())
        return copy

    def _projection(self, weight: Tensor, bias: Tensor) -> Projection:
        weight, bias = weight.to(self.dtype), bias.to(self.dtype)
        return lambda hidden: functional.linear(hidden, weight, bias)


def _dense_parts(layer: Any) -> list[Any]:
    """Return query, key, value, the attention's output, and the two products of the feed-forward part."""
    attention = layer.attention.self
    return [attention.query, attention.key, attention.value, layer.attention.output.dense, layer.intermediate.dense, layer.output.dense]


def _int8_projection(weight: Tensor, bias: Tensor) -> Projection:
    """Return ``x -> x @ weight.T + bias`` with both factors rounded to 8 bits: the activations to 255ths of their range, which holds 0.

    The weight is rounded to 127ths of each row's largest value, or to 63rds where sums of wider products would overflow.
    """
    scale = (weight.abs().amax(dim=1).double() / (127 if has_exact_int8() else 63)).clamp_min(torch.finfo(torch.float32).tiny)
    before = torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The notice that eager quantisation moves to another package; the operators stay.
        rounded = torch.quantize_per_channel(weight, scale, torch.zeros(len(scale), dtype=torch.long), 0, torch.qint8)
        torch.backends.quantized.engine = "onednn"
        try:
            packed = torch.ops.quantized.linear_prepack(rounded, bias)
        finally:
            torch.backends.quantized.engine = before
    return lambda hidden: torch.ops.quantized.linear_dynamic(hidden, packed, reduce_range=False)

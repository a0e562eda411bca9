"""The forward pass of an encoder whose positions do not all see the same tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bertrec.core.errors import ModelError

# Positions of these are looked up by number (or turned by it); the others derive distances from a token's place in the row.
_NUMBERED = {"bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "modernbert"}


def run_encoder(base: Any, inputs: Tensor, attention_mask: Tensor, positions: Tensor | None = None) -> Tensor:
    """Return the last hidden states.

    Args:
        base: a Hugging Face encoder without head.
        inputs: word embeddings ``[b, L, e]``.
        attention_mask: ``[b, L]``, 1 at tokens; or ``[b, L, L]``, where row ``i`` says which positions position ``i`` attends to. A
            position that attends to nothing attends to itself, so that no value is undefined.
        positions: ``[b, L]``, the position of each token, from 0; None takes its place in the row.

    Returns:
        ``[b, L, h]``.

    Raises:
        ModelError: ``positions`` are given and the architecture knows distances within the row only.
    """
    options: dict[str, Tensor] = {}
    if positions is not None:
        options["position_ids"] = _position_ids(base, positions)
    if attention_mask.ndim == 2:
        output: Tensor = base(inputs_embeds=inputs, attention_mask=attention_mask, **options).last_hidden_state
        return output
    seen = attention_mask.bool()
    nothing = ~seen.any(-1, keepdim=True)
    seen = seen | (nothing & torch.eye(seen.shape[-1], dtype=torch.bool, device=seen.device))
    if base.config.model_type == "deberta-v2":
        return _run_deberta(base, inputs, seen)
    mask: Any = _for_attention(base, seen, inputs.dtype)
    if base.config.model_type == "modernbert":
        mask = {"full_attention": mask, "sliding_attention": _for_attention(base, seen & _near(base, seen, positions), inputs.dtype)}
    hidden: Tensor = base(inputs_embeds=inputs, attention_mask=mask, **options).last_hidden_state
    return hidden


def _position_ids(base: Any, positions: Tensor) -> Tensor:
    if base.config.model_type not in _NUMBERED:
        raise ModelError(f"architecture '{base.config.model_type}' takes no positions of its own: it knows distances within the row only")
    table = getattr(base.embeddings, "position_embeddings", None)
    # RoBERTa numbers positions from the padding index + 1.
    start = 0 if table is None or table.padding_idx is None else table.padding_idx + 1
    return positions + start


def _for_attention(base: Any, seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``[b, 1, L, L]`` as the model's attention takes it: boolean for the fused kernel, else added to the scores."""
    if base.config._attn_implementation == "sdpa":
        return seen[:, None]
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _near(base: Any, seen: Tensor, positions: Tensor | None) -> Tensor:
    places = torch.arange(seen.shape[-1], device=seen.device)[None] if positions is None else positions
    near: Tensor = (places[:, :, None] - places[:, None, :]).abs() <= base.config.sliding_window
    return near


def _run_deberta(base: Any, inputs: Tensor, seen: Tensor) -> Tensor:
    """Run its parts one by one: its embeddings take a mask per token, its layers one per pair of tokens."""
    if base.z_steps > 1:
        raise ModelError("a DeBERTa whose top layer runs several times (z_steps) takes no mask of position pairs")
    hidden = base.embeddings(inputs_embeds=inputs, mask=None)
    output: Tensor = base.encoder(hidden, seen, output_hidden_states=False, return_dict=True).last_hidden_state
    return output

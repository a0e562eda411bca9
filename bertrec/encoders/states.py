"""The frozen lower layers computed once, so that ``last:K`` trains at K layers' cost instead of all L."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bertrec.core.ragged import IntArray
from bertrec.encoders.batching import padded_positions
from bertrec.encoders.depth import transformer_layers

# Layers of these take the hidden states and the mask and nothing that depends on the layers below (MPNet: one bias shared by all layers).
_SUPPORTED = {"bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "mpnet"}


@dataclass(frozen=True)
class LowerStates:
    """Hidden states that enter layer ``layer`` for ``n`` texts: those of text ``i`` are ``values[offsets[i]:offsets[i + 1]]``.

    Attributes:
        values: ``[total tokens, hidden]``, in float32, float16 or bfloat16.
        offsets: ``[n + 1]`` int64.
        layer: number of the first layer that is still to be run, from 0.
    """

    values: torch.Tensor
    offsets: IntArray
    layer: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def to(self, device: torch.device | str) -> LowerStates:
        """Return the same states on another device."""
        return LowerStates(self.values.to(device), self.offsets, self.layer)

    def padded(self, rows: IntArray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return float32 hidden states ``[b, longest, hidden]`` and attention mask ``[b, longest]`` of the rows on ``device``."""
        positions, mask = padded_positions(self.offsets, rows)
        # index_select, not values[positions]: several times faster on a CPU, for half precision most of all.
        flat = self.values.index_select(0, torch.from_numpy(positions.reshape(-1)).to(self.values.device))
        hidden = flat.to(device).float().reshape(*positions.shape, -1)
        return hidden, torch.from_numpy(mask.astype(np.int64)).to(device)


def supports_states(model: Any) -> bool:
    """Say whether the layers of this architecture can be run one part after the other by this module."""
    return model.config.model_type in _SUPPORTED and not getattr(model.config, "is_decoder", False)


def embed_tokens(model: Any, input_ids: torch.Tensor) -> torch.Tensor:
    """Return what enters the first layer, ``[b, L, hidden]``."""
    hidden: torch.Tensor = model.embeddings(input_ids=input_ids)
    return model.embeddings_project(hidden) if hasattr(model, "embeddings_project") else hidden


def run_layers(model: Any, hidden: torch.Tensor, attention_mask: torch.Tensor, start: int, stop: int | None = None) -> list[torch.Tensor]:
    """Run layers ``start`` to ``stop`` on ``hidden`` ``[b, L, hidden]``; return the input and each layer's output, the top one last."""
    from transformers.masking_utils import create_bidirectional_mask

    mask = create_bidirectional_mask(config=model.config, inputs_embeds=hidden, attention_mask=attention_mask)
    extra = (model.encoder.compute_position_bias(hidden),) if model.config.model_type == "mpnet" else ()
    states = [hidden]
    for layer in list(transformer_layers(model))[start:stop]:
        output = layer(states[-1], mask, *extra)
        states.append(output[0] if isinstance(output, tuple) else output)
    return states


def gather_states(
    parts: Iterable[tuple[IntArray, torch.Tensor, torch.Tensor]], offsets: IntArray, width: int, dtype: torch.dtype
) -> torch.Tensor:
    """Write padded batches ``(rows, hidden [b, L, width], mask [b, L])`` to their places in one ``[total tokens, width]`` CPU tensor."""
    values = torch.empty(int(offsets[-1]), width, dtype=dtype)
    for rows, hidden, mask in parts:
        positions, inside = padded_positions(offsets, rows)
        values[torch.from_numpy(positions[inside])] = hidden[mask.bool()].to(dtype).cpu()
    return values

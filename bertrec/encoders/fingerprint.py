"""A hash that names what an encoder computes, so that vectors of another encoder are never taken for its own."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

# Say where a model came from or how it was stored, not what it computes.
_VOLATILE = {"_name_or_path", "name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures", "auto_map"}


def weights_stamp(model: torch.nn.Module) -> tuple[Any, ...]:
    """Return a cheap value that changes whenever a weight does.

    The version counters catch every in-place change that goes through autograd's dispatcher (optimizers, ``copy_``, ``load_state_dict``);
    writes through ``.data`` go around them, so the trained parameters are summed as well.
    """
    tensors = [*model.parameters(), *model.buffers()]
    sums = [parameter.detach().double().sum() for parameter in model.parameters() if parameter.requires_grad]
    totals = tuple(torch.stack(sums).tolist()) if sums else ()
    return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors), totals


def hash_encoder(model: Any, tokenizer: Any, *parts: str) -> str:
    """Return the SHA-256 over architecture, weights, tokenizer and ``parts`` (pooling, length, number format)."""
    digest = hashlib.sha256()
    settings = {key: value for key, value in model.config.to_diff_dict().items() if key not in _VOLATILE}
    for text in (json.dumps(settings, sort_keys=True, default=str), tokenizer.backend_tokenizer.to_str(), *parts):
        digest.update(text.encode() + b"\0")
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

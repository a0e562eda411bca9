"""In which number format a run computes."""

from __future__ import annotations

import torch

from bertrec.core.errors import ConfigError


def choose_precision(precision: str, *, tunes_encoder: bool, device: str) -> str:
    """Return ``fp32``, ``bf16`` or ``fp16``.

    ``auto`` is bf16 autocast where an encoder is tuned and the device multiplies bf16 matrices in hardware: a small head
    gains nothing from it, and its softmax over the catalogue loses digits.

    Args:
        precision: the setting, ``auto`` or one of the above.
        tunes_encoder: whether gradients flow into a text encoder.
        device: type of the device that trains, e.g. ``cpu`` or ``cuda``.

    Raises:
        ConfigError: fp16 on a device that has none.
    """
    if precision == "fp16" and device != "cuda":
        raise ConfigError(f"precision fp16 needs a CUDA device and training runs on {device}: set precision to bf16 or fp32")
    if precision != "auto":
        return precision
    return "bf16" if tunes_encoder and computes_bf16(device) else "fp32"


def computes_bf16(device: str) -> bool:
    """Say whether ``device`` multiplies bf16 matrices in hardware: CUDA from Ampere on, CPUs with AMX."""
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16", False))

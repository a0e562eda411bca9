"""The number format that an encoder computes in."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from bertrec.encoders.config import Precision


def computing_in(precision: Precision, device: torch.device, *, tuning: bool) -> contextlib.AbstractContextManager[Any]:
    """Return the context of a forward pass.

    Args:
        precision: ``auto`` is bfloat16 while tuning on a device that has units for it, else what the caller computes in; so are
            ``int8`` and ``fast``, which are for ``TextEncoder.encode`` alone.
        device: where the weights are.
        tuning: whether gradients will be taken through the pass.
    """
    if precision == "fp32":
        return torch.autocast(device.type, enabled=False)
    stack = contextlib.ExitStack()
    if precision == "bf16" or (tuning and has_fast_bfloat16(device)):
        stack.enter_context(torch.autocast(device.type, dtype=torch.bfloat16))
        if tuning and device.type == "cpu":
            # The fused kernel's bfloat16 backward pass is three to five times slower than that of plain matrix products (torch 2.13).
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
    return stack


def has_fast_bfloat16(device: torch.device) -> bool:
    """Say whether the device multiplies bfloat16 matrices in hardware: CUDA from Ampere on, CPUs with AMX."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()


def has_exact_int8() -> bool:
    """Say whether this CPU adds up products of 8-bit numbers exactly (AVX-512 VNNI).

    Without it two such products are added in 16 bits, where they overflow: weights must then keep to 7 bits.
    """
    return bool(getattr(torch.cpu, "_is_vnni_supported", lambda: False)())

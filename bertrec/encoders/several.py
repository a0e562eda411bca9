"""Several GPUs for one encoding: the same encoder on each of them, batches dealt out to whichever is free."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from bertrec.encoders.text import TextEncoder


def encoding_devices(device: torch.device) -> tuple[torch.device | str, ...]:
    """Return the devices that an encoder on ``device`` encodes on: all visible GPUs where it is on one.

    A process that is one of several (torchrun's ``LOCAL_RANK``) takes its own alone. ``CUDA_VISIBLE_DEVICES`` makes them fewer.
    """
    if device.type != "cuda" or "LOCAL_RANK" in os.environ:
        return (device,)
    own = torch.cuda.current_device() if device.index is None else device.index
    return (device, *(f"cuda:{number}" for number in range(torch.cuda.device_count()) if number != own))


def on_devices(encoder: TextEncoder, devices: Sequence[torch.device | str]) -> list[TextEncoder]:
    """Return the encoder itself for the first device, where it has to be, and a copy on each of the others."""
    kept, encoder._inference = encoder._inference, None  # a pass over the weights of the first is none of a copy
    try:
        copies = [copy.deepcopy(encoder).to(device) for device in devices[1:]]
    finally:
        encoder._inference = kept
    return [encoder, *copies]

"""Several GPUs for one encoding: the same encoder on each of them, batches dealt out to whichever is free."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import torch

from bertrec.core.devices import several_gpus
from bertrec.core.errors import ConfigError

DEVICES = "BERTREC_ENCODE_DEVICES"
"""Names the devices that encoders share the work with, such as ``cuda:0,cuda:1``; unset, all GPUs share it where no device was chosen."""


class Movable(Protocol):
    """What is copied to other devices; `bertrec.encoders.text.TextEncoder` says what each part means."""

    devices: tuple[torch.device | str, ...] | None
    _inference: Any

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def to(self, device: torch.device, /) -> Any:
        """Move the weights."""


Copied = TypeVar("Copied", bound=Movable)


def named_devices() -> tuple[str, ...] | None:
    """Return the devices in ``BERTREC_ENCODE_DEVICES``; None where it is not set."""
    return tuple(name.strip() for name in os.environ.get(DEVICES, "").split(",") if name.strip()) or None


def sharing(encoder: Movable) -> tuple[torch.device | str, ...]:
    """Return the devices that share the encoder's work: those it names, else all GPUs where it is on one of several; else none."""
    if encoder.devices is not None:
        return tuple(encoder.devices)
    return several_gpus() if encoder.device.type == "cuda" else ()


def copies_on(encoder: Copied, devices: Sequence[torch.device | str]) -> list[Copied]:
    """Return a copy of the encoder on each of the devices but its own, which is left out once.

    Raises:
        ConfigError: a device that is not there.
    """
    own, made = encoder.device, []
    wanted = [_device(name) for name in devices]
    if own in wanted:
        wanted.remove(own)
    kept, encoder._inference = encoder._inference, None  # a pass over the weights of the first is none of a copy
    try:
        for device in wanted:
            one = copy.deepcopy(encoder)
            one.devices = ()
            made.append(one.to(device))
    except (RuntimeError, AssertionError) as error:  # torch has both for a device that is not there
        raise ConfigError(f"encoding on {device}: {str(error).splitlines()[0]}") from error
    finally:
        encoder._inference = kept
    return made


def _device(name: torch.device | str) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"'{name}' is no device: {str(error).splitlines()[0]}") from error

"""Where everything computes: one choice for the whole process, which the processes that it starts inherit."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError
from bertrec.core.processes import world

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")

DEVICE = "BERTREC_DEVICE"
"""Holds the choice: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or what else torch names; unset is ``auto``."""
_NO_MEMORY = ("out of memory", "ALLOC_FAILED")  # what CUDA and cuBLAS say, which torch raises as plain RuntimeErrors
_WHERE = f"bertrec --device, {DEVICE}, train.device"


def use_device(name: str) -> None:
    """Compute on this device from now on, also in processes that are started later; models that are there stay where they are.

    Args:
        name: ``auto`` takes the accelerator that torch finds, else the CPU; ``cpu``, ``cuda``, ``cuda:1`` and ``mps`` are taken as
            they are.

    Raises:
        ConfigError: there is no such device on this machine, or it is no text.
    """
    expect(name, str, "use_device: name", error=ConfigError, mend="auto, cpu, cuda, cuda:1 or mps")
    if name != "cpu":  # always there, and told without torch
        _found(name)
    os.environ[DEVICE] = name


def named_device() -> str:
    """Return the choice as it was made, ``auto`` where none was."""
    return os.environ.get(DEVICE, "").strip() or "auto"


def chosen_device(given: torch.device | str | None = None) -> torch.device:
    """Return where to compute.

    Args:
        given: a device of this call alone; None and ``auto`` leave it to the choice of the process, and so does ``cuda`` where this is
            one of several GPUs.

    Raises:
        ConfigError: there is no such device on this machine.
    """
    import torch

    if isinstance(given, torch.device):
        return given
    chosen = named_device()
    if given in (None, "auto") or chosen.partition(":")[0] == given:
        return _found(chosen)
    return _found(str(given))


def several_gpus() -> tuple[str, ...]:
    """Return all CUDA devices where there are several, none was chosen, and no other process trains on one of them; else nothing."""
    import torch

    if named_device() not in ("auto", "cuda") or world() > 1 or chosen_device().type != "cuda" or torch.cuda.device_count() < 2:
        return ()
    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))


def product_device(size: int = 0) -> torch.device | None:
    """Return the accelerator whose float32 products are as exact as the CPU's, within their rounding bound; None without one.

    Apple's is left out, and so is one whose products were set to a shorter format (``torch.set_float32_matmul_precision``).

    Args:
        size: bytes that are to be brought there; None is returned where they are more than half of what is free, for the results need
            room too.
    """
    device = chosen_device()
    return device if device.type not in ("cpu", "mps") and _whole_products() and _has_room(device, size) else None


def _whole_products() -> bool:
    import torch

    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # it was set by torch's newer switches (fp32_precision), to something that has no older name
        return False


def computed_there(size: int, compute: Callable[[torch.device], Result]) -> Result | None:
    """Return what ``compute`` returns on the `product_device`; None without one, or where it has too little memory.

    The caller computes on the CPU then.

    Args:
        size: bytes that are brought there.
        compute: gets the device; may run out of memory at any step.
    """
    import torch

    device = product_device(size)
    try:
        return None if device is None else compute(device)
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not any(words in str(error) for words in _NO_MEMORY):
            raise
        return None


def _has_room(device: torch.device, size: int) -> bool:
    import torch

    if device.type != "cuda":
        return True  # not asked: an error says it
    # What torch holds of earlier tensors counts as taken, but is free for the next.
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return 2 * size <= torch.cuda.mem_get_info(device)[0] + kept


def device_of(module: torch.nn.Module) -> torch.device:
    """Return where a module's numbers are; the CPU for one that has none."""
    import torch

    return next((value.device for values in (module.parameters(), module.buffers()) for value in values), torch.device("cpu"))


def _found(name: str) -> torch.device:
    import torch

    there = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return _numbered(there or torch.device("cpu"))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"'{name}' is no device: take auto, cpu, cuda, cuda:1 or mps ({_WHERE})") from error
    count = torch.accelerator.device_count() if there is not None and there.type == device.type else 0
    if device.type != "cpu" and (device.index or 0) >= count:
        raise ConfigError(f"device {name} is not available here: take auto ({there or 'cpu'}) or cpu ({_WHERE})")
    return _numbered(device)


def _numbered(device: torch.device) -> torch.device:
    """Say which GPU ``cuda`` is: of several processes that train together each has its own."""
    import torch

    if str(device) != "cuda":
        return device
    own = int(os.environ.get("LOCAL_RANK", 0)) if world() > 1 else 0
    return torch.device("cuda", own % torch.cuda.device_count())

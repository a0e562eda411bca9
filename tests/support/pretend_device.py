"""A device that is not there: tensors on it have values, and torch refuses what it refuses of a real one.

The tensors say that they are on ``lazy``, a name that torch knows and nothing here uses. They hold an ordinary tensor
and compute with it. What two devices cannot do together raises, as on a GPU: an operation on tensors of both, and
``numpy()`` of a tensor that was not brought back. The Trainer trains there too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from bertrec.core import devices

DEVICE = torch.device("lazy")
_ACROSS = {"copy_", "_to_copy"}  # between devices, whichever way
_INDEXED = {"index", "index_put_", "index_put", "_index_put_impl_"}  # the numbers of rows may be on the CPU


class There(torch.Tensor):
    """A tensor on the pretended device."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, real: torch.Tensor) -> There:
        how = {"strides": real.stride(), "storage_offset": real.storage_offset(), "dtype": real.dtype, "device": DEVICE}
        made = torch.Tensor._make_wrapper_subclass(cls, real.size(), **how)
        made.held = real
        return made

    def data_ptr(self) -> int:
        """Return where the values are."""
        return self.held.data_ptr()

    def tolist(self) -> Any:
        """Return the values, as torch does for any device."""
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __init__(self, counted: list[str]) -> None:
        super().__init__()
        self.counted = counted

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = _computed(func, args, kwargs or {})
        if isinstance(found, There):
            self.counted.append(func.overloadpacket.__name__)
        return found


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name, given = func.overloadpacket.__name__, []
    tree_map(lambda value: given.append(value) if isinstance(value, torch.Tensor) else None, (args, kwargs))
    there = [value for value in given if isinstance(value, There)]
    if there and name not in _ACROSS:
        here = [value for value in (given[:1] if name in _INDEXED else given) if not isinstance(value, There) and value.dim()]
        if here or (name in _INDEXED and not isinstance(given[0], There)):
            raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found at least two devices, {DEVICE} and cpu")
    wanted = kwargs.get("device")
    stays = bool(there) if wanted is None else torch.device(wanted).type == DEVICE.type
    if name == "copy_":
        stays = isinstance(args[0], There)
    own = {id(value.held): value for value in there}
    plain = {key: torch.device("cpu") if key == "device" and value is not None else value for key, value in kwargs.items()}
    found = func(*tree_map(_real, args), **tree_map(_real, plain))
    if name == "_to_copy" and wanted is not None:
        return There(found) if stays else found

    def placed(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not stays:
            return value
        return own[id(value)] if id(value) in own else There(value)

    return tree_map(placed, found)


def _real(value: Any) -> Any:
    return value.held if isinstance(value, There) else value


def _made_here_first(make: Any) -> Any:
    def made(data: Any, *, device: Any = None, **how: Any) -> torch.Tensor:
        there = isinstance(data, There)
        return (data if there else make(data, **how)).to(device=device, **({k: v for k, v in how.items() if k == "dtype"} if there else {}))

    return made


@contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch, counted: list[str] | None = None) -> Iterator[torch.device]:
    """Let the process choose the device; ``counted`` gets the names of what is computed there."""
    autocast, found = torch.autocast, devices._found
    with monkeypatch.context() as patch, _Mode([] if counted is None else counted):
        patch.setattr(torch, "autocast", lambda kind, *args, **how: autocast("cpu" if kind == DEVICE.type else kind, *args, **how))
        for name in ("tensor", "as_tensor"):  # which put values on a device without a word to the mode
            patch.setattr(torch, name, _made_here_first(getattr(torch, name)))
        patch.setattr(devices, "_found", lambda name: DEVICE if name == "auto" else found(name))
        patch.setenv("ACCELERATE_TORCH_DEVICE", DEVICE.type)  # which the Trainer takes
        yield DEVICE

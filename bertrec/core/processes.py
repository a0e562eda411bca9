"""The processes of one training, as ``torchrun`` and ``accelerate launch`` start them: which one this is, and what they agree on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_Value = TypeVar("_Value")
_SAID = ("RANK", "WORLD_SIZE", "MASTER_ADDR")


def world() -> int:
    """Return how many processes train together; 1 where this one was not started as one of several."""
    return int(os.environ["WORLD_SIZE"]) if all(os.environ.get(name) for name in _SAID) else 1


def rank() -> int:
    """Return this process's number among them, from 0."""
    return int(os.environ["RANK"]) if world() > 1 else 0


def is_first() -> bool:
    """Say whether this is the process that locks, prints and saves."""
    return rank() == 0


def first_alone(work: Callable[[], _Value]) -> _Value | None:
    """Do the work in the first process, while the others wait; they get None."""
    done = work() if is_first() else None
    wait()
    return done


def first_before(work: Callable[[], _Value]) -> _Value:
    """Do the work in every process, in the first before the others: what it stored they find."""
    if not is_first():
        wait()
        return work()
    done = work()
    wait()
    return done


def wait() -> None:
    """Wait until every process is here."""
    agreed(None)


def agreed(value: _Value) -> _Value:
    """Return the first process's value in every process; it has to be fit for a pickle."""
    if world() == 1:
        return value
    held: list[Any] = [value]
    _joined().broadcast_object_list(held, src=0)
    agreed_value: _Value = held[0]
    return agreed_value


def gathered(value: _Value) -> list[_Value]:
    """Return every process's value, in the order of their numbers, in every process."""
    if world() == 1:
        return [value]
    held: list[Any] = [None] * world()
    _joined().all_gather_object(held, value)
    return held


def own_share(count: int) -> npt.NDArray[np.int64]:
    """Return which of ``count`` rows are this process's: every ``world()``-th."""
    import numpy as np

    return np.arange(rank(), count, world(), dtype=np.int64)


def _joined() -> Any:
    from datetime import timedelta

    import torch

    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            timeout=timedelta(days=7),  # the first encodes the catalogue while the others wait; one that dies ends all, by its launcher
        )
    return torch.distributed

"""The items of a batch that several processes share: each offers its own to the others, as negatives with a gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bertrec.core.processes import rank, world


class OfferedItems(NamedTuple):
    """The distinct items of a batch, this process's first and in their order.

    Attributes:
        ids: ``[m]`` inner ids, 0 (padding) first.
        slots: ``[m]`` how often each stands in the batch, in all processes together.
        vectors: ``[m, width]``; those of other processes send their gradient there.
    """

    ids: Tensor
    slots: Tensor
    vectors: Tensor


def gathered_items(ids: Tensor, slots: Tensor, vectors: Tensor) -> OfferedItems:
    """Return the items of the whole batch, of which this process holds those given.

    Args:
        ids: ``[n]`` distinct inner ids, 0 first.
        slots: ``[n]`` how often each stands in this process's part.
        vectors: ``[n, width]``.
    """
    if world() == 1:
        return OfferedItems(ids, slots, vectors)
    known = _padded(torch.stack([ids, slots], dim=1))
    everyone = [torch.empty_like(known) for _ in range(world())]
    torch.distributed.all_gather(everyone, known)
    offered: Tensor = _Gathered.apply(_padded(vectors))  # type: ignore[no-untyped-call]
    others = [number for number in range(world()) if number != rank()]
    their_ids = torch.cat([everyone[number][:, 0] for number in others])
    extra = _first_of_each(their_ids, ~torch.isin(their_ids, ids))
    all_ids = torch.cat([ids, their_ids[extra]])
    counted = torch.zeros(int(all_ids.max()) + 1, dtype=slots.dtype, device=slots.device).index_add_(0, *torch.cat(everyone).unbind(1))
    return OfferedItems(all_ids, counted[all_ids], torch.cat([vectors, offered[others].flatten(0, 1)[extra]]))


def _first_of_each(ids: Tensor, among: Tensor) -> Tensor:
    """Return the place of the first of each distinct id that ``among`` marks."""
    places = among.nonzero(as_tuple=True)[0]
    distinct, where = ids[places].unique(return_inverse=True)
    return torch.full_like(distinct, len(ids)).scatter_reduce_(0, where, places, "amin")


class _Gathered(torch.autograd.Function):
    """``[n, …]`` of every process, ``[processes, n, …]``; each row's gradient is the sum of what all of them have for it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        """Take what the others have."""
        everyone = [torch.empty_like(rows) for _ in range(world())]
        torch.distributed.all_gather(everyone, rows.contiguous())
        return torch.stack(everyone)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Give this process's rows their gradient."""
        total = gradients[0].contiguous()
        torch.distributed.all_reduce(total)
        return total[rank()]


def _padded(rows: Tensor) -> Tensor:
    """Fill up with rows of zeros, item 0 without a slot, to as many as the largest process has."""
    longest = torch.tensor(len(rows), device=rows.device)
    torch.distributed.all_reduce(longest, torch.distributed.ReduceOp.MAX)
    return functional.pad(rows, (0, 0, 0, int(longest) - len(rows)))

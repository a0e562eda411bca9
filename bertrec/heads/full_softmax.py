"""Cross-entropy over the whole catalogue, with memory that does not grow with positions × items.

The gradients are computed together with the loss, a block of positions at a time and within it a tile of items at a time, as fused linear
cross-entropy does (Hsu et al. 2024, "Liger Kernel", https://arxiv.org/abs/2410.10989) and with the running maximum of attention in tiles
(Dao et al. 2022, https://arxiv.org/abs/2205.14135): three matrix products and one pass over the exponentials that a processor's cache still
holds, where autograd writes and reads the logits of all positions several times over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bertrec.heads.repeats import Repeats
from bertrec.heads.similarity import at_least_single

_FEWEST_ROWS = 64
"""Positions of a block at least: each block reads all item vectors and adds to all their gradients."""
_CPU_CELLS, _CPU_TILE = 1 << 22, 8192
"""Logits of a block (unless `_FEWEST_ROWS` asks for more) and items of a tile, so that a tile stays in the cache."""
_DEVICE_CELLS = 1 << 27
"""Logits of a block on an accelerator, where one tile is all items: each tile is some dozen kernel launches."""


def full_softmax(
    user: Tensor,
    items: Tensor,
    targets: Tensor,
    *,
    candidates: Tensor | None = None,
    repeats: Repeats | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy over the whole catalogue.

    Beside gradients of the shapes of ``user`` and ``items`` it takes memory for at most ``max(2²², 64 × n_items)`` logits on a CPU.

    Args:
        user: ``[positions, width]``.
        items: ``[n_items + 1, width]``; row 0 is padding and never a candidate.
        targets: ``[positions]`` inner item ids.
        candidates: ``[n_items + 1]`` bool; items that training must never see are False, so that they are not pushed down as negatives.
        repeats: which (position, item) pairs repeat an item of the history, with the bias to add there.
        smoothing: label smoothing over the candidates.
    """
    floor = torch.zeros(items.shape[0], device=user.device, dtype=at_least_single(items).dtype)
    floor[0] = -math.inf
    if candidates is not None:
        floor.masked_fill_(~candidates, -math.inf)
    bias = repeats.bias if repeats is not None else floor.new_zeros(())
    pairs = None if repeats is None else _Pairs.of(repeats, floor)
    with torch.autocast(user.device.type, enabled=False):
        inputs = at_least_single(user), at_least_single(items), bias.to(floor.dtype)
        loss: Tensor = _FullSoftmax.apply(*inputs, targets, floor, pairs, smoothing, torch.is_grad_enabled())  # type: ignore[no-untyped-call]  # of torch
    return loss


@dataclass(frozen=True)
class _Pairs:
    """Pairs whose item is a candidate; ``row [pairs]`` not decreasing."""

    row: Tensor
    item: Tensor

    @classmethod
    def of(cls, repeats: Repeats, floor: Tensor) -> _Pairs:
        keep = floor[repeats.item] == 0
        return cls(repeats.row[keep], repeats.item[keep])

    def of_rows(self, start: int, stop: int) -> _Pairs:
        """Return the pairs of positions ``start`` to ``stop``, numbered from 0."""
        low, high = torch.searchsorted(self.row, torch.tensor([start, stop], device=self.row.device)).tolist()
        return _Pairs(self.row[low:high] - start, self.item[low:high])

    def by_item(self) -> _Pairs:
        """Return the pairs sorted by item."""
        item, order = self.item.sort()
        return _Pairs(self.row[order], item)


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        user: Tensor,
        items: Tensor,
        bias: Tensor,
        targets: Tensor,
        floor: Tensor,
        pairs: _Pairs | None,
        smoothing: float,
        with_gradients: bool,
    ) -> Tensor:
        sums = _Sums(user, items, bias, floor, smoothing, with_gradients)
        step = _rows_of_block(user, len(items))
        total = user.new_zeros(())
        for start in range(0, len(user), step):
            stop = min(start + step, len(user))
            total += sums.add(start, stop, targets[start:stop], pairs.of_rows(start, stop) if pairs is not None else None)
        if with_gradients:
            ctx.save_for_backward(*sums.gradients())
        return total / len(user)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        found = [gradient * grad if needed else None for gradient, needed in zip(ctx.saved_tensors, ctx.needs_input_grad, strict=False)]
        return *found, None, None, None, None, None


def _rows_of_block(user: Tensor, n: int) -> int:
    cells = _CPU_CELLS if user.device.type == "cpu" else _DEVICE_CELLS
    return max(1, min(len(user), max(_FEWEST_ROWS, cells // n)))  # of no position nothing is computed, and the loss is no number


class _Sums:
    """The loss and its gradients, added up block by block.

    With ``n`` candidates, ``s`` the smoothing and ``l`` a position's logits, its loss is ``logsumexp(l) − (1 − s)·l[target] − s·mean(l)``.
    The mean is an inner product with the mean of the candidates' vectors, so that only the first term needs the tiles.
    """

    def __init__(self, user: Tensor, items: Tensor, bias: Tensor, floor: Tensor, smoothing: float, with_gradients: bool) -> None:
        self.user, self.items, self.bias, self.floor, self.smoothing = user, items, bias, floor, smoothing
        self.is_candidate = (floor == 0).to(items.dtype)
        self.count = self.is_candidate.sum()
        self.mean_item = self.is_candidate @ items / self.count
        self.tile = _CPU_TILE if user.device.type == "cpu" else len(items)
        self.cells = user.new_empty(_rows_of_block(user, len(items)) * len(items))
        self.with_gradients = with_gradients
        if with_gradients:
            self.of_user, self.of_items, self.of_bias = torch.empty_like(user), torch.zeros_like(items), torch.zeros_like(bias)

    def add(self, start: int, stop: int, targets: Tensor, pairs: _Pairs | None) -> Tensor:
        """Add positions ``start`` to ``stop`` and return the sum of their losses."""
        user = self.user[start:stop]
        picked = (user * self.items[targets]).sum(dim=1) + self.floor[targets]
        mean = user @ self.mean_item
        if pairs is not None:
            hit = (pairs.item == targets[pairs.row]).to(user.dtype)
            picked = picked.index_add(0, pairs.row, hit * self.bias)
            mean = mean.index_add(0, pairs.row, (self.bias / self.count).expand(len(pairs.row)))
        block = _Block(self, user, picked, pairs)
        log_sum = block.read()
        if self.with_gradients:
            self._add_gradients(block, start, targets, log_sum)
            if block.pairs is not None:
                self.of_bias += (block.pair_logits - log_sum[block.pairs.row]).exp().sum() - (1 - self.smoothing) * hit.sum()
                self.of_bias -= self.smoothing * len(hit) / self.count
        return (log_sum - (1 - self.smoothing) * picked - self.smoothing * mean).sum()

    def _add_gradients(self, block: _Block, start: int, targets: Tensor, log_sum: Tensor) -> None:
        user, keep = block.user, 1 - self.smoothing
        block.add_item_gradients(log_sum, self.of_items)
        self.of_items.index_add_(0, targets, user, alpha=-keep)
        mine = torch.sub(block.expected_item(), self.items[targets], alpha=keep, out=self.of_user[start : start + len(user)])
        if self.smoothing:
            mine.sub_(self.mean_item, alpha=self.smoothing)

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of the mean over positions, of user vectors, item vectors and bias."""
        if self.smoothing:
            self.of_items.addr_(self.is_candidate, self.user.sum(dim=0) / self.count, alpha=-self.smoothing)
        positions = len(self.user)
        return self.of_user.div_(positions), self.of_items.div_(positions), self.of_bias.div_(positions)


class _Block:
    """Some positions against all items, a tile at a time.

    The exponentials of each tile are kept below the maximum known when it was read. That begins at the target's logit, which is always
    finite, so that a tile without a candidate does no harm.
    """

    def __init__(self, sums: _Sums, user: Tensor, picked: Tensor, pairs: _Pairs | None) -> None:
        self.sums, self.user, self.maximum = sums, user, picked
        self.total = torch.zeros_like(picked)
        self.weighted = torch.zeros_like(user)
        self.maxima: list[Tensor] = []
        self.spans = [(start, min(start + sums.tile, len(sums.items))) for start in range(0, len(sums.items), sums.tile)]
        self.pairs = pairs.by_item() if pairs is not None and len(self.spans) > 1 else pairs
        if self.pairs is not None:
            self.pair_logits = user.new_empty(len(self.pairs.row))
            edges = torch.tensor([stop for _, stop in self.spans[:-1]], device=user.device, dtype=torch.long)
            self.edges = [0, *torch.searchsorted(self.pairs.item, edges).tolist(), len(self.pairs.row)]

    def _cells(self, start: int, stop: int) -> Tensor:
        rows = len(self.user)
        return self.sums.cells[rows * start : rows * stop].view(rows, stop - start)

    def read(self) -> Tensor:
        """Compute every tile once; return the logarithm of each position's sum of exponentials."""
        for number, (start, stop) in enumerate(self.spans):
            items, tile = self.sums.items[start:stop], self._cells(start, stop)
            torch.addmm(self.sums.floor[start:stop], self.user, items.T, out=tile)
            if self.pairs is not None:
                self._add_bias(tile, number, start)
            maximum = torch.maximum(self.maximum, tile.amax(dim=1))
            tile.sub_(maximum[:, None]).exp_()
            shrunk = (self.maximum - maximum).exp_()
            self.total.mul_(shrunk).add_(tile.sum(dim=1))
            if self.sums.with_gradients:
                self.weighted.mul_(shrunk[:, None]).addmm_(tile, items)
            self.maximum = maximum
            self.maxima.append(maximum)
        return self.maximum + self.total.log()

    def _add_bias(self, tile: Tensor, number: int, start: int) -> None:
        assert self.pairs is not None
        part = slice(self.edges[number], self.edges[number + 1])
        where = self.pairs.row[part], self.pairs.item[part] - start
        logits = tile[where] + self.sums.bias
        tile[where] = logits
        self.pair_logits[part] = logits

    def expected_item(self) -> Tensor:
        """Return each position's mean of the item vectors under its softmax, ``[positions, width]``."""
        return self.weighted / self.total[:, None]

    def add_item_gradients(self, log_sum: Tensor, gradient: Tensor) -> None:
        """Add the transposed probabilities times the user vectors; the rows are scaled, not the larger tiles."""
        for maximum, (start, stop) in zip(self.maxima, self.spans, strict=True):
            share = (maximum - log_sum).exp_()
            gradient[start:stop].addmm_(self._cells(start, stop).T, self.user * share[:, None])

"""AdamW for dense and sparse gradients, and their common norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class PlainAdamW(torch.optim.AdamW):
    """AdamW that accelerate leaves unwrapped; a parameter whose gradient is sparse takes lazy Adam.

    Lazy Adam leaves weights and moments of rows without a gradient as they are, where Adam lets the moments decay and the weights follow
    them. Where all rows have a gradient in each step both are the same. The state has AdamW's names, so that one checkpoint holds all.

    Accelerate's wrapper adds only gradient accumulation and loss scaling, which are not used here, and looks for an uninstalled
    package on the import path twice per step: 0.3 to 1 ms.
    """

    _is_accelerate_prepared = True
    step_was_skipped = False

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; a table of sparse gradients must have no weight decay."""
        sparse = [(p, p.grad, group) for group in self.param_groups for p in group["params"] if p.grad is not None and p.grad.is_sparse]
        for parameter, _, _ in sparse:
            parameter.grad = None
        loss = super().step(closure)
        for parameter, gradient, group in sparse:
            parameter.grad = gradient
            self._step_rows(parameter, gradient.coalesce(), group)
        return loss

    def _step_rows(self, table: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
        state["step"] += 1
        rows, values, step, (beta1, beta2) = gradient.indices()[0], gradient.values(), float(state["step"]), group["betas"]
        mean = state["exp_avg"][rows].lerp_(values, 1 - beta1)
        square = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(values, values, value=1 - beta2)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
        spread = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])
        table.index_add_(0, rows, mean.div_(spread), alpha=-group["lr"] / (1 - beta1**step))


def learns_by_rows(module: nn.Module) -> bool:
    """Say whether a table of the module has sparse gradients."""
    return any(isinstance(part, nn.Embedding) and part.sparse for part in module.modules())


def merge_rows(parameters: Sequence[Tensor]) -> None:
    """Add up the entries of sparse gradients that name more rows than their table has: backward passes only append to them."""
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse and parameter.grad._nnz() > len(parameter):
            parameter.grad = parameter.grad.coalesce()


def clip_gradients(parameters: Sequence[Tensor], most: float) -> Tensor:
    """Scale gradients down to the norm ``most``, of all of them together, and return the norm that they had.

    A sparse gradient counts with what its rows have in sum.
    """
    if not any(p.grad is not None and p.grad.is_sparse for p in parameters):
        return nn.utils.clip_grad_norm_(parameters, most)
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
        if parameter.grad is not None:
            gradients.append(parameter.grad.values() if parameter.grad.is_sparse else parameter.grad)
    norm = nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, torch.clamp(most / (norm + 1e-6), max=1.0))
    return norm

"""The running mean of the trained weights: what a constant learning rate needs in place of a decay that ends on a known step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bertrec.core.errors import ModelError


class WeightAverage:
    """The weights of late steps count most: step ``t`` enters with ``min(1, 1 / (share * t))``.

    This is polynomial-decay averaging (Shamir and Zhang 2013, http://proceedings.mlr.press/v28/shamir13.html). It reaches over about the
    last ``share`` of the steps so far, so that it needs no length of the training; 1 is the plain mean of all steps. Parameters that are
    trained are averaged, and nothing else: buffers stay as they are, as torch's ``AveragedModel`` leaves them.
    """

    def __init__(self, module: nn.Module, share: float) -> None:
        """Begin with the weights as they are.

        Args:
            module: whose trainable parameters are averaged, on the device that they are on.
            share: above 0, at most 1.
        """
        self.share = share
        self._trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
        self._mean = {name: parameter.detach().clone() for name, parameter in self._trained.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after ``step``, counted from 1."""
        torch._foreach_lerp_(list(self._mean.values()), list(self._trained.values()), min(1.0, 1.0 / (self.share * step)))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the mean where the weights are while the block runs; then every bit of both is back."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._trained.items():
            weights = parameter.clone()  # one at a time: a third copy of an encoder may not fit
            parameter.copy_(self._mean[name])
            self._mean[name].copy_(weights)

    def state(self) -> dict[str, Tensor]:
        """Return a copy of the mean on the CPU, by parameter name."""
        return {name: mean.to("cpu", copy=True).contiguous() for name, mean in self._mean.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned.

        Raises:
            ModelError: names or shapes are others.
        """
        shapes = {name: mean.shape for name, mean in self._mean.items()}
        if shapes != {name: mean.shape for name, mean in state.items()}:
            raise ModelError("the saved average of the weights is not of this model: train anew without resume")
        for name, mean in self._mean.items():
            mean.copy_(state[name])

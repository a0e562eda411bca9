"""Another model's score beside a prompt's answer: training starts from it, and learns what it leaves unsaid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bertrec.core.ragged import Ragged

FloatArray = npt.NDArray[np.float64]
_STEPS = 50


class Prior(nn.Module):
    r"""Joins the margin :math:`m` of a prompt's answer and the score :math:`s` of a trained model.

    .. math:: g\,m + w\,\frac{s - \bar s}{\sigma_s} + b

    Mean and standard deviation are those of the training pairs. At the start :math:`g = 0`, and :math:`w` and :math:`b` fit the labels best
    without the prompt, so that training begins at the other model's order and not at a random one; all three are learned with the rest.
    """

    centre: Tensor
    spread: Tensor
    started: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.weight, self.shift = (nn.Parameter(torch.zeros(())) for _ in range(3))
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(self, margins: Tensor, scores: Tensor) -> Tensor:
        """Return the joint margins, of the shape of both arguments."""
        return self.gain * margins + self.weight * ((scores - self.centre) / self.spread) + self.shift

    def start(self, scores: FloatArray, labels: npt.NDArray[np.int8], rows: Ragged, loss: str) -> None:
        """Take mean, spread, weight and shift from the training pairs, unless that was done by an earlier training.

        Args:
            scores: ``[total]`` of the other model.
            labels: ``[total]``, 1 for a click.
            rows: the candidates, for the listwise loss.
            loss: ``pointwise`` or ``listwise``.
        """
        if self.started:
            return
        self.centre.fill_(float(scores.mean()))
        self.spread.fill_(float(scores.std()) or 1.0)
        values = torch.from_numpy((scores - scores.mean()) / (scores.std() or 1.0))
        clicked = torch.from_numpy(labels == 1)
        found = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([found], max_iter=_STEPS, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            if loss == "listwise":
                logits = found[0] * values
                total = torch.zeros(len(rows), dtype=torch.float64).index_add(0, torch.from_numpy(rows.rows), logits.exp())
                value = (total.log()[torch.from_numpy(rows.rows)] - logits)[clicked].mean()
            else:
                value = nn.functional.binary_cross_entropy_with_logits(found[0] * values + found[1], clicked.double())
            value.backward()
            return value

        optimizer.step(closure)
        with torch.no_grad():
            self.weight.fill_(float(found[0]))
            self.shift.fill_(float(found[1]))
            self.started.fill_(True)

    @torch.no_grad()
    def join(self, margins: FloatArray, scores: FloatArray) -> FloatArray:
        """Return what `forward` does of ``[n]`` numbers, in float64."""
        gain, weight, shift, centre, spread = (float(x) for x in (self.gain, self.weight, self.shift, self.centre, self.spread))
        return gain * margins + weight * ((scores - centre) / spread) + shift

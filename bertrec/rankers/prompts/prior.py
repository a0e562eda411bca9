"""Another model's score beside a prompt's answer: training starts from it, and learns what it leaves unsaid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.rankers.linear_head import fit_with_intercept
from bertrec.rankers.losses import RankLoss

FloatArray = npt.NDArray[np.float64]
_L2 = 1e-4  # keeps the weight finite where the scores tell all clicks apart


class Prior(nn.Module):
    r"""Joins the margin :math:`m` of a prompt's answer and the score :math:`s` of a trained model.

    .. math:: g\,m + w\,\frac{s - \bar s}{\sigma_s} + b

    Mean and standard deviation are those of the training pairs; an item that the model does not know has the mean. At the start
    :math:`g = 0`, and :math:`w` and :math:`b` fit the labels best without the prompt, so that training begins at the other model's order
    and not at a random one; all three are learned with the rest.

    Args:
        gain: g at the start; above 0 for margins that are 0 themselves then.
    """

    centre: Tensor
    spread: Tensor
    started: Tensor

    def __init__(self, *, gain: float = 0.0) -> None:
        super().__init__()
        self.gain, self.weight, self.shift = (nn.Parameter(torch.full((), value)) for value in (gain, 0.0, 0.0))
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(self, margins: Tensor, scores: Tensor) -> Tensor:
        """Return the joint margins, of the shape of both arguments."""
        return self.gain * margins + self.weight * ((scores - self.centre) / self.spread).nan_to_num(nan=0.0) + self.shift

    def start(self, scores: FloatArray, labels: npt.NDArray[np.int8], rows: Ragged, loss: str) -> None:
        """Take mean, spread, weight and shift from the training pairs, unless that was done by an earlier training.

        Args:
            scores: ``[total]`` of the other model.
            labels: ``[total]``, 1 for a click.
            rows: the candidates, for a loss over lists.
            loss: ``pointwise``, ``pairwise`` or ``listwise``; the last two start alike.

        Raises:
            DataError: no list has both a click and another candidate, which a loss over lists needs; all labels are alike; or the model
                knows none of the items.
        """
        if self.started:
            return
        known = scores[~np.isnan(scores)]
        if not len(known):
            raise DataError("the model whose scores training starts from knows none of the candidates: train it on these items")
        centre, spread = float(known.mean()), float(known.std()) or 1.0
        values = np.nan_to_num((scores - centre) / spread, nan=0.0)
        kind: RankLoss = "pointwise" if loss == "pointwise" else "listwise"
        (weight,), shift = fit_with_intercept(values[:, None], labels, rows, l2=_L2, loss=kind)
        with torch.no_grad():
            for part, value in ((self.centre, centre), (self.spread, spread), (self.weight, weight), (self.shift, shift)):
                part.fill_(value)
            self.started.fill_(True)

    @torch.no_grad()
    def join(self, margins: FloatArray, scores: FloatArray) -> FloatArray:
        """Return what `forward` does of ``[n]`` numbers, in float64."""
        gain, weight, shift, centre, spread = (float(x) for x in (self.gain, self.weight, self.shift, self.centre, self.spread))
        return gain * margins + weight * np.nan_to_num((scores - centre) / spread, nan=0.0) + shift

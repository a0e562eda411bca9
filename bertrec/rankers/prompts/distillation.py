"""A teacher beside the labels: the prompt learns to order a list as another model does, which is there in training alone.

Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", over the candidates of a list.
"""

from __future__ import annotations

import torch
from torch import Tensor


def distillation_loss(margins: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    r"""Return the mean over lists of :math:`KL(softmax(t/τ) \,‖\, softmax(m))`; 0 where no list has two known scores.

    Args:
        margins: ``[u, g]`` of the prompt's answers.
        teacher: ``[u, g]`` scores; NaN where there is no candidate, or one that the teacher does not know: such places are left out.
        temperature: τ; the smaller, the more the teacher's first place counts.
    """
    known = ~torch.isnan(teacher)
    lists = known.sum(dim=1) > 1
    margins, teacher, known = margins[lists], teacher[lists].to(margins.dtype), known[lists]
    wanted = (teacher / temperature).masked_fill(~known, float("-inf")).log_softmax(dim=1)
    found = margins.masked_fill(~known, float("-inf")).log_softmax(dim=1)
    gaps = (wanted.exp() * (wanted - found).masked_fill(~known, 0.0)).sum(dim=1)
    return gaps.sum() / max(len(gaps), 1)

"""What a ranker minimises over lists of labelled candidates: pointwise, pairwise or listwise, one option for every ranker."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

RankLoss = Literal["pointwise", "pairwise", "listwise"]
LOSSES_IN_WORDS = (
    "pointwise is the cross-entropy of each pair's label; pairwise that of a click being put above a negative of its list (RankNet, BPR); "
    "listwise the softmax of each click over all candidates of its list"
)
"""For the description of a setting ``loss``."""


def rank_loss(scores: Tensor, labels: Tensor, kind: RankLoss) -> Tensor:
    r"""Return a mean over pairs, over (click, negative) of one list, or over clicks; 0 where a batch has nothing to compare.

    .. math::
        \text{pointwise: } -y \log σ(s) - (1 - y) \log σ(-s), \quad
        \text{pairwise: } -\log σ(s^+ - s^-), \quad
        \text{listwise: } -\log \frac{e^{s^+}}{\sum_{s} e^{s}}

    The sum is over all candidates of the list. Where it holds several clicks, none of them is a negative of another (pairwise), and
    all stand below each one's fraction (listwise).

    Args:
        scores: ``[u, g]`` logits.
        labels: ``[u, g]``, 1 for a click, 0 for a negative, -1 for an empty place.
        kind: which of the three.
    """
    clicked, present = labels == 1, labels >= 0
    if kind == "pointwise":
        return binary_cross_entropy_with_logits(scores[present], labels[present].to(scores.dtype))
    if kind == "pairwise":
        pairs = clicked[:, :, None] & (labels == 0)[:, None, :]
        return softplus(scores[:, None, :] - scores[:, :, None])[pairs].sum() / pairs.sum().clamp(min=1)
    logs = scores.masked_fill(~present, float("-inf")).log_softmax(dim=1)[clicked]
    return -logs.sum() / max(len(logs), 1)

"""Losses over user and item vectors. Every masked logit is −inf, so that it adds exactly nothing to a denominator.

All of them take user vectors at the positions that have a target, ``user [positions, width]``, already scaled (see `similarity`), and
return the mean over positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

# Logits kept at once (float32: 512 MiB); beyond this the softmax is computed in chunks and its logits are recomputed for the gradient.
LOGITS_AT_ONCE = 1 << 27


def scaled(vectors: Tensor, similarity: str, temperature: float = 1.0) -> Tensor:
    """Prepare vectors for inner products: for ``cosine`` normalised and divided by ``temperature``, for ``dot`` unchanged."""
    if similarity == "dot":
        return vectors
    return functional.normalize(vectors, dim=-1) / temperature


def scores(user: Tensor, items: Tensor) -> Tensor:
    """Return ``[positions, items]`` inner products, never in half precision: at cosine / 0.07 a logit of 14 would lose its second digit."""
    with torch.autocast(user.device.type, enabled=False):
        return _at_least_single(user) @ _at_least_single(items).T


def paired_scores(user: Tensor, items: Tensor) -> Tensor:
    """Return ``[positions, k]`` inner products of ``user [positions, width]`` with ``items [positions, k, width]``, as `scores` does."""
    with torch.autocast(user.device.type, enabled=False):
        return torch.einsum("pw,pkw->pk", _at_least_single(user), _at_least_single(items))


def _at_least_single(vectors: Tensor) -> Tensor:
    return vectors.float() if vectors.dtype in (torch.float16, torch.bfloat16) else vectors


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

    Args:
        user: ``[positions, width]``.
        items: ``[n_items + 1, width]``; row 0 is padding and never a candidate.
        targets: ``[positions]`` inner item ids.
        candidates: ``[n_items + 1]`` bool; items that training must never see are False, so that they are not pushed down as negatives.
        repeats: which (position, item) pairs repeat an item of the history, with the bias to add there.
        smoothing: label smoothing over the candidates.
    """
    floor = torch.zeros(items.shape[0], device=user.device)
    floor[0] = -math.inf
    if candidates is not None:
        floor = floor.masked_fill(~candidates, -math.inf)
    step = max(1, LOGITS_AT_ONCE // items.shape[0])
    if user.shape[0] <= step:
        return _softmax_sum(user, items, targets, floor, repeats, smoothing) / user.shape[0]
    total = user.new_zeros((), dtype=torch.float32)
    for start in range(0, user.shape[0], step):
        rows = slice(start, start + step)
        part = repeats.rows(start, start + step) if repeats is not None else None
        total = total + checkpoint(_softmax_sum, user[rows], items, targets[rows], floor, part, smoothing, use_reentrant=False)
    return total / user.shape[0]


class Repeats:
    """Pairs (position, item) where the item stands in the history read so far, and the learned bias of such a pair.

    Attributes:
        row: ``[pairs]`` position numbers, not decreasing.
        item: ``[pairs]`` inner item ids; a pair stands once.
        bias: scalar tensor.
    """

    def __init__(self, row: Tensor, item: Tensor, bias: Tensor) -> None:
        self.row, self.item, self.bias = row, item, bias

    @classmethod
    def of_sequences(cls, inputs: Tensor, used: Tensor, bias: Tensor) -> Repeats:
        """Collect the pairs of a batch.

        Args:
            inputs: ``[batch, length]`` inner ids, 0 where padded.
            used: ``[batch, length]`` bool, the positions that have a target; position numbers count these in row order.
            bias: scalar tensor.
        """
        batch, position = used.nonzero(as_tuple=True)
        length = inputs.shape[1]
        read = torch.arange(length, device=inputs.device)[None, :] <= position[:, None]
        read = read & (_first_time(inputs)[batch]) & (inputs[batch] > 0)
        row, column = read.nonzero(as_tuple=True)
        return cls(row, inputs[batch[row], column], bias)

    def rows(self, start: int, stop: int) -> Repeats:
        """Return the pairs of positions ``start`` to ``stop``, numbered from 0."""
        keep = (self.row >= start) & (self.row < stop)
        return Repeats(self.row[keep] - start, self.item[keep], self.bias)

    def added_to(self, logits: Tensor) -> Tensor:
        """Return ``logits`` ``[positions, n_items + 1]`` with the bias added at the pairs."""
        return logits.index_put((self.row, self.item), self.bias.to(logits.dtype).expand(len(self.row)), accumulate=True)


def _first_time(inputs: Tensor) -> Tensor:
    same = inputs[:, :, None] == inputs[:, None, :]
    return ~same.tril(-1).any(dim=2)


def _softmax_sum(user: Tensor, items: Tensor, targets: Tensor, floor: Tensor, repeats: Repeats | None, smoothing: float) -> Tensor:
    logits = scores(user, items) + floor
    if repeats is not None:
        logits = repeats.added_to(logits)
    log_sum = logits.logsumexp(dim=-1)
    picked = logits.gather(1, targets[:, None]).squeeze(1)
    loss = (log_sum - picked).sum()
    if smoothing:
        # functional.cross_entropy would average over the −inf columns too; the mean here is over candidates alone.
        finite = floor.isfinite()
        uniform = (logits.masked_fill(~finite, 0.0).sum(dim=-1) / finite.sum() - log_sum).sum()
        loss = (1 - smoothing) * loss - smoothing * uniform
    return loss


def in_batch_softmax(
    user: Tensor, items: Tensor, targets: Tensor, *, log_q: Tensor, slots: Tensor, owner: Tensor, own: Tensor, debias: bool = True
) -> Tensor:
    """Softmax over the items of the batch, debiased by how likely an item is to be there (Yi et al., RecSys 2019; the loss of MoRec).

    Every slot of the batch that holds an item is a candidate. Slots that hold the same item have the same logit, so each distinct item
    stands once with the logarithm of its number of slots added, which is the same sum. The target stands once, and every other item of
    the user's own row of the batch is masked.

    Args:
        user: ``[positions, width]``.
        items: ``[distinct, width]``, the distinct items of the batch.
        targets: ``[positions]``, index into ``items``.
        log_q: ``[distinct]``, log of each item's share of training interactions.
        slots: ``[distinct]``, in how many slots of the batch the item stands.
        owner: ``[positions]``, the sequence that a position belongs to.
        own: ``[sequences, distinct]`` bool, the items of each sequence.
        debias: subtract ``log_q``.
    """
    logits = scores(user, items)
    if debias:
        logits = logits - log_q
    is_target = functional.one_hot(targets, items.shape[0]).bool()
    weighted = torch.where(is_target, logits, logits + slots.log())
    masked = weighted.masked_fill(own[owner] & ~is_target, -math.inf)
    return functional.cross_entropy(masked, targets)


def sampled_softmax(
    user: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    target_ids: Tensor,
    negative_ids: Tensor,
    log_q_positive: Tensor,
    log_q_negative: Tensor,
) -> Tensor:
    """Softmax over the target and shared sampled items with the log-Q correction (Bengio and Senécal, 2008).

    Args:
        user: ``[positions, width]``.
        positive: ``[positions, width]``, the targets' vectors.
        negative: ``[negatives, width]``, shared by all positions.
        target_ids: ``[positions]``; a negative that is the target of a position is masked there.
        negative_ids: ``[negatives]``.
        log_q_positive: ``[positions]``, log of the expected count of the target among the samples.
        log_q_negative: ``[negatives]``.
    """
    right = paired_scores(user, positive[:, None]) - log_q_positive[:, None]
    wrong = scores(user, negative) - log_q_negative
    wrong = wrong.masked_fill(target_ids[:, None] == negative_ids[None, :], -math.inf)
    logits = torch.cat([right, wrong], dim=1)
    return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def gbce(right: Tensor, wrong: Tensor, *, n_items: int, calibration: float) -> Tensor:
    """Generalised binary cross-entropy with k sampled negatives (Petrov and Macdonald, RecSys 2023, eq. 8 with β from t).

    ``−(β·log σ(s⁺) + Σ log(1 − σ(s⁻)))`` with ``α = k / (n_items − 1)`` and ``β = α·(t·(1 − 1/α) + 1/α)``.

    Args:
        right: ``[positions]`` scores of the targets.
        wrong: ``[positions, k]`` scores of the negatives; −inf where a negative must not count.
        n_items: size of the catalogue.
        calibration: t; 0 gives plain binary cross-entropy.
    """
    alpha = wrong.shape[1] / max(1, n_items - 1)
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    return -(beta * functional.logsigmoid(right) + functional.logsigmoid(-wrong).sum(dim=1)).mean()


def bpr(right: Tensor, wrong: Tensor) -> Tensor:
    """Bayesian personalised ranking (Rendle et al., UAI 2009): ``−mean log σ(s⁺ − s⁻)`` over the negatives that count.

    Args:
        right: ``[positions]``.
        wrong: ``[positions, k]``; −inf where a negative must not count.
    """
    counts = wrong.isfinite()
    gap = right[:, None] - wrong.masked_fill(~counts, 0.0)
    return -(functional.logsigmoid(gap) * counts).sum() / counts.sum().clamp(min=1)

"""Losses over user and item vectors. Every masked logit is −inf, so that it adds exactly nothing to a denominator.

All of them take user vectors at the positions that have a target, ``user [positions, width]``, already scaled (see
`bertrec.heads.similarity`), and return the mean over positions. The softmax over the whole catalogue is in `bertrec.heads.full_softmax`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from bertrec.heads.repeats import Repeats
from bertrec.heads.similarity import at_least_single, paired_scores, scaled, scores

_CELLS = 1 << 23
"""Logits of a block of positions of `pair_softmax`, beyond which no gradient is kept and each block is computed twice."""


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


def pair_softmax(
    user: Tensor,
    items: Tensor,
    targets: Tensor,
    *,
    slots: Tensor,
    repeats: Repeats | None = None,
    log_q: Tensor | None = None,
    more: Tensor | None = None,
) -> Tensor:
    """InfoNCE over the pairs of position and target of a batch: ``−mean_j log(e^{s_j·v_j} / Σ_{j'} e^{s_j·v_{j'}})``.

    A pair ``j' ≠ j`` whose target is the same item as that of ``j`` is no negative: its logit is −inf. Pairs of one item have one logit, so
    each distinct item stands once with the logarithm of its number of pairs added, which is the same sum; the target itself stands once.

    Args:
        user: ``[positions, width]``.
        items: ``[distinct, width]``.
        targets: ``[positions]``, index into ``items``.
        slots: ``[distinct]``, how many pairs have the item; one of 0 is nobody's negative.
        repeats: which (position, index into ``items``) pairs repeat an item of the history, with the bias to add there.
        log_q: ``[distinct]``, log of each item's share of training interactions, subtracted from its logits; None subtracts nothing.
        more: ``[positions, k]`` logits of further negatives, each of one position alone.
    """
    offsets, block = slots.to(at_least_single(user).dtype).log(), max(1, _CELLS // len(items))

    def of_block(start: int, stop: int) -> Tensor:
        logits, wanted = scores(user[start:stop], items), targets[start:stop]
        logits = logits if log_q is None else logits - log_q
        if repeats is not None:
            mine = (repeats.row >= start) & (repeats.row < stop)
            place = repeats.row[mine] - start, repeats.item[mine]
            logits = logits.index_put(place, repeats.bias.to(logits.dtype).expand(len(place[0])), accumulate=True)
        one = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, wanted[:, None], True)
        logits = torch.where(one, logits, logits + offsets)
        if more is not None:
            logits = torch.cat([logits, more[start:stop].to(logits.dtype)], dim=1)
        return functional.cross_entropy(logits, wanted, reduction="sum")

    if len(user) <= block:
        return of_block(0, len(user)) / len(user)
    parts = []
    for start in range(0, len(user), block):
        stop = min(start + block, len(user))
        parts.append(checkpoint(of_block, start, stop, use_reentrant=False, preserve_rng_state=False))
    return torch.stack(parts).sum() / len(user)


def info_nce(left: Tensor, right: Tensor, *, masked: Tensor | None = None) -> Tensor:
    """InfoNCE over a batch of pairs: ``−mean_i log(e^{left_i·right_i} / Σ_j e^{left_i·right_j})``.

    Args:
        left: ``[b, dim]``, scaled (see `bertrec.heads.similarity`).
        right: ``[b + m, dim]``; row ``i`` is the positive of ``left[i]``, and the last ``m`` rows are further negatives of all.
        masked: ``[b, b + m]`` bool, negatives that do not count; the diagonal always counts.
    """
    return _diagonal_softmax(scores(left, right), masked)


def _diagonal_softmax(logits: Tensor, masked: Tensor | None) -> Tensor:
    targets = torch.arange(len(logits), device=logits.device)
    if masked is not None:
        columns = torch.arange(logits.shape[1], device=logits.device)
        logits = logits.masked_fill(masked & (targets[:, None] != columns), -math.inf)
    return functional.cross_entropy(logits, targets)


def symmetric_info_nce(left: Tensor, right: Tensor, *, masked: Tensor | None = None, temperature: float = 0.05) -> Tensor:
    """InfoNCE over the cosines of a batch of pairs, the mean of both directions (van den Oord et al. 2018, eq. 4; CLIP's symmetric form).

    Every other pair's right side is a negative of a left side, and the other way round.

    Args:
        left: ``[b, dim]``.
        right: ``[b, dim]``; row ``i`` is the positive of ``left[i]``.
        masked: ``[2, b, b]`` bool, negatives that do not count: ``masked[0, i, j]`` of ``right[j]`` for ``left[i]``, ``masked[1, i, j]`` of
            ``left[j]`` for ``right[i]``. The diagonals always count.
        temperature: cosines are divided by it.
    """
    logits = scores(scaled(at_least_single(left), "cosine", temperature), scaled(at_least_single(right), "cosine"))
    one, other = (None, None) if masked is None else masked
    return (_diagonal_softmax(logits, one) + _diagonal_softmax(logits.T, other)) / 2


def info_nce_of_views(left: Tensor, right: Tensor, *, masked: Tensor | None = None, temperature: float) -> Tensor:
    """InfoNCE over the cosines of two views of each row of a batch (Chen et al., ICML 2020, NT-Xent; the contrast of CL4SRec and DuoRec).

    The positive of a view is the other view of its row; its negatives are both views of every other row.

    Args:
        left: ``[b, dim]``.
        right: ``[b, dim]``.
        masked: ``[b, b]`` bool, symmetric: rows that are no negatives of one another. The diagonal does not matter.
        temperature: cosines are divided by it.
    """
    both = torch.cat([at_least_single(left), at_least_single(right)])
    logits = scores(scaled(both, "cosine", temperature), scaled(both, "cosine"))
    rows = len(left)
    own = torch.eye(rows, dtype=torch.bool, device=left.device)
    unread = torch.zeros_like(own) if masked is None else masked & ~own
    blocks = torch.cat([torch.cat([unread | own, unread], dim=1), torch.cat([unread, unread | own], dim=1)])
    place = torch.arange(rows, device=left.device)
    return functional.cross_entropy(logits.masked_fill(blocks, -math.inf), torch.cat([place + rows, place]))


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

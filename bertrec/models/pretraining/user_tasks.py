"""What sequences say of users: PTUM's masked behaviour and next behaviours (Wu et al., Findings of EMNLP 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.errors import DataError
from bertrec.heads.similarity import scores
from bertrec.models.pretraining.config import PretrainConfig
from bertrec.models.pretraining.domains import Domains
from bertrec.models.pretraining.tasks import Task
from bertrec.models.pretraining.view import View


class MaskedTask(Task):
    """An item hidden in a sequence, told from ``pretrain.sampled`` ones of other users by the state at the sequence's end.

    ``−mean_i log(e^{u_i·v_i} / (e^{u_i·v_i} + Σ_k e^{u_i·n_{ik}}))``. Nothing says to the state which item was hidden.
    """

    @property
    def weight(self) -> float:
        """``pretrain.masked_weight``."""
        return self.config.masked_weight

    def forward(self, view: View) -> Tensor:
        """Return the loss of a batch."""
        rows = torch.arange(len(view.inputs), device=view.inputs.device)
        return told_from_others(view, rows, view.hidden.states, view.hidden.items, self.config.sampled)


class NextTask(Task):
    """The last K = ``pretrain.removed`` items, each predicted from the user's vector before all of them and an embedding of its place.

    ``−mean_{i,k} log(e^{(u_i+p_k)·v_{ik}} / (e^{(u_i+p_k)·v_{ik}} + Σ e^{(u_i+p_k)·n}))``. Sequences of K items or fewer are passed over.
    """

    @property
    def weight(self) -> float:
        """``pretrain.next_weight``."""
        return self.config.next_weight

    @classmethod
    def examine(cls, config: PretrainConfig, domains: Domains) -> list[str]:
        """See that each data set has a sequence that is long enough."""
        for part in domains.parts:
            if not (part.split.train.sequences.lengths > config.removed).any():
                least = f"no training sequence has {config.removed + 1} items, which the task next needs"
                raise DataError(f"{part.name}: {least} with pretrain.removed={config.removed}: set it to less, or leave the task out")
        return []

    def build(self, width: int) -> None:
        """Make the embeddings of the places."""
        self.positions = nn.Parameter(torch.empty(self.config.removed, width).normal_(0.0, 0.02))

    def forward(self, view: View) -> Tensor:
        """Return the loss of a batch."""
        rows, states, wanted = without_last(view, self.config.removed)
        users = (states[:, None] + self.positions).flatten(0, 1)
        return told_from_others(view, rows.repeat_interleave(self.config.removed), users, wanted.flatten(), self.config.sampled)


def without_last(view: View, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Take the last items off the sequences that have more than so many.

    Returns:
        The numbers of these sequences, ``[r]``, their states before what was taken off, ``[r, width]``, and that, oldest first, as rows of
        the view's items, ``[r, count]``.
    """
    lengths = (view.behaviours > 0).sum(1)
    rows = (lengths > count).nonzero(as_tuple=True)[0]
    left, own = lengths[rows] - count, view.behaviours[rows]
    column = torch.arange(own.shape[1], device=own.device)
    wanted = own.gather(1, left[:, None] + column[:count]) if len(rows) else own.new_zeros(0, count)
    if not len(rows):
        return rows, view.items.new_zeros(0, view.items.shape[1]), wanted
    return rows, view.network.newest_states(view.items, own * (column < left[:, None]), left), wanted


def told_from_others(view: View, rows: Tensor, states: Tensor, wanted: Tensor, count: int) -> Tensor:
    """Return the mean cross-entropy of an item among itself and others, 0 where the batch has no others.

    Args:
        view: the batch.
        rows: ``[r]``, the sequence that each is of.
        states: ``[r, width]`` of users, unscaled.
        wanted: ``[r]`` rows of the view's items.
        count: of the others, see `others`.
    """
    drawn, some = others(view, rows, count)
    candidates = torch.cat([wanted[some, None], drawn], dim=1)
    logits = scores(view.network.scaled_users(states[some]), view.network.scaled_items(view.items)).gather(1, candidates)
    losses = functional.cross_entropy(logits, torch.zeros_like(candidates[:, 0]), reduction="sum")
    return losses / max(1, len(candidates))


def others(view: View, rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw items of other sequences of the batch, of the same data set, as often as they stand there; none of the sequence's own.

    Args:
        view: the batch.
        rows: ``[r]``, the sequence that each draw is for.
        count: of items, drawn with replacement.

    Returns:
        Rows of the view's items, ``[s, count]``, and which of the ``r`` have any to draw from, ``[s]``.
    """
    slots = torch.bincount(view.behaviours.flatten(), minlength=len(view.items))
    slots[0] = 0
    met = slots.nonzero(as_tuple=True)[0]
    place = torch.zeros_like(slots).index_put_((met,), torch.arange(1, 1 + len(met), device=met.device))
    own = torch.zeros(len(view.behaviours), 1 + len(met), dtype=torch.bool, device=met.device).scatter_(1, place[view.behaviours], True)
    foreign = view.of_item[view.ids[met]] != view.domains[:, None]
    odds = slots[met].float() * ~(own[:, 1:] | foreign)
    some = (odds.sum(1) > 0)[rows].nonzero(as_tuple=True)[0]
    if not len(some):
        return rows.new_zeros(0, count), some
    return met[torch.multinomial(odds[rows[some]], count, replacement=True)], some

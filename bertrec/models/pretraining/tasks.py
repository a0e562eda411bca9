"""What is learned from sequences without any further label: tasks by name, on one view of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from bertrec.heads.draws import log_share
from bertrec.heads.full_softmax import full_softmax
from bertrec.heads.losses import info_nce, pair_softmax
from bertrec.heads.repeats import Repeats
from bertrec.models.pretraining.config import PretrainConfig
from bertrec.models.pretraining.domains import Domains
from bertrec.models.pretraining.view import View


class Task(nn.Module, ABC):
    """One thing to learn; ``pretrain.tasks`` names a class derived from it. Its own weights are trained too, and not saved.

    Args:
        config: the settings ``pretrain.*``.
        domains: what is learned from: catalogues with their attributes, training parts with what stands beside their interactions.

    Attributes:
        alters: whether it asks for altered items, see `bertrec.models.pretraining.sources.ItemSource`.
    """

    alters: ClassVar[bool] = False

    def __init__(self, config: PretrainConfig, domains: Domains) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def examine(cls, config: PretrainConfig, domains: Domains) -> list[str]:
        """Look at the data before anything is computed, and return what a user should know, one line each.

        Raises:
            ConfigError: a setting asks for what the data lack.
            DataError: the data have nothing for the task.
        """
        return []

    def build(self, width: int) -> None:
        """Make the weights that depend on the width of item and user vectors; called once."""

    @property
    def whole(self) -> bool:
        """Whether it needs the vectors of all items, not of the batch's alone."""
        return False

    @property
    def weight(self) -> float:
        """What its loss is multiplied by."""
        return 1.0

    @abstractmethod
    def forward(self, view: View) -> Tensor:
        """Return the loss of a batch, a scalar."""


class ItemTask(Task):
    """The next item, told from others: UniSRec's sequence–item task (Hou et al., KDD 2022, eq. 6).

    ``−mean_j log(e^{s_j·v_j} / Σ_{j'} e^{s_j·v_{j'}})`` over the pairs of position and target of a batch, whatever their data set. A
    pair whose target is the same item as that of ``j`` is no negative of it: its logit is −inf.
    """

    @property
    def whole(self) -> bool:
        """All items of a data set are negatives of each other."""
        return self.config.negatives == "domain"

    def forward(self, view: View) -> Tensor:
        """Return the loss of a batch."""
        bias = view.network.repeat_bias
        return _within_domains(view, bias) if self.whole else _within_batch(view, bias, debias=self.config.debias)


class MadeUpTask(ItemTask):
    """The next item, told from the other targets of the batch and from one made up of it: VQ-Rec's task (Hou et al., WWW 2023, eq. 8).

    ``−mean_j log(e^{s_j·v_j} / (Σ_{j'} e^{s_j·v_{j'}} + e^{s_j·ṽ_j}))``, where ṽ_j is the item j with most of its codes drawn anew.
    """

    alters = True

    @property
    def whole(self) -> bool:
        """The batch's own targets are the negatives."""
        return False

    def forward(self, view: View) -> Tensor:
        """Return the loss of a batch."""
        distinct, place = view.wanted.unique(return_inverse=True)
        made_up = view.network.scaled_items(view.source.altered(view.ids[distinct]))[place]
        more = (view.users * made_up).sum(1, keepdim=True)
        if self.config.debias:  # as often a target as the item that it was made of, so that both logits move alike
            more = more - log_share(view.network.counts, view.ids[view.wanted], view.network.counts.sum())[:, None]
        return _within_batch(view, view.network.repeat_bias, debias=self.config.debias, more=more)


def _within_batch(view: View, bias: Tensor | None, *, debias: bool, more: Tensor | None = None) -> Tensor:
    repeats = None if bias is None else Repeats.of_sequences(view.read, view.used, bias)
    slots = torch.bincount(view.wanted, minlength=len(view.ids))
    counts, items = view.network.counts, view.network.scaled_items(view.items)
    log_q = log_share(counts, view.ids, counts.sum()) if debias else None
    return pair_softmax(view.users, items, view.wanted, slots=slots, repeats=repeats, log_q=log_q, more=more)


def _within_domains(view: View, bias: Tensor | None) -> Tensor:
    """Return the mean over positions of the softmax over the data set's training items and the batch's targets of other data sets."""
    vectors, batch = view.network.scaled_items(view.items), view.used.nonzero(as_tuple=True)[0]
    met = torch.zeros_like(view.of_item, dtype=torch.bool)
    met[view.wanted] = True
    parts = []
    for number in view.domains.unique().tolist():
        candidates = torch.where(view.of_item == number, view.network.counts > 0, met)
        rows = view.domains == number
        mine = rows[batch]
        chosen = candidates.nonzero(as_tuple=True)[0]
        place = torch.zeros_like(view.of_item).index_put_((chosen,), torch.arange(1, len(chosen) + 1, device=chosen.device))
        some = torch.cat([vectors.new_zeros(1, vectors.shape[1]), vectors[chosen]])
        repeats = None if bias is None else Repeats.of_sequences(place[view.inputs[rows]], view.used[rows], bias)
        parts.append(full_softmax(view.users[mine], some, place[view.wanted[mine]], repeats=repeats) * mine.sum())
    return torch.stack(parts).sum() / len(view.users)


class SequenceTask(Task):
    """A sequence, told from others by itself with a part left out: UniSRec's sequence–sequence task (eq. 7).

    The form of `ItemTask` with ``s̃`` for ``v``, over the whole sequences of a batch. By a draw for the batch ``s̃`` is either the sequence
    without some of its items, the first one kept, or the one in which some items say less.
    """

    alters = True

    @property
    def weight(self) -> float:
        """The published 0.001, unless it is set."""
        return self.config.sequence_weight

    def forward(self, view: View) -> Tensor:
        """Return the loss of a batch."""
        network = view.network
        if torch.rand(()) < self.config.item_drop_batches:
            other = network.newest_states(view.items, *without_items(view.read, self.config.item_drop))
        else:
            other = network.newest_states(*self._saying_less(view), view.lengths)
        same = view.newest_targets[:, None] == view.newest_targets
        return info_nce(network.scaled_users(view.newest), network.scaled_items(other), masked=same)

    def _saying_less(self, view: View) -> tuple[Tensor, Tensor]:
        """Return item vectors, the altered ones of the inputs behind them, and the inputs as rows of both."""
        chosen = (torch.rand(view.read.shape, device=view.read.device) < self.config.word_drop) & (view.read > 0)
        rows, place = view.read[chosen].unique(return_inverse=True)
        read = view.read.clone()
        read[chosen] = place + len(view.items)
        return torch.cat([view.items, view.source.altered(view.ids[rows])]), read


def without_items(read: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Leave items out by chance, the first of a row never.

    Args:
        read: ``[batch, length]``, 0 where padded on the right.
        share: probability of an item to be left out.

    Returns:
        The same with what is left moved to the left, and how many are left, ``[batch]``.
    """
    kept = (torch.rand(read.shape, device=read.device) >= share) & (read > 0)
    kept[:, 0] = True
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)
    return (read * kept).gather(1, order), kept.sum(1)

"""A batch as tasks see it: what several of them need is computed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bertrec.heads.objectives import distinct_rows
from bertrec.models.pretraining.sources import ItemSource
from bertrec.models.sequential.network import Network


@dataclass(frozen=True, eq=False)
class View:
    """A batch of sequences of any data sets.

    Attributes:
        source: gives item vectors.
        inputs: ``[batch, length]`` inner ids of the joined table, oldest first, 0 where padded on the right.
        targets: ``[batch, length]`` the item after each input, 0 where there is none.
        of_item: ``[n_items + 1]`` the number of the data set of each item.
        whole: item vectors are computed of the whole table and not of the batch's items alone.
        places: ``[batch, length + 1]`` where the inputs and the last target stand among the training interactions of all data sets, from
            1 on, by which what stands beside them is found; 0 where padded on the right, None where nobody asks.
    """

    source: ItemSource
    inputs: Tensor
    targets: Tensor
    of_item: Tensor
    whole: bool = False
    places: Tensor | None = None

    @property
    def network(self) -> Network:
        """The network that is trained."""
        return self.source.network

    @cached_property
    def _numbered(self) -> tuple[Tensor, Tensor, Tensor]:
        if self.whole:
            return torch.arange(len(self.of_item), device=self.inputs.device), self.inputs, self.targets
        distinct, (inputs, targets) = distinct_rows(self.inputs, self.targets)
        return distinct, inputs, targets

    @property
    def ids(self) -> Tensor:
        """The inner ids of `items`, ``[m]``, ascending from 0."""
        return self._numbered[0]

    @property
    def read(self) -> Tensor:
        """The inputs as rows of `items`, ``[batch, length]``; 0 is padding."""
        return self._numbered[1]

    @cached_property
    def items(self) -> Tensor:
        """Unscaled item vectors, ``[m, width]``."""
        return self.source.vectors(None if self.whole else self.ids)

    @cached_property
    def states(self) -> Tensor:
        """What the head gives at every position, ``[batch, length, width]``."""
        return self.network.user_states(self.items, self.read)

    @cached_property
    def used(self) -> Tensor:
        """Which positions have a target, ``[batch, length]``; ``n`` of them."""
        return self.targets > 0

    @cached_property
    def users(self) -> Tensor:
        """Scaled user vectors at these positions, ``[n, width]``."""
        return self.network.scaled_users(self.states[self.used])

    @property
    def wanted(self) -> Tensor:
        """The targets of these positions as rows of `items`, ``[n]``."""
        return self._numbered[2][self.used]

    @cached_property
    def lengths(self) -> Tensor:
        """Inputs of each sequence, ``[batch]``."""
        return (self.inputs > 0).sum(1)

    @cached_property
    def newest(self) -> Tensor:
        """The state after each whole sequence, ``[batch, width]``."""
        return self.states[torch.arange(len(self.inputs), device=self.inputs.device), self.lengths - 1]

    @cached_property
    def newest_targets(self) -> Tensor:
        """The inner id that follows each whole sequence, ``[batch]``."""
        return self.targets[torch.arange(len(self.inputs), device=self.inputs.device), self.lengths - 1]

    @cached_property
    def domains(self) -> Tensor:
        """The number of the data set of each sequence, ``[batch]``."""
        return self.of_item[self.inputs[:, 0]]

    @cached_property
    def behaviours(self) -> Tensor:
        """Whole sequences, inputs and last target, as rows of `items`, padded on the right: the newest that the head can read."""
        return self._readable(torch.cat([self.read[:, :1], self._numbered[2]], dim=1))

    @cached_property
    def behaviour_places(self) -> Tensor | None:
        """Where `behaviours` stand among the training interactions, as `places`."""
        return None if self.places is None else self._readable(self.places)

    def _readable(self, columns: Tensor) -> Tensor:
        """Cut ``[batch, length + 1]`` to the newest of each row that the head has positions for."""
        most = self.network.settings.head.max_history
        if columns.shape[1] <= most:
            return columns
        return torch.where((self.lengths >= most)[:, None], columns[:, 1:], columns[:, :-1])

    @cached_property
    def hidden(self) -> Hidden:
        """Whole sequences with an item hidden in each, drawn once for all tasks of a batch."""
        return hide(self, (torch.rand(len(self.inputs), device=self.inputs.device) * (self.behaviours > 0).sum(1)).long())


@dataclass(frozen=True, eq=False)
class Hidden:
    """An item hidden in each sequence of a batch.

    Attributes:
        items: the hidden ones as rows of `View.items`, ``[batch]``.
        places: where they stand among the training interactions, ``[batch]``; None where the view has no places.
        states: the state at the end of each sequence without them, ``[batch, width]``.
    """

    items: Tensor
    places: Tensor | None
    states: Tensor


def hide(view: View, columns: Tensor) -> Hidden:
    """Hide the item at one of the ``columns [batch]`` of each sequence: zeros stand in its place.

    Other places of the same item in the sequence are hidden too, as any of them would tell it.
    """
    read, column = view.behaviours, columns[:, None]
    item = read.gather(1, column)
    zeros = view.items.new_zeros(1, view.items.shape[1])
    unread = read.masked_fill(read == item, len(view.items))
    states = view.network.newest_states(torch.cat([view.items, zeros]), unread, (read > 0).sum(1))
    places = view.behaviour_places
    return Hidden(item[:, 0], None if places is None else places.gather(1, column)[:, 0], states)

"""A match of candidates with the items of a history: by text, and by what the same users took; short lists, weighed on validation users.

The score of item i for user u gains  r(i) Σ_h (w(i) · .75^age(h) · T[h, i] + .9^age(h) · (v · B[h, i] + z · E[h, i]))  over the newest
items h of the history. T[h] are the items whose texts are nearest to that of h, B[h] those that the same users took most, E[h] those that
a linear model of both lends most to. All are zero beyond a short list and never negative, so that the best k lie among the k best inner
products and the items of these lists. w is one number for items that training saw and another for new ones, which have their text alone;
r is larger for items that training saw a few times. The vector of a new item is drawn towards those of the known items whose texts are
nearest to its own, and its inner product counts less than that of others: the adaptor knows the texts of training by heart, and is less
sure of a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from bertrec.core.lifts import Lifts
from bertrec.core.products import FloatArray, IntArray
from bertrec.core.ragged import Ragged
from bertrec.evaluation.ranks import BoolArray
from bertrec.models.sequential.lent import LentVectors
from bertrec.retrieval.neighbours import Neighbours

_PREFIX = "match."
_OFTEN = 8
_LISTS = ("text", "behaviour", "solved")


@dataclass(frozen=True)
class Weights:
    """What a strength of 1 adds to a score: about that of the first neighbour of a list.

    Attributes:
        text: of a near text, for items that training saw.
        new_text: of a near text, for new items.
        new: added for a new item with a near text in the history; below 0 it asks for a nearness before anything is added.
        behaviour: of an item that the same users took.
        solved: of an item that the linear model lends to.
        seldom: what is added to all this for items that training saw a few times, as a share of it.
        new_vector: what the inner product of a new item counts; that of an item that training saw counts 1.
        new_near: share of a new item's vector that the known items with the nearest texts make.
        whole_from: strength from which ``new`` is added whole; below it a part is, where it is above 0. 0 adds it whole however near.
    """

    text: float = 0.0
    new_text: float = 0.0
    new: float = 0.0
    behaviour: float = 0.0
    new_vector: float = 1.0
    solved: float = 0.0
    seldom: float = 0.0
    new_near: float = 0.0
    whole_from: float = 0.0

    def with_(self, **changes: float) -> Self:
        """Return the weights with some replaced."""
        return replace(self, **changes)

    def lift_of_text(self, strengths: FloatArray, new: BoolArray) -> FloatArray:
        """Return what near texts add, never below 0, ``[pairs]``.

        Args:
            strengths: of the pairs.
            new: which of the pairs have a new item.
        """
        added: FloatArray | float = self.new
        if self.new > 0 and self.whole_from:
            added = self.new * np.minimum(strengths / np.float32(self.whole_from), 1)
        lifts: FloatArray = np.maximum(np.where(new, self.new_text * strengths + added, self.text * strengths), 0).astype(np.float32)
        return lifts

    def rise(self, seldom: FloatArray) -> FloatArray:
        """Return what all lifts of items are multiplied by, ``[pairs]``.

        Args:
            seldom: of the pairs' items, as `seldom_of` says.
        """
        return np.float32(1) + np.float32(self.seldom) * seldom


def seldom_of(counts: IntArray) -> FloatArray:
    """Return how far each item is one that training saw seldom: 1 for once, a half at eight times, 0 for many and for none.

    Args:
        counts: how often training holds each item, ``[n_items + 1]``.

    >>> seldom_of(np.array([0, 1, 4, 8, 16])).round(2).tolist()
    [0.0, 1.0, 0.94, 0.5, 0.06]
    """
    share = 1 / (1 + (counts / _OFTEN) ** 4)
    return np.where(counts > 0, share, 0).astype(np.float32)


@dataclass(frozen=True)
class Match:
    """The lists of one catalogue and their weights.

    Attributes:
        text: nearest texts; None for a model without text.
        behaviour: what the same users took; None for a model without ids.
        solved: what the linear model lends to; None for a model without ids, and in a large catalogue.
        trained: ``[n_items + 1]``, which items training saw.
        seldom: ``[n_items + 1]``, see `seldom_of`.
        lent: what known items lend to the vectors of new ones; None where they lend nothing.
        weights: of the lists.
        max_history: how many of the newest items of a history are looked at.
        text_decay: what an item's nearest texts count for each step that the item is older.
        decay: the same of an item's other lists.
    """

    text: Neighbours | None
    behaviour: Neighbours | None
    trained: BoolArray
    weights: Weights = Weights()
    max_history: int = 20
    text_decay: float = 0.75
    decay: float = 0.9
    solved: Neighbours | None = None
    seldom: FloatArray | None = None
    lent: LentVectors | None = None

    def parts(self, histories: Ragged) -> tuple[Lifts, Lifts, Lifts]:
        """Return the strengths of near texts, of common behaviour and of the linear model for each history, without weights."""
        recent = histories.last(self.max_history)
        none = Lifts.constant(Ragged.from_lengths(np.zeros(0, np.int64), np.zeros(len(recent), np.int64)), 0.0)

        def lent(lists: Neighbours | None, decay: float) -> Lifts:
            return none if lists is None else lists.lifts(recent, decay=decay, form="sum")

        return lent(self.text, self.text_decay), lent(self.behaviour, self.decay), lent(self.solved, self.decay)

    def lifts(self, histories: Ragged) -> Lifts:
        """Return what the lists add to the scores of each history's candidates."""
        return self.weighed(*self.parts(histories))

    def weighed(self, text: Lifts, behaviour: Lifts, solved: Lifts) -> Lifts:
        """Return `lifts` from the three `parts`."""
        values = [
            self.weights.lift_of_text(text.values, ~self.trained[text.items.values]),
            np.float32(self.weights.behaviour) * behaviour.values,
            np.float32(self.weights.solved) * solved.values,
        ]
        parts = zip((text, behaviour, solved), values, strict=True)
        return Lifts.joined([replace(part, values=value * self.rise(part.items.values)) for part, value in parts])

    def served(self, own: FloatArray, items: IntArray) -> FloatArray:
        """Return the vectors of new items as they are served, ``[m, d]``.

        Args:
            own: what their texts alone make, ``[m, d]``.
            items: ``[m]`` inner ids.
        """
        return np.float32(self.weights.new_vector) * (own + np.float32(self.weights.new_near) * self.towards_known(own, items))

    def towards_known(self, own: FloatArray, items: IntArray) -> FloatArray:
        """Return the way from these vectors to what known items lend, ``[m, d]``; 0 where they lend nothing. Args: as `served`."""
        return np.zeros_like(own) if self.lent is None else self.lent.towards(own, items)

    def rise(self, items: IntArray) -> FloatArray:
        """Return what the lifts of these items are multiplied by."""
        return np.ones(len(items), np.float32) if self.seldom is None else self.weights.rise(self.seldom[items])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return lists and weights as tensors, to be saved with a model; which items training saw the model itself says."""
        w = self.weights
        numbers = [w.text, w.new_text, w.new, w.behaviour, self.max_history, self.text_decay, self.decay, w.new_vector]
        numbers += [w.solved, w.seldom, w.new_near, w.whole_from]
        state = {f"{_PREFIX}numbers": torch.tensor(numbers, dtype=torch.float64)}
        if self.seldom is not None:
            state[f"{_PREFIX}seldom"] = torch.from_numpy(self.seldom)
        if self.lent is not None:
            state |= self.lent.state_dict()
        for name in _LISTS:
            if (lists := getattr(self, name)) is not None:
                state |= {f"{_PREFIX}{name}.{part}": value for part, value in lists.state_dict().items()}
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, torch.Tensor], trained: BoolArray) -> Self | None:
        """Take what `state_dict` gave; None where a model was saved without."""
        if f"{_PREFIX}numbers" not in state:
            return None
        lists = {}
        for name in _LISTS:
            start = f"{_PREFIX}{name}."
            own = {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
            lists[name] = Neighbours.from_state(own) if own else None
        text, new_text, new, behaviour, max_history, text_decay, decay, *later = state[f"{_PREFIX}numbers"].tolist()
        weights = Weights(text, new_text, new, behaviour, *later)  # former forms had fewer weights, and were as the others' defaults say
        numbers = (int(max_history), text_decay, decay)
        found = cls(
            lists["text"], lists["behaviour"], trained, weights, *numbers, solved=lists["solved"], lent=LentVectors.from_state(state)
        )
        seldom = state.get(f"{_PREFIX}seldom")
        return found if seldom is None else replace(found, seldom=seldom.numpy())


def split_state(state: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the state of the network and that of its match."""
    match = {name: value for name, value in state.items() if name.startswith(_PREFIX)}
    return {name: value for name, value in state.items() if name not in match}, match

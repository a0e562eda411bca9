"""A recommender with a match: when its lists are made and weighed, and where they go with the model."""

from __future__ import annotations

import copy
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np

from bertrec.core.lifts import Lifts
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.encoders.base import texts_warned_of
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.ranks import BoolArray
from bertrec.models.base import FloatArray
from bertrec.models.folder import SavedParts
from bertrec.models.item_vectors import ReadsItems
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.lent import LentVectors
from bertrec.models.sequential.match import Match, Weights, seldom_of
from bertrec.models.sequential.solved import solved_lists
from bertrec.models.sequential.tried import Tried
from bertrec.models.sequential.weighing import (
    COSTS,
    NewItemCosts,
    Told,
    held_back,
    parts_kept,
    sampled,
    tells_of_few,
    tells_of_new,
    wanting_new,
    weigh,
    weigh_new,
)
from bertrec.retrieval.neighbours import Neighbours

logger = logging.getLogger(__name__)

PROBE_SHARE = 1 / 3
"""Of a time limit, what the training takes that tells the weights of new items."""


class MatchingRecommender(ReadsItems):
    """What a trained recommender and its match have to do with one another."""

    config: ModelConfig
    _match: Match | None = None
    _new_item_costs: NewItemCosts | None = None
    _gone: BoolArray | None = None
    """Items that are in no training, where this one is to tell weights of new items: they are not ranked."""
    _told: Told | None = None
    _former: MatchingRecommender | None = None

    @abstractmethod
    def items_trained(self) -> BoolArray:
        """Return which items training saw, ``[n_items + 1]``."""

    @abstractmethod
    def whitened_texts(self) -> FloatArray | None:
        """Return the text vectors of the catalogue as the network reads them, ``[n_items, dim]``; None without text."""

    @abstractmethod
    def own_vectors(self) -> FloatArray:
        """Return what text and ID alone make of each item, ``[n_items + 1, width]``."""

    @abstractmethod
    def _forget(self) -> None:
        """Drop what was derived from the weights."""

    @property
    def match(self) -> Match | None:
        """What near texts and common behaviour add to scores; None before a fit, and where no validation users weighed it."""
        return self._match

    @property
    def behaviour_lists(self) -> Neighbours | None:
        """What the same users took; None where nothing weighed a match."""
        return None if self._match is None else self._match.behaviour

    def take_match(self, match: Match | None) -> None:
        """Serve with these lists from now on."""
        self._match = match
        self._forget()

    def without_new_weights(self) -> Self | None:
        """Return the model as it would serve with new items weighted as any; None without a match."""
        if self._match is None:
            return None
        other = copy.copy(self)
        other.take_match(replace(self._match, weights=self._match.weights.with_(new_text=0.0, new=0.0, new_vector=1.0, new_near=0.0)))
        return other

    def drop_match(self) -> None:
        """Serve inner products and the repeat bias alone from now on."""
        self._new_item_costs = None
        self.take_match(None)

    def keep_new_weights(self, former: MatchingRecommender) -> None:
        """Take the weights of new items from a former model in the next fits, instead of from a training of their own."""
        self._former = former

    def make_match(self, train: Interactions, validation: EvaluationSet, rules: Protocol, *, progress: bool) -> None:
        """Make the lists of a trained model and weigh them on validation users.

        Args:
            train: what the model was trained on.
            validation: the users.
            rules: whether seen items are masked.
            progress: show bars.
        """
        users = sampled(validation, self.config.train.seed)
        lists = self._lists(train, linear=self._gone is not None or tells_of_few(users.targets, train.item_counts))
        if lists is None:
            return
        tried = self._tried(lists, train, users, rules)
        if self._gone is not None:
            self._told = Told.of(tried, self._wanting_new(lists, train, validation, rules))
            return
        weights = weigh(tried, train.item_counts)
        if self.config.match.new_items in COSTS and tells_of_new(train, validation):
            weights = self._weigh_new(Told.of(tried, self._wanting_new(lists, train, validation, rules)), weights)
        elif self._former is not None and (match := self._former.match) is not None:
            weights = self._with_new(weights, match.weights)
            self._new_item_costs = self._former._new_item_costs
        elif found := self._probes(lists, self._parts_kept(train, validation), train.item_counts == 0, rules, progress=progress):
            weights = self._weigh_new(Told.joined(found), weights, whole=tried)
        self.take_match(replace(lists, weights=weights, lent=lists.lent if weights.new_near else None))

    def _wanting_new(self, lists: Match, train: Interactions, validation: EvaluationSet, rules: Protocol) -> Tried | None:
        users = wanting_new(train, validation, self.config.train.seed)
        return self._tried(lists, train, users, rules) if len(users) else None

    def _weigh_new(self, told: Told, weights: Weights, whole: Tried | None = None) -> Weights:
        """Return the weights with those of new items, and note what these gain and cost.

        Args:
            told: users who tell them.
            weights: for other items.
            whole: users of the whole training, where ``told`` are of others: what they can bear has the last word.
        """
        cost = COSTS[self.config.match.new_items]
        found = weigh_new(told, weights, cost=cost)
        held = found if whole is None else held_back(whole, told, found, cost=cost)
        self._new_item_costs = NewItemCosts.of(told, weights, held, held_back=held != found)
        return held

    @staticmethod
    def _with_new(weights: Weights, told: Weights) -> Weights:
        """Return weights with those of new items from elsewhere."""
        names = ("new_text", "new", "new_vector", "new_near", "whole_from")
        return weights.with_(**{name: getattr(told, name) for name in names})

    def probes(self, train: Interactions, validation: EvaluationSet | None) -> bool:
        """Say whether weights of new items are wanted, and only trainings without some items can tell them."""
        return validation is not None and bool(self._parts_kept(train, validation))

    def _parts_kept(self, train: Interactions, validation: EvaluationSet) -> list[tuple[Interactions, EvaluationSet]]:
        config = self.config
        told = self._gone is not None or self._former is not None or tells_of_new(train, validation)
        if told or config.match.new_items not in COSTS or not (self.reads_text and config.match.text):
            return []
        return parts_kept(train, validation, config.train.seed)

    def _probes(
        self, lists: Match, parts: Sequence[tuple[Interactions, EvaluationSet]], gone: BoolArray, rules: Protocol, *, progress: bool
    ) -> list[Told]:
        """Train half as long on each part, and return its users, and those of them who want an item that the part does not hold.

        Each has the kinds of ``lists``. Items of which the whole training has none, ``gone``, are no candidates: beside them a tenth more
        would be new.
        """
        settings = self.config.train
        seconds = PROBE_SHARE * settings.max_seconds / max(1, len(parts))
        half = {"train.epochs": max(1, self._length() // 2), "train.max_seconds": seconds, "encoder.tune": "frozen", "head.freeze": False}
        half |= {} if lists.solved is not None else {"match.solved": 0}
        told: list[Told] = []
        for number, (part, users) in enumerate(parts, 1):
            logger.info("weights of new items: training %d of %d, half as long, without a tenth of the items", number, len(parts))
            probe = type(self)(self.config.updated(half))
            probe._gone = gone
            probe._added = self.known_vectors() if self.takes_vectors else None  # no second reading of the file
            with texts_warned_of():
                probe.fit(part, validation=users, progress=progress, mask_seen=rules.mask_seen)
            told += [] if probe._told is None else [probe._told]
        return told

    def _length(self) -> int:
        """Return the epochs that the training took: to its best one, where validation ends it, else all."""
        log = self.train_log
        return log.best_epoch if log is not None and self.config.train.patience else self.config.train.epochs

    def _tried(self, lists: Match, train: Interactions, users: EvaluationSet, rules: Protocol) -> Tried:
        vectors, extra = self.user_vectors(users.histories), super().lifts(self.read_histories(users.histories))
        items = self.item_embeddings()
        if self._gone is not None:
            items[self._gone] = np.nan
        return Tried.of(lists, users, rules, train.item_counts, users=vectors, items=items, extra=extra)

    def _lists(self, train: Interactions, *, linear: bool = True) -> Match | None:
        """Return the lists of the catalogue, not weighed, with or without those of a linear model; None where there are none."""
        config, texts, behaviour, solved = self.config.match, self.whitened_texts(), None, None
        if "id" in self.config.item.input:
            if config.behaviour:
                behaviour = Neighbours.together(train.sequences, len(self.catalog), config.behaviour).scaled()
            if config.solved and linear:
                solved = solved_lists(train, texts, config.solved)
        near = self._near(texts, config.text)
        if near is None and behaviour is None and solved is None:
            return None
        numbers = (config.max_history, config.text_decay, config.decay)
        lent, seldom = None if near is None else self._lent_by(self), seldom_of(train.item_counts)
        return Match(near, behaviour, self.items_trained(), Weights(), *numbers, solved=solved, seldom=seldom, lent=lent)

    def _near(self, texts: FloatArray | None, nearest: int) -> Neighbours | None:
        """Return the lists of near texts, None without texts."""
        if texts is None or not nearest:
            return None
        return Neighbours.of(texts, nearest, cut=True, listed=self.catalog.listed[1:]).scaled()

    def _lent_by(self, source: MatchingRecommender) -> LentVectors | None:
        """Return what the items that ``source`` was trained on lend to the new items of this model, which has the same weights."""
        texts, known_texts = self.whitened_texts(), source.whitened_texts()
        if texts is None or known_texts is None:
            return None
        new, known = ~self.items_trained()[1:] & self.told, source.items_trained()[1:] & source.told
        return LentVectors.of(texts[new], np.flatnonzero(new) + 1, known_texts[known], source.own_vectors()[1:][known])

    def _lent_over(self, other: MatchingRecommender, origin: IntArray) -> LentVectors | None:
        """Return what is lent to new items after a move: the same as before where a text is as it was, else from the known items there.

        Args:
            other: the model before.
            origin: ``[n_items + 1]``, its inner ids of the items here, 0 for those that it lacks.
        """
        found, former = self._lent_by(other), None if other.match is None else other.match.lent
        texts, former_texts = self.whitened_texts(), other.whitened_texts()
        if former is None or texts is None or former_texts is None:
            return found
        rows = np.flatnonzero(np.isin(origin, former.items))
        same = rows[(texts[rows - 1] == former_texts[origin[rows] - 1]).all(axis=1)]
        taken = np.zeros_like(origin)
        taken[same] = origin[same]
        kept = former.over(taken)
        return found if kept is None else kept if found is None else kept.joined(found)

    def carry_match(self, other: MatchingRecommender) -> None:
        """Take the match of a model of the same weights over other items: near texts are found anew, the rest goes with the ids."""
        match = other.match
        if match is None:
            return
        origin = np.concatenate([[0], other.catalog.ids.encode(self.catalog.ids.ids)])
        near = self._near(self.whitened_texts(), 0 if match.text is None else match.text.items.shape[1])
        behaviour, solved = (None if lists is None else lists.over(origin) for lists in (match.behaviour, match.solved))
        if near is None and behaviour is None and solved is None:
            self.take_match(None)
        else:
            seldom = None if match.seldom is None else np.where(origin > 0, match.seldom[origin], np.float32(0))
            lent = self._lent_over(other, origin) if match.weights.new_near else None
            lists = replace(match, text=near, behaviour=behaviour, solved=solved, lent=lent)
            self.take_match(replace(lists, trained=self.items_trained(), seldom=seldom))
        self._new_item_costs = other._new_item_costs

    def lifts(self, read: Ragged) -> Lifts | None:
        """Return the repeat bias of the items read, and what the match adds."""
        own = super().lifts(read)
        if self._match is None:
            return own
        matched = self._match.lifts(read)
        return matched if own is None else Lifts.joined([own, matched])

    def served_new(self, own: FloatArray, items: IntArray) -> FloatArray:
        """Return vectors of items that training did not see as they are served, ``[m, d]``.

        Args:
            own: what their texts alone make, ``[m, d]``.
            items: ``[m]`` inner ids.
        """
        return own if self._match is None else self._match.served(own, items)

    @property
    def absorbed(self) -> str:
        """The weights, and the lists of what is taken together, where there are any."""
        lists = self._match is not None and (self._match.behaviour is not None or self._match.solved is not None)
        return "the weights and the lists of common behaviour" if lists else "the weights"

    @property
    def lifts_apart(self) -> str:
        """What vectors alone leave out of the score."""
        return "" if self._match is None else "the match with the history (near texts, common behaviour, linear model)"

    @property
    def users_at_once(self) -> int:
        """How many histories are scored at a time; fewer where the match lifts hundreds of items of each."""
        return super().users_at_once if self._match is None else 1 << 12

    @property
    def weights_in_words(self) -> str:
        """The weights of the match, and what those of new items gain and cost, a line each."""
        if self._match is None:
            return ""
        w = self._match.weights
        words = f"match: near texts {w.text:.3g}, common behaviour {w.behaviour:.3g}, linear model {w.solved:.3g}"
        words += f", all of it x {1 + w.seldom:.3g} for items seen once" if w.seldom else ""
        if self._match.text is not None:
            words += f"; new items: near texts {w.new_text:.3g}, offset {w.new:.3g}, inner product x {w.new_vector:.3g}"
            words += f", vectors {w.new_near:.0%} those of known items with near texts" if w.new_near else ""
        return words + (f"\n{self._new_item_costs.in_words}" if self._new_item_costs is not None else "")

    def saved_values(self) -> dict[str, Any]:
        """Return what new items gain and cost, beside what else is saved."""
        costs = None if self._new_item_costs is None else asdict(self._new_item_costs)
        return {**super().saved_values(), "new_item_costs": costs}

    def restore(self, parts: SavedParts) -> None:
        """Take what was saved."""
        super().restore(parts)
        costs: Mapping[str, Any] | None = parts.about.get("new_item_costs")
        self._new_item_costs = None if costs is None else NewItemCosts(**costs)

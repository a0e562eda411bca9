"""Validation users against a catalogue, kept so that any weights of a match are tried within milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from bertrec.core.distinct import among, distinct
from bertrec.core.lifts import Lifts
from bertrec.core.products import FloatArray, IntArray
from bertrec.core.ragged import Ragged
from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.evaluate import prepare
from bertrec.evaluation.metrics import Float64Array, ndcg
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.ranks import BoolArray, pair_keys, ranks_in_lists
from bertrec.models.best_items import BestItems
from bertrec.models.sequential.match import Match, Weights
from bertrec.retrieval.scan import place_best

_K = 10
NEAR = 0.5
"""The share of a new item's vector that its nearest known items make, `Weights.new_near`."""


@dataclass(frozen=True)
class Tried:
    """The pairs of users and items that can be among the ten best under any weights.

    These are the lifted items and, of all others, the ten of each user with the best inner products among the items that training saw, and
    the ten among the new ones, by their own vectors and by those that lean with `NEAR`: other weights change all inner products of new
    items alike.

    Attributes:
        pairs: ``n`` rows of items, ascending.
        products: inner products, ``[total]``.
        leaning: what they gain where a new item's vector is that of its nearest known items, ``[total]``; 0 for items that training saw.
        extra: what else is added, ``[total]``.
        near: which pairs are in the lists of near texts, ``[total]``.
        text: their strengths, ``[total]``.
        behaviour: strengths of common behaviour, ``[total]``.
        solved: strengths of the linear model, ``[total]``.
        least: ``[n]``: ten items that no weight moves score so high at least.
        targets: ``n`` rows.
        match: the lists.
    """

    pairs: Ragged
    products: FloatArray
    leaning: FloatArray
    extra: FloatArray
    near: BoolArray
    text: FloatArray
    behaviour: FloatArray
    solved: FloatArray
    least: FloatArray
    targets: Ragged
    match: Match

    @classmethod
    def of(
        cls,
        match: Match,
        validation: EvaluationSet,
        rules: Protocol,
        item_counts: IntArray,
        *,
        users: FloatArray,
        items: FloatArray,
        extra: Lifts | None,
    ) -> Self:
        """Make the users ready.

        Args:
            match: the lists.
            validation: the users.
            rules: whether seen items are masked.
            item_counts: ``[n_items + 1]`` of training.
            users: vectors, ``[n, d]``.
            items: vectors, ``[n_items + 1, d]``; NaN for items without a score.
            extra: what else is added to scores.
        """
        task = prepare(validation, rules, item_counts, None)
        text, behaviour, solved = match.parts(validation.histories)
        lifts = [text, behaviour, solved] if extra is None else [text, behaviour, solved, extra]
        search, n, width = BestItems(items), len(users), len(items)
        seen = distinct(pair_keys(task.seen, width)) if task.seen is not None else np.zeros(0, np.int64)
        lifted = distinct(np.concatenate([pair_keys(one.items, width) for one in lifts]))
        banned = _rows_of(distinct(np.concatenate([seen, lifted])), n, width)
        best, scores = search.search(users, _K, seen=banned, candidates=match.trained)
        new = np.flatnonzero(~match.trained)
        way = np.zeros_like(items)
        way[new] = match.towards_known(items[new], new)
        others = [one.search(users, _K, seen=banned, candidates=~match.trained)[0] for one in (search, BestItems(items + NEAR * way))]
        unlifted = [np.repeat(np.arange(n), _K) * width + found.ravel() for found in (best, *others)]
        keys = distinct(np.concatenate([lifted[~among(lifted, seen)], *unlifted]))
        scored = np.asarray(~np.isnan(items).any(axis=1))
        keys = keys[scored[keys % width] & (keys % width > 0)]
        pairs = _rows_of(keys, n, width)
        rows, columns = pairs.rows, pairs.values
        none = Lifts(pairs, np.zeros(len(columns), np.float32))
        return cls(
            pairs,
            search.lifted_scores(users, none),
            BestItems(way).lifted_scores(users, none),
            np.zeros(len(columns), np.float32) if extra is None else extra.of(rows, columns),
            among(keys, pair_keys(text.items, width)),
            text.of(rows, columns),
            behaviour.of(rows, columns),
            solved.of(rows, columns),
            scores[:, -1],
            task.targets,
            match,
        )

    def __len__(self) -> int:
        return len(self.targets)

    def best(self, weights: Weights) -> tuple[IntArray, FloatArray]:
        """Return the ten best items of each user and their scores, ``[n, 10]``; 0 and ``-inf`` where there are no more."""
        new = ~self.match.trained[self.pairs.values]
        products = self.products + np.float32(weights.new_near) * self.leaning
        scores = products * np.where(new, np.float32(weights.new_vector), np.float32(1)) + self.extra
        lifts = np.where(self.near, weights.lift_of_text(self.text, new), np.float32(0)) + np.float32(weights.behaviour) * self.behaviour
        lifts += np.float32(weights.solved) * self.solved
        scores += lifts if self.match.seldom is None else lifts * weights.rise(self.match.seldom[self.pairs.values])
        reached = scores >= self.least[self.pairs.rows]
        kept = self.pairs.where(reached)
        items, values = np.zeros((len(kept), _K), np.int64), np.full((len(kept), _K), -np.inf, np.float32)
        place_best(kept.rows, kept.values, scores[reached], items, values)
        return items, values

    def figures(self, weights: Weights) -> Float64Array:
        """Return NDCG@10 of each user, NaN for one without a target."""
        return ndcg(Ragged(ranks_in_lists(*self.best(weights), self.targets), self.targets.offsets), _K)

    def with_target(self, items: BoolArray) -> BoolArray:
        """Return ``[n]``: the users with a target among these items, ``[n_items + 1]``."""
        inside = self.targets.where(items[self.targets.values])
        return inside.lengths > 0


def _rows_of(keys: IntArray, n: int, width: int) -> Ragged:
    """Return what `pair_keys` made, ascending, as rows again."""
    rows, items = np.divmod(keys, width)
    return Ragged.from_lengths(items, np.bincount(rows, minlength=n))

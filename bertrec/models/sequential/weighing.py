"""Weigh the lists of a match on validation users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bertrec.core.lifts import Lifts
from bertrec.core.products import FloatArray, IntArray
from bertrec.core.ragged import Ragged
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.evaluate import prepare
from bertrec.evaluation.metrics import Float64Array, ndcg
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.ranks import BoolArray, unlisted
from bertrec.evaluation.slices import FEW_SHOT_MAX
from bertrec.evaluation.vector_ranks import RankedItems, rank_vectors
from bertrec.models.best_items import BestItems
from bertrec.models.sequential.match import Match, Weights

MOST_USERS = 4000
FEWEST_NEW, LEAST_SHARE = 20, 0.02
"""Users whose next item is new that a weight of new items is chosen by, and their share; with fewer it stays as it was."""
_K = 10
_FACTORS = (2.0, 1.4)
_STEPS = (1.0, 0.5)
_START = Weights(text=1.0, new_text=2.0, behaviour=3.0)

LEAST_FEW = 0.05
"""Share of the users from which those whose next item was seen a few times have a say of their own in the weights."""
COSTS = {"balanced": 0.03, "promote": 0.10}
"""What the users of other items may lose for new ones, by the name of the choice."""

Goal = Callable[[Weights], float]


@dataclass(frozen=True)
class Tried:
    """Validation users against a catalogue: what any weights of its lists reach.

    Attributes:
        vectors: of the users, ``[n, d]``.
        items: the candidates.
        targets: ``n`` rows.
        seen: what each user has seen, where that is masked.
        extra: what else is added to scores.
        match: the lists.
        parts: their strengths for each user.
    """

    vectors: FloatArray
    items: RankedItems
    targets: Ragged
    seen: Ragged | None
    extra: Lifts | None
    match: Match
    parts: tuple[Lifts, Lifts]

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
    ) -> Tried:
        """Make the users ready.

        Args:
            match: the lists.
            validation: the users.
            rules: whether seen items are masked.
            item_counts: ``[n_items + 1]`` of training.
            users: vectors, ``[n, d]``.
            items: vectors, ``[n_items + 1, d]``.
            extra: what else is added to scores.
        """
        task = prepare(validation, rules, item_counts, None)
        return cls(users, RankedItems.of(items, None), task.targets, task.seen, extra, match, match.parts(validation.histories))

    def figures(self, weights: Weights) -> Float64Array:
        """Return NDCG@10 of each user, NaN for one without a target."""
        ranks = rank_vectors(self.vectors, self.items, self.targets, seen=self.seen, lifts=self._lifts(weights))
        return ndcg(Ragged(unlisted(ranks, ~self.items.known[self.targets.values]), self.targets.offsets), _K)

    def lists(self, weights: Weights) -> IntArray:
        """Return the ten best items of each user, ``[n, 10]``, 0 where there are no more."""
        lifts = self._lifts(weights)
        vectors = np.where(self.items.known[:, None], self.items.vectors, np.float32(np.nan))
        return BestItems(vectors).search(self.vectors, _K, seen=self.seen, lifts=lifts)[0]

    def _lifts(self, weights: Weights) -> Lifts:
        lifts = replace(self.match, weights=weights).weighed(*self.parts)
        return lifts if self.extra is None else Lifts.joined([lifts, self.extra])

    def with_target(self, items: BoolArray) -> BoolArray:
        """Return ``[n]``: the users with a target among these items, ``[n_items + 1]``."""
        inside = self.targets.where(items[self.targets.values])
        return inside.lengths > 0


@dataclass(frozen=True)
class NewItemCosts:
    """What the weights of new items gain and cost on validation users, measured where a tenth of the items was kept from training.

    Attributes:
        others_before: NDCG@10 of users whose next item is no new one, without any weight for new items.
        others: the same with the weights.
        new_before: NDCG@10 of users whose next item is new, without.
        new: the same with.
        share_of_lists: share of the places of all lists of ten that new items hold.
        share_due: share of the users whose next item is new.
    """

    others_before: float
    others: float
    new_before: float
    new: float
    share_of_lists: float
    share_due: float

    @classmethod
    def of(cls, tried: Tried, plain: Weights, weights: Weights) -> NewItemCosts:
        """Measure them."""
        new = tried.with_target(~tried.match.trained)
        before, after = tried.figures(plain.with_(new_text=0.0, new=0.0)), tried.figures(weights)
        lists = tried.lists(weights)
        listed = float((~tried.match.trained[lists[lists > 0]]).mean()) if (lists > 0).any() else 0.0
        return cls(_mean(before[~new]), _mean(after[~new]), _mean(before[new]), _mean(after[new]), listed, float(new.mean()))

    @property
    def in_words(self) -> str:
        """All that in a line."""
        return (
            f"new items, measured on a tenth kept from a training of half the length: NDCG@10 {self.new_before:.4f} -> {self.new:.4f}; "
            f"of other items {self.others_before:.4f} -> {self.others:.4f}; "
            f"{self.share_of_lists:.1%} of all places go to new items, {self.share_due:.1%} of the users want one"
        )


def without_some(train: Interactions, validation: EvaluationSet, seed: int) -> tuple[Interactions, EvaluationSet]:
    """Return training and validation as if a tenth of the items had not been there; these stay among the validation targets."""
    there = np.flatnonzero(train.item_counts)
    gone = np.zeros(len(train.catalog) + 1, bool)
    gone[np.random.default_rng([seed, 1]).choice(there, max(1, len(there) // 10), replace=False)] = True
    histories = validation.histories
    left = EvaluationSet(validation.users, histories.where(~gone[histories.values]), validation.targets)
    return train.where(~gone[train.sequences.values]), left


def tells_of_new(train: Interactions, validation: EvaluationSet) -> bool:
    """Say whether enough validation users have an item next that training does not hold."""
    new = train.item_counts[validation.targets.values] == 0
    return _enough(len(np.unique(validation.targets.rows[new])), len(validation))


def _enough(new: int, users: int) -> bool:
    """Say whether users of new items are as many as where items are really new, and not the few whose item nobody happened to take."""
    return new >= max(FEWEST_NEW, LEAST_SHARE * users)


def sampled(validation: EvaluationSet, seed: int) -> EvaluationSet:
    """Return at most `MOST_USERS` of the users."""
    if len(validation) <= MOST_USERS:
        return validation
    return validation.take(np.sort(np.random.default_rng(seed).choice(len(validation), MOST_USERS, replace=False)))


def weigh(tried: Tried, item_counts: IntArray) -> Weights:
    """Return the weights for items that training saw; a list that helps nobody gets 0.

    What is made largest is NDCG@10 of all users and, where these are enough to tell, half of that of users whose next item training holds
    five times at most: a weight chosen by all alone would serve the popular items.
    """
    few = tried.with_target((item_counts > 0) & (item_counts <= FEW_SHOT_MAX))
    known = tried.with_target(tried.match.trained)
    free = [name for name, lists in (("text", tried.match.text), ("behaviour", tried.match.behaviour)) if lists is not None]

    share = 0.5 if few.sum() >= LEAST_FEW * len(few) else 0.0

    def goal(weights: Weights) -> float:
        figures = tried.figures(weights)
        return _mean(figures[known]) + share * _mean(figures[few])

    weights = _climb(Weights(**{name: getattr(_START, name) for name in free}), free, goal)
    weights = weights if goal(weights) > goal(Weights()) else Weights()
    return weights.with_(new_text=weights.text)


def weigh_new(tried: Tried, weights: Weights, *, cost: float) -> Weights:
    """Return the weights with those for new items that serve these best, where enough users have a new item next; else as they are.

    Args:
        tried: over a catalogue of which some items were kept from training.
        weights: for the other items.
        cost: share of their NDCG@10 that the users of other items may lose.
    """
    new = tried.with_target(~tried.match.trained)
    if tried.match.text is None or not _enough(int(new.sum()), len(new)):
        return weights
    least = (1 - cost) * _mean(tried.figures(weights.with_(new_text=0.0, new=0.0))[~new])

    def goal(one: Weights) -> float:
        figures = tried.figures(one)
        others = _mean(figures[~new])
        return _mean(figures[new]) if others >= least else others - least

    return _climb(weights.with_(new_text=max(weights.text, _START.new_text)), ["new_text", "new"], goal)


def _mean(figures: Float64Array) -> float:
    counted = figures[~np.isnan(figures)]
    return float(counted.mean()) if len(counted) else 0.0


def _climb(weights: Weights, names: list[str], goal: Goal) -> Weights:
    """Move one weight after another as long as the goal grows, then see which can be 0; ``new`` moves by steps, the others by factors."""
    best, known = goal(weights), {weights}
    for factor, step in zip(_FACTORS, _STEPS, strict=True):
        moved = True
        while moved:
            moved = False
            for name in names:
                for up in (True, False):
                    other = _moved(weights, name, factor, step, up=up)
                    if other in known:
                        continue
                    known.add(other)
                    if (value := goal(other)) > best:
                        best, weights, moved = value, other, True
    for name in names:
        if getattr(weights, name) and (value := goal(weights.with_(**{name: 0.0}))) >= best:
            best, weights = value, weights.with_(**{name: 0.0})
    return weights


def _moved(weights: Weights, name: str, factor: float, step: float, *, up: bool) -> Weights:
    value = getattr(weights, name)
    if name == "new":
        return weights.with_(new=value + (step if up else -step))
    return weights.with_(**{name: value * factor if up else value / factor})

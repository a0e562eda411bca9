"""Weigh the lists of a match on validation users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from bertrec.core.products import IntArray
from bertrec.core.ragged import Ragged
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.metrics import Float64Array
from bertrec.evaluation.ranks import BoolArray
from bertrec.evaluation.slices import FEW_SHOT_MAX
from bertrec.models.sequential.match import Weights
from bertrec.models.sequential.tried import NEAR, Tried

MOST_USERS = 4000
FEWEST_NEW, LEAST_SHARE = 20, 0.02
"""Users whose next item is new that a weight of new items is chosen by, and their share; with fewer it stays as it was."""
_FACTORS = (2.0, 1.4)
_START = Weights(text=1.0, behaviour=3.0, solved=3.0, seldom=0.5)
_VECTORS = (1.0, 0.7, 0.5, 0.35, 0.25)
_NEW_TEXTS = tuple(2 ** (power / 2) for power in range(11))
_OFFSETS = tuple(step / 2 for step in range(-8, 13))
"""What the inner product of a new item may count, the weights of its near texts, and the offsets: all of these are tried."""
_OFFSETS_AT_ONCE = tuple(step / 2 for step in range(-8, 9))
WHOLE_FROM = 1.0
"""An offset above 0 is added whole from the strength of a list's first item on; where few tell, it is added at once."""
ENOUGH = 300
"""Users whose next item is new. Where one part has fewer, more parts are kept from trainings of their own."""
MOST_PARTS, MOST_ROWS = 5, 100_000
"""How many parts at most, and interactions that their trainings read together; one part is always allowed."""

LEAST_FEW = 0.05
"""Share of the users from which those whose next item was seen a few times have a say of their own in the weights."""
COSTS = {"balanced": 0.04, "promote": 0.10}
"""What the users of other items may lose for new ones, by the name of the choice."""
_LEEWAY = 1.5
"""How many times each bound holds where the whole catalogue is ranked: the trainings that told it are shorter, and chance has a say."""

Goal = Callable[[Weights], float]


@dataclass(frozen=True)
class NewItemCosts:
    """What the weights of new items gain and cost on validation users, measured where tenths of the items were kept from training.

    Attributes:
        others_before: NDCG@10 of users whose next item is no new one, without any weight for new items.
        others: the same with the weights.
        new_before: NDCG@10 of users whose next item is new, without.
        new: the same with.
        share_of_lists: share of the places of all lists of ten that new items hold.
        share_due: share of the users whose next item is new.
        held_back: whether the weights were lowered since the whole catalogue holds more new items.
        trainings: that told all this, each without a tenth of its own.
    """

    others_before: float
    others: float
    new_before: float
    new: float
    share_of_lists: float
    share_due: float
    held_back: bool = False
    trainings: int = 1

    @classmethod
    def of(cls, told: Told, plain: Weights, weights: Weights, *, held_back: bool = False) -> NewItemCosts:
        """Measure them."""
        new = told.wants_new
        before, after = told.figures(plain.with_(new_text=0.0, new=0.0)), told.figures(weights)
        means = (_mean(before[~new]), _mean(after[~new]), _mean(before[new]), _mean(after[new]))
        return cls(*means, told.share_of_lists(weights), float(new.mean()), held_back, len(told.all))

    @property
    def in_words(self) -> str:
        """All that in a line."""
        one = self.trainings == 1
        kept = "a tenth kept from a training" if one else f"{self.trainings} tenths, each kept from a training"
        return (
            f"new items, measured on {kept} of half the length: their weights bring NDCG@10 "
            f"from {self.new_before:.4f} to {self.new:.4f}, and that of other items from {self.others_before:.4f} to {self.others:.4f}; "
            f"{self.share_of_lists:.1%} of all places go to new items, {self.share_due:.1%} of the users want one"
            + (" (held back, since the catalogue holds more items that nobody took)" if self.held_back else "")
        )


@dataclass(frozen=True)
class Told:
    """Users who tell what weights do to new items, of one or several trainings.

    Attributes:
        all: validation users of each training, over a catalogue of which some items were kept from it.
        wanting: those of each whose next item is new; more of them, where ``all`` are a sample.
    """

    all: Sequence[Tried]
    wanting: Sequence[Tried]

    @classmethod
    def of(cls, tried: Tried, wanting: Tried | None) -> Self:
        """Return the users of one training; None stands for no user."""
        return cls([tried], [] if wanting is None else [wanting])

    @classmethod
    def joined(cls, told: Sequence[Told]) -> Self:
        """Return the users of several trainings as one."""
        return cls([one for part in told for one in part.all], [one for part in told for one in part.wanting])

    @cached_property
    def wants_new(self) -> BoolArray:
        """Which of all users have a new item next."""
        found: BoolArray = np.concatenate([tried.with_target(~tried.match.trained) for tried in self.all])
        return found

    @property
    def enough(self) -> bool:
        """Whether they tell three numbers. Fewer tell two: the inner product counts as it is, and the larger weight has to gain more."""
        return sum(map(len, self.wanting)) >= ENOUGH

    def figures(self, weights: Weights) -> Float64Array:
        """Return NDCG@10 of all users."""
        return np.concatenate([tried.figures(weights) for tried in self.all])

    def figures_of_new(self, weights: Weights) -> Float64Array:
        """Return NDCG@10 of the users whose next item is new."""
        return np.concatenate([np.zeros(0), *(tried.figures(weights) for tried in self.wanting)])

    def share_of_lists(self, weights: Weights) -> float:
        """Return the share of the places of all lists of ten that new items hold."""
        found = [(tried.match.trained, tried.best(weights)[0]) for tried in self.all]
        new = np.concatenate([~trained[lists[lists > 0]] for trained, lists in found])
        return float(new.mean()) if len(new) else 0.0


def parts_kept(train: Interactions, validation: EvaluationSet, seed: int) -> list[tuple[Interactions, EvaluationSet]]:
    """Return training and validation without a tenth of the items, and without further tenths until enough users want one of them.

    None where too few do.
    """
    there = int(np.count_nonzero(train.item_counts))
    most = max(1, min(MOST_PARTS, there // 2, MOST_ROWS // max(1, len(train.sequences.values))))
    parts, wanting = [], 0
    for part in range(most if there > 2 else 0):  # a training takes two items at least
        kept = without_some(train, validation, seed, part)
        if wanted := len(_wanting_new(*kept)):
            parts.append(kept)
            wanting += wanted
        if wanting >= ENOUGH:
            break
    return parts if parts and wanting >= max(FEWEST_NEW, LEAST_SHARE * len(validation) * len(parts)) else []


def without_some(train: Interactions, validation: EvaluationSet, seed: int, part: int = 0) -> tuple[Interactions, EvaluationSet]:
    """Return training and validation as if a tenth of the items had not been there; these stay among the validation targets.

    Parts up to the ninth share no item.
    """
    there = np.flatnonzero(train.item_counts)
    rng, size, drawn = np.random.default_rng([seed, 1]), max(1, len(there) // 10), there[:0]
    for _ in range(part + 1):
        there = np.setdiff1d(there, drawn)
        drawn = rng.choice(there, min(size, len(there)), replace=False)
    gone = np.zeros(len(train.catalog) + 1, bool)
    gone[drawn] = True
    histories = validation.histories
    left = EvaluationSet(validation.users, histories.where(~gone[histories.values]), validation.targets)
    return train.where(~gone[train.sequences.values]), left


def tells_of_new(train: Interactions, validation: EvaluationSet) -> bool:
    """Say whether enough validation users have an item next that training does not hold.

    Enough is as many as where items are really new, and not the few whose item nobody happened to take.
    """
    return len(_wanting_new(train, validation)) >= max(FEWEST_NEW, LEAST_SHARE * len(validation))


def wanting_new(train: Interactions, validation: EvaluationSet, seed: int) -> EvaluationSet:
    """Return the users who have an item next that training does not hold, `MOST_USERS` at most."""
    return sampled(validation.take(_wanting_new(train, validation)), seed)


def _wanting_new(train: Interactions, validation: EvaluationSet) -> IntArray:
    new = train.item_counts[validation.targets.values] == 0
    rows: IntArray = np.unique(validation.targets.rows[new])
    return rows


def sampled(validation: EvaluationSet, seed: int) -> EvaluationSet:
    """Return at most `MOST_USERS` of the users."""
    if len(validation) <= MOST_USERS:
        return validation
    return validation.take(np.sort(np.random.default_rng(seed).choice(len(validation), MOST_USERS, replace=False)))


def tells_of_few(targets: Ragged, item_counts: IntArray) -> bool:
    """Say whether enough users have an item next that training holds five times at most, by their targets."""
    return _enough(_wanting_few(targets, item_counts))


def _enough(few: BoolArray) -> bool:
    return bool(few.sum() >= LEAST_FEW * len(few))


def _wanting_few(targets: Ragged, item_counts: IntArray) -> BoolArray:
    few = (item_counts > 0) & (item_counts <= FEW_SHOT_MAX)
    wanting: BoolArray = targets.where(few[targets.values]).lengths > 0
    return wanting


def weigh(tried: Tried, item_counts: IntArray) -> Weights:
    """Return the weights for items that training saw; a list that helps nobody gets 0.

    What is made largest is NDCG@10 of all users and, where these are enough to tell, a quarter of that of users whose next item training
    holds five times at most: a weight chosen by all alone would serve the popular items. Where these are too few, the linear model and the
    rise of items seldom seen have no weight: there the network knows the items, and the linear model repeats what it knows.
    """
    few, known = _wanting_few(tried.targets, item_counts), tried.with_target(tried.match.trained)
    share = 0.25 if _enough(few) else 0.0
    names = ("text", "behaviour", "solved", "seldom") if share else ("text", "behaviour")
    free = [name for name in names if getattr(tried.match, name) is not None]

    def goal(weights: Weights) -> float:
        figures = tried.figures(weights)
        return _mean(figures[known]) + share * _mean(figures[few])

    weights = _climb(Weights(**{name: getattr(_START, name) for name in free}), free, goal)
    weights = weights if goal(weights) > goal(Weights()) else Weights()
    return weights.with_(new_text=weights.text)


def weigh_new(told: Told, weights: Weights, *, cost: float) -> Weights:
    """Return the weights with those for new items that serve these best.

    For each weight of the inner product and of near texts the offset is the largest that can be borne: the others lose no more than
    ``cost``. A few users do not tell that cost from chance; with them new items may also hold as many places as users want one, and keep
    their own vectors, and an offset is added at once.

    Args:
        told: users of trainings that some items were kept from.
        weights: for the other items.
        cost: share of their NDCG@10 that the users of other items may lose.
    """
    best = plain = weights.with_(new_text=0.0, new=0.0)
    if told.all[0].match.text is None:
        return weights
    others, due = ~told.wants_new, float(told.wants_new.mean())
    least = (1 - cost) * _mean(told.figures(plain)[others])
    reached, enough = told.figures_of_new(best), told.enough

    def bearable(one: Weights) -> bool:
        return _mean(told.figures(one)[others]) >= least or (not enough and told.share_of_lists(one) <= due)

    forms = [weights.with_(new_vector=vector, new_near=NEAR, whole_from=WHOLE_FROM) for vector in _VECTORS] if enough else [weights]
    offsets = _OFFSETS if enough else _OFFSETS_AT_ONCE
    for form in forms:
        for text in _NEW_TEXTS:
            other = _last([form.with_(new_text=text, new=offset) for offset in offsets], bearable)
            if other is None:
                break
            gain = (figures := told.figures_of_new(other)) - reached
            if _mean(gain) > (0.0 if enough else _standard_error(gain)):
                best, reached = other, figures
    return best


def held_back(tried: Tried, told: Told, weights: Weights, *, cost: float) -> Weights:
    """Return the weights with an offset that can be borne in the catalogue as it is, which may hold many more new items.

    The bounds are those of `weigh_new`, with some leeway. Where no offset can be borne, near texts add nothing to new items.

    Args:
        tried: users of the whole training over all items.
        told: by whom ``weights`` were found.
        weights: found by `weigh_new`.
        cost: as there.
    """
    plain, due = weights.with_(new_text=0.0, new=0.0), float(told.wants_new.mean())
    whole = Told.of(tried, None)
    least = (1 - _LEEWAY * cost) * _mean(tried.figures(plain))

    def bearable(one: Weights) -> bool:
        return _mean(tried.figures(one)) >= least or (not told.enough and whole.share_of_lists(one) <= _LEEWAY * due)

    rising = [weights.with_(new=weights.new - step / 4 * weights.new_text) for step in range(16, -1, -1)]
    return _last(rising, bearable) or plain


def _last(rising: Sequence[Weights], bearable: Callable[[Weights], bool]) -> Weights | None:
    """Return the last of these that can be borne, None where none can: the higher, the less."""
    low, high = 0, len(rising)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if bearable(rising[middle]) else (low, middle)
    return rising[low - 1] if low else None


def _standard_error(figures: Float64Array) -> float:
    counted = figures[~np.isnan(figures)]
    return float(counted.std() / np.sqrt(max(1, len(counted))))


def _mean(figures: Float64Array) -> float:
    counted = figures[~np.isnan(figures)]
    return float(counted.mean()) if len(counted) else 0.0


def _climb(weights: Weights, names: list[str], goal: Goal) -> Weights:
    """Move one weight after another by a factor as long as the goal grows, then see which can be 0."""
    best, known = goal(weights), {weights}
    for factor in _FACTORS:
        moved = True
        while moved:
            moved = False
            for name in names:
                for by in (factor, 1 / factor):
                    other = weights.with_(**{name: getattr(weights, name) * by})
                    if other in known:
                        continue
                    known.add(other)
                    if (value := goal(other)) > best:
                        best, weights, moved = value, other, True
    for name in names:
        if getattr(weights, name) and (value := goal(weights.with_(**{name: 0.0}))) >= best:
            best, weights = value, weights.with_(**{name: 0.0})
    return weights

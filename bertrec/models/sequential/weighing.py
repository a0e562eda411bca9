"""Weigh the lists of a match on validation users, with some items playing new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bertrec.core.lifts import Lifts
from bertrec.core.products import FloatArray, IntArray
from bertrec.core.ragged import Ragged
from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.evaluate import prepare
from bertrec.evaluation.metrics import ndcg
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.ranks import BoolArray, unlisted
from bertrec.evaluation.vector_ranks import RankedItems, rank_vectors
from bertrec.models.sequential.match import Match, Weights

_MOST_USERS = 4000
_SHARE_NEW = 0.1
_K = 10
_FACTORS = (2.0, 1.4)
_STEPS = (1.0, 0.5)
_START = Weights(text=1.0, new_text=1.0, behaviour=3.0)

Goal = Callable[[Weights], float]


@dataclass(frozen=True)
class _Users:
    """Validation users against one state of the catalogue: their figure for any weights."""

    vectors: FloatArray
    items: RankedItems
    targets: Ragged
    seen: Ragged | None
    extra: Lifts | None
    match: Match
    parts: tuple[Lifts, Lifts]

    def figures(self, weights: Weights) -> np.ndarray:
        """Return NDCG@10 of each user, NaN for one without a target."""
        lifts = replace(self.match, weights=weights).weighed(*self.parts)
        if self.extra is not None:
            lifts = Lifts.joined([lifts, self.extra])
        ranks = rank_vectors(self.vectors, self.items, self.targets, seen=self.seen, lifts=lifts)
        return ndcg(Ragged(unlisted(ranks, ~self.items.known[self.targets.values]), self.targets.offsets), _K)


def sampled(validation: EvaluationSet, seed: int) -> EvaluationSet:
    """Return some of the users, all where they are few."""
    if len(validation) <= _MOST_USERS:
        return validation
    return validation.take(np.sort(np.random.default_rng(seed).choice(len(validation), _MOST_USERS, replace=False)))


def playing_new(trained: BoolArray, seed: int) -> BoolArray:
    """Draw the items that play new, ``[n_items + 1]``: a tenth of those that training saw."""
    there = np.flatnonzero(trained)
    playing = np.zeros(len(trained), bool)
    playing[np.random.default_rng(seed).choice(there, max(1, round(_SHARE_NEW * len(there))), replace=False)] = True
    return playing


def weigh(
    match: Match,
    validation: EvaluationSet,
    rules: Protocol,
    item_counts: IntArray,
    *,
    users: FloatArray,
    items: FloatArray,
    extra: Lifts | None,
    playing: tuple[BoolArray, FloatArray] | None,
    promote: bool = False,
) -> Match:
    """Return the match with the weights of the best NDCG@10 on validation users; a list that helps nobody gets 0.

    Args:
        match: the lists.
        validation: the users.
        rules: whether seen items are masked.
        item_counts: ``[n_items + 1]`` of training.
        users: their vectors, ``[n, d]``.
        items: item vectors, ``[n_items + 1, d]``.
        extra: what else is added to their scores.
        playing: which items play new, and the item vectors of that state; None for a model that new items have no vectors in.
        promote: whether users whose next item is new count as much together as all others; else everyone counts alike.
    """
    task = prepare(validation, rules, item_counts, None)
    parts = match.parts(validation.histories)
    now = _Users(users, RankedItems.of(items, None), task.targets, task.seen, extra, match, parts)
    free = [name for name, lists in (("text", match.text), ("behaviour", match.behaviour)) if lists is not None]
    start = Weights(**{name: getattr(_START, name) for name in free})
    weights = _climb(start, free, lambda one: float(np.nanmean(now.figures(one))))
    weights = weights.with_(new_text=weights.text)
    if playing is not None and match.text is not None:
        weights = _weigh_new(match, now, playing, weights, promote=promote)
    return replace(match, weights=weights)


def _weigh_new(match: Match, now: _Users, playing: tuple[BoolArray, FloatArray], weights: Weights, *, promote: bool) -> Weights:
    new, items = playing
    played = replace(match, trained=match.trained & ~new, behaviour=None if match.behaviour is None else match.behaviour.without(new))
    text, behaviour = now.parts
    kept = behaviour.where(~new[behaviour.items.values])
    then = replace(now, items=RankedItems.of(items, None), match=played, parts=(text, kept))
    of_new = np.add.reduceat(np.append(new[now.targets.values], False), now.targets.offsets[:-1]) > 0
    of_new &= now.targets.lengths > 0

    def goal(one: Weights) -> float:
        figures = then.figures(one)
        if not promote or not of_new.any():
            return float(np.nanmean(figures))
        return float(np.nanmean(figures[of_new]) + np.nanmean(figures[~of_new]))

    start = weights if weights.new_text else weights.with_(new_text=_START.new_text)
    return _climb(start, ["new_text", "new"], goal)


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
        return weights.with_(new=max(0.0, value + (step if up else -step)))
    return weights.with_(**{name: value * factor if up else value / factor})

"""Lists for groups: the scores or the vectors of several users joined into those of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect_whole
from bertrec.core.described import Described, Preview
from bertrec.core.errors import ConfigError, DataError, unknown_name
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.outgoing import Backend, frame_of
from bertrec.models.fallback import BoolArray, cold_rows
from bertrec.models.serving import FloatArray, Histories, Id, Served, Server
from bertrec.retrieval.checks import unit_length
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.rules import Plan, RuleBook, Rules

Join = Literal["average", "least-misery", "most-pleasure", "attention"]
JOINS: tuple[Join, ...] = get_args(Join)
On = Literal["scores", "vectors"]
ONS: tuple[On, ...] = get_args(On)
Seen = Literal["any", "all", "none"]
SEENS: tuple[Seen, ...] = get_args(Seen)
Matrix = npt.NDArray[np.float64]


class Grouped(Served, Protocol):
    """What a group asks of a model; see `bertrec.models.base.Recommender`."""

    def score_all(self, histories: Ragged, /) -> Iterator[FloatArray]:
        """Yield scores of all items, ``[b, n_items + 1]``."""

    def score(self, histories: Ragged, candidates: Ragged, /) -> list[FloatArray]:
        """Return the scores of candidates."""

    def serve(self, index: ItemIndex | None = None, /) -> Server:
        """Return what answers many calls."""


@dataclass(frozen=True, repr=False)
class GroupList(Described):
    """The best items for a group.

    Attributes:
        items: external ids, best first.
        scores: the joined scores that order them.
        members: for each item a score of each member: of a join of scores the standardised one, of a join of vectors
            the model's; None for a member of whom nothing is read.
        weights: what each member counts, adding up to 1; 0 for one of whom nothing is read. A minimum or maximum has
            none: there it is the share of the items at which the member decides.
        fallback: what ordered the list where nothing is read of anyone, such as ``popularity``.
        unknown: the ids in histories that are no items, by the number of the member from 0.
    """

    items: list[Id]
    scores: list[float]
    members: list[list[float | None]]
    weights: list[float]
    fallback: str | None = None
    unknown: dict[int, list[Id]] = field(default_factory=dict)

    def _facts(self) -> dict[str, object]:
        return {"members": len(self.weights), "k": len(self.items), "fallback": self.fallback}

    def _preview(self) -> Preview:
        names = [f"member {row}" for row in range(len(self.weights))]
        rows = ([item, *of] for item, of in zip(self.items, self.members, strict=True))
        return Preview.of(["item", *names], rows, len(self.items))

    def for_whom(self) -> list[int | None]:
        """Return for each item the number of the member, from 0, whose score is the highest, the first of equal ones."""
        return [of[0][0] if of else None for of in self.by_pleasure()]

    def by_pleasure(self) -> list[list[tuple[int, float]]]:
        """Return for each item the numbers and scores of the members who have one, the highest first, equal ones by number."""
        known = [[(row, value) for row, value in enumerate(of) if value is not None] for of in self.members]
        return [sorted(of, key=lambda one: -one[1]) for of in known]

    def to_frame(self, backend: Backend | None = None) -> Any:
        """Return a data frame with a row per item: ``rank``, ``item_id``, ``score``, ``member_0`` … with their scores."""
        columns = {f"member_{row}": [of[row] for of in self.members] for row in range(len(self.weights))}
        ranks = list(range(1, len(self.items) + 1))
        return frame_of({"rank": ranks, "item_id": self.items, "score": self.scores, **columns}, backend)


def recommend_group(
    model: Grouped,
    histories: Histories,
    k: int = 10,
    *,
    how: Join = "average",
    on: On = "scores",
    exclude_seen: Seen = "any",
    index: ItemIndex | None = None,
    rules: Rules | None = None,
) -> GroupList:
    """Return the ``k`` best items for a group of users, in whatever order they stand; one who comes twice counts twice.

    A member's scores are standardised over the items that can be listed, ``z = (score - mean) / deviation``, so that
    nobody counts more whose scores lie further apart. A member of whom nothing is read is left out; where that is
    everyone, popularity orders the list.

    Args:
        model: fitted.
        histories: one per member: external ids, or a ``Ragged`` of inner ids; oldest first.
        k: more than the catalogue holds means all of it.
        how: ``average`` of the members; ``least-misery``, what the least pleased one thinks; ``most-pleasure``, what
            the most pleased one thinks; ``attention``, an average whose weights are the softmax of each member's cosine
            with the mean of all.
        on: join ``scores``, all that a member's score is made of; or ``vectors`` of length 1, whose inner products an
            index can search, but which leave out what a model adds to single items.
        exclude_seen: leave out what ``any`` member has met, what ``all`` have (of those that have met something), or
            ``none``.
        index: search this index; goes with vectors.
        rules: which items may be listed, as for one user; a boost is added to each member's scores before they are
            standardised, and to the product of joined vectors as it is.

    Raises:
        ConfigError: an unknown word, vectors by minimum or maximum, or an index with scores.
        DataError: ``k`` is below 1, or there is no member.
    """
    _check(how, on, exclude_seen, index)
    k = expect_whole(k, "k", least=1, error=DataError)
    known, unknown = model.known_histories(histories)
    if not len(known):
        raise DataError("a group has at least one member: histories is empty")
    group = _Group(known, unknown, model.user_vectors(known), _met(known, exclude_seen, len(model.catalog)))
    if not len(group.read):
        return _by_popularity(model, group, k, rules)
    return _on_vectors(model, group, k, how, index, rules) if on == "vectors" else _on_scores(model, group, k, how, rules)


def _check(how: str, on: str, exclude_seen: str, index: ItemIndex | None) -> None:
    for what, word, words in (("join", how, JOINS), ("subject of a join", on, ONS), ("exclude_seen", exclude_seen, SEENS)):
        if word not in words:
            raise ConfigError(unknown_name(what, str(word), words))
    if on == "vectors" and how not in ("average", "attention"):
        raise ConfigError(f"vectors have no {how}: join scores, or take average or attention")
    if index is not None and on == "scores":
        raise ConfigError("an index gives no member's scores of all items: leave it out, or join vectors")


@dataclass(frozen=True)
class _Group:
    """The members: histories of inner ids, ids that are no items, vectors ``[m, d]``; what is left out, ``[n_items + 1]``."""

    known: Ragged
    unknown: dict[int, list[Id]]
    vectors: FloatArray
    met: BoolArray

    @property
    def read(self) -> IntArray:
        """The members whose vectors say something."""
        return np.flatnonzero(~cold_rows(self.vectors))

    def spread(self, values: npt.NDArray[np.floating]) -> list[list[float | None]]:
        """Return scores ``[read, items]`` as a row for each item, None for the other members and where there is no score."""
        every = np.full((values.shape[1], len(self.known)), np.nan)
        every[:, self.read] = values.T
        return [[None if np.isnan(one) else one for one in row] for row in every.tolist()]

    def weights(self, of: npt.NDArray[np.floating]) -> list[float]:
        """Return the weights ``[read]`` with 0 for the others."""
        every = np.zeros(len(self.known))
        every[self.read] = of
        return every.tolist()


def _met(known: Ragged, exclude_seen: str, n_items: int) -> BoolArray:
    """Return which items are left out, ``[n_items + 1]``."""
    pairs = np.unique(known.rows * (n_items + 1) + known.values)
    times = np.bincount(pairs % (n_items + 1), minlength=n_items + 1)
    needed = {"any": 1, "all": max(1, int((known.lengths > 0).sum())), "none": len(known) + 1}[exclude_seen]
    return np.asarray(times >= needed, bool)


def _by_popularity(model: Grouped, group: _Group, k: int, rules: Rules | None) -> GroupList:
    found = model.serve().recommend(Ragged.from_rows([[]]), k, rules=_without(model, group.met, rules))
    nobody = group.spread(np.zeros((0, len(found.items[0]))))
    return GroupList(found.items[0], found.scores[0], nobody, [0.0] * len(group.known), found.fallback[0], group.unknown)


def _without(model: Grouped, met: BoolArray, rules: Rules | None) -> Rules | None:
    """Return rules that leave out what was met, too."""
    gone = tuple(model.catalog.ids.decode(np.flatnonzero(met)))
    if not gone:
        return rules
    return Rules(exclude=gone) if rules is None else rules.model_copy(update={"exclude": rules.exclude + gone})


def member_weights(vectors: FloatArray, how: Join) -> Matrix:
    """Return what each member counts, ``[m]``: alike, or by attention to the mean of the vectors ``[m, d]``."""
    if how != "attention":
        return np.full(len(vectors), 1 / len(vectors))
    lengths = unit_length(vectors).astype(np.float64)
    middle = _mean_of_sorted(lengths)
    length = np.linalg.norm(middle)
    # Each product by itself: a matrix product may round a row by where it stands.
    cosines = (lengths * middle).sum(axis=1) / (length if length > 0 else 1.0)
    raised = np.exp(cosines - cosines.max())
    return cast(Matrix, raised / np.sort(raised).sum())


def _mean_of_sorted(rows: Matrix) -> Matrix:
    """Return the mean over rows, rounded alike whatever their order."""
    return cast(Matrix, np.sort(rows, axis=0).sum(axis=0) / len(rows))


def joined_scores(scores: Matrix, how: Join, weights: Matrix) -> Matrix:
    """Return the joined scores ``[n]`` of the members' ``[m, n]``, the same bits whatever the members' order."""
    if how == "least-misery":
        return cast(Matrix, scores.min(axis=0))
    if how == "most-pleasure":
        return cast(Matrix, scores.max(axis=0))
    if how == "average":
        return _mean_of_sorted(scores)
    return cast(Matrix, np.sort(weights[:, None] * scores, axis=0).sum(axis=0))


def standardised(scores: npt.NDArray[np.floating], boost: npt.NDArray[np.floating] | None = None) -> Matrix:
    """Return ``(score + boost - mean) / deviation`` of each row, ``[m, n]``, by mean and deviation without the boost.

    Equal scores become 0, a boost of them stays as it is.
    """
    exact = scores.astype(np.float64)
    middle, spread = exact.mean(axis=1, keepdims=True), exact.std(axis=1, keepdims=True)
    raised = exact - middle if boost is None else exact - middle + boost
    return cast(Matrix, raised / np.where(exact.max(axis=1, keepdims=True) > exact.min(axis=1, keepdims=True), spread, 1.0))


def _on_scores(model: Grouped, group: _Group, k: int, how: Join, rules: Rules | None) -> GroupList:
    scores = np.concatenate(list(model.score_all(group.known.take(group.read))))
    listable = np.flatnonzero(np.isfinite(scores).all(axis=0) & model.catalog.listed)
    plan = None if rules is None else RuleBook(model.catalog).plan(rules)
    boost = None if plan is None or plan.boost is None else plan.boost[listable]
    members = standardised(scores[:, listable], boost)
    weights = member_weights(group.vectors[group.read], how)
    values = joined_scores(members, how, weights)
    order = np.argsort(-values, kind="stable")
    open_ = ~group.met[listable] if plan is None else ~group.met[listable] & plan.allowed[listable]
    chosen = _picked(model, plan, listable, values, order[open_[order]], k)
    counts = group.weights(_shares(members[:, chosen], how, weights))
    items, of = model.catalog.ids.decode(listable[chosen]), group.spread(members[:, chosen])
    return GroupList(items, values[chosen].tolist(), of, counts, None, group.unknown)


def _shares(members: Matrix, how: Join, weights: Matrix) -> Matrix:
    """Return the weights, or of a minimum or maximum at what share of the items each member decides."""
    if how in ("average", "attention") or not members.shape[1]:
        return weights
    deciding = members.argmin(axis=0) if how == "least-misery" else members.argmax(axis=0)
    return np.bincount(deciding, minlength=len(members)) / members.shape[1]


def _picked(model: Grouped, plan: Plan | None, listable: IntArray, values: Matrix, order: IntArray, k: int) -> IntArray:
    """Return the places in ``listable`` that the list holds, of those in ``order``."""
    if plan is None or not plan.rules.reorders:
        return order[:k]
    items = listable[order]
    vectors = unit_length(model.item_embeddings()[items]) if plan.rules.diversity else None
    return order[np.array(plan.pick(items, values[order], k, vectors, whole=True), np.int64)]


def _on_vectors(model: Grouped, group: _Group, k: int, how: Join, index: ItemIndex | None, rules: Rules | None) -> GroupList:
    read = group.vectors[group.read]
    weights = member_weights(read, how)
    one = np.sort(weights[:, None] * unit_length(read).astype(np.float64), axis=0).sum(axis=0)
    nobody = Ragged.from_rows([[]])  # so that nothing is added that a history lifts
    server, ruled = model.serve(index), _without(model, group.met, rules)
    found = server.from_vectors(one[None].astype(np.float32), nobody, k, exclude_seen=False, rules=ruled)
    items = found.items[0]
    inner = model.catalog.ids.encode(items)
    scores = model.score(group.known.take(group.read), Ragged.from_rows([inner] * len(read)))
    of = group.spread(np.stack(scores).astype(np.float64))
    return GroupList(items, found.scores[0], of, group.weights(weights), found.fallback[0], group.unknown)

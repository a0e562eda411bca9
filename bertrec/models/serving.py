"""Serving: the best items for histories, from vectors and ids that are made ready once."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect, expect_whole
from bertrec.core.described import Described, Preview
from bertrec.core.distinct import among
from bertrec.core.errors import DataError, IndexFileError
from bertrec.core.lifts import Lifts
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.outgoing import Backend, frame_of
from bertrec.evaluation.ranks import pair_keys
from bertrec.models.best_items import BestItems, listable, merged
from bertrec.models.fallback import BoolArray, cold_rows, scored_by_popularity
from bertrec.retrieval.checks import unit_length
from bertrec.retrieval.rules import Plan, RuleBook, Rules

if TYPE_CHECKING:
    from bertrec.retrieval.index import ItemIndex
    from bertrec.retrieval.result import SearchResult
    from bertrec.retrieval.selection import Selection

Id = str | int
Histories = Ragged | Sequence[Sequence[Id]]
"""Rows of external ids, or of inner ones; oldest first."""
FloatArray = npt.NDArray[np.float32]
_BYTES_KEPT = 1 << 28  # beside the newest rules: what earlier ones mean, with copies of the vectors that they leave where these are few
_FETCHED = 8  # times k: what a list that is more than the best k items is chosen from at first
_PAIRS_AT_ONCE = 1 << 21  # of users and ranked items


class Served(Protocol):
    """What a server asks of a model; see `bertrec.models.base.Recommender`."""

    @property
    def catalog(self) -> ItemCatalog:
        """The items."""

    @property
    def model_hash(self) -> str:
        """SHA-256 over what the scores depend on."""

    def item_embeddings(self) -> FloatArray:
        """Return ``[n_items + 1, dim]``."""

    @property
    def popularity(self) -> FloatArray:
        """How often training held each item, ``[n_items + 1]``."""

    @property
    def fallback(self) -> str:
        """What orders the list of a user without a history."""

    @property
    def users_at_once(self) -> int:
        """How many users are scored at a time."""

    def known_histories(self, histories: Histories, /) -> tuple[Ragged, dict[int, list[Id]]]:
        """Return inner ids, and by row the ids that are no items."""

    def user_vectors(self, histories: Ragged, /) -> FloatArray:
        """Return ``[n, dim]``."""

    def lifts_of(self, users: FloatArray, histories: Ragged, /) -> Lifts | None:
        """Return what is added to the scores of some items of each user."""


@dataclass(frozen=True, repr=False)
class Recommendations(Described):
    """The best items of each user.

    Attributes:
        items: external ids, best first; shorter than k only where the catalogue has fewer.
        scores: the same shape.
        fallback: for each list None, or what ordered it where the model makes nothing of the history, such as ``popularity`` (the score of
            an item is then how often training holds it).
        unknown: the ids in histories that are no items, by the number of the history from 0; they were left out.
    """

    items: list[list[Id]]
    scores: list[list[float]]
    fallback: list[str | None] = field(default_factory=list)
    unknown: dict[int, list[Id]] = field(default_factory=dict)

    def _facts(self) -> dict[str, object]:
        longest = max((len(row) for row in self.items), default=0)
        marked = sum(one is not None for one in self.fallback)
        return {
            "users": len(self.items),
            "k": longest,
            "by_fallback": marked or None,
            "unknown_ids": sum(map(len, self.unknown.values())) or None,
        }

    def _preview(self) -> Preview:
        fallback = self.fallback or [None] * len(self.items)
        rows = ([row, ids, mark] for row, (ids, mark) in enumerate(zip(self.items, fallback, strict=True)))
        return Preview.of(["history", "items", "fallback"], rows, len(self.items))

    def to_frame(self, backend: Backend | None = None, *, users: Sequence[Id] | None = None) -> Any:
        """Return a new data frame with one row per recommended item: ``history``, ``rank``, ``item_id``, ``score``, ``fallback``.

        ``history`` is the number of the history from 0; ``rank`` counts from 1; ``fallback`` says what ordered a list instead of the model.

        Args:
            backend: ``pandas``, ``polars`` or ``pyarrow``; None takes pandas where it is installed, else PyArrow.
            users: one id per history, which then stands as ``user_id`` in place of ``history``.

        Raises:
            DataError: there are more or fewer users than histories.
        """
        if users is not None and len(users) != len(self.items):
            raise DataError(f"to_frame: {len(users)} users for {len(self.items)} histories")
        lengths = np.array([len(row) for row in self.items], np.int64)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        fallback = self.fallback or [None] * len(lengths)
        whose: dict[str, Any] = {"history": rows} if users is None else {"user_id": [users[row] for row in rows.tolist()]}
        ranks = np.concatenate([np.arange(1, length + 1) for length in lengths] or [lengths])
        items, scores = list(chain.from_iterable(self.items)), np.array(list(chain.from_iterable(self.scores)), np.float64)
        marks = [fallback[row] for row in rows.tolist()]
        return frame_of({**whose, "rank": ranks, "item_id": items, "score": scores, "fallback": marks}, backend)


@dataclass(frozen=True)
class _Users:
    """Users to make lists for: vectors, histories, what they may not be given again, and whose vectors say nothing."""

    vectors: FloatArray
    histories: Ragged
    seen: Ragged | None
    cold: BoolArray

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: IntArray) -> _Users:
        """Return some of them."""
        seen = None if self.seen is None else self.seen.take(rows)
        return _Users(self.vectors[rows], self.histories.take(rows), seen, self.cold[rows])


@dataclass
class _Under:
    """What rules mean for a server: where the items that they allow are searched, and how many of them a list can hold at most."""

    plan: Plan
    best: BestItems | None
    selection: Selection | None
    room: int
    popular: BestItems | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are held for them."""
        return self.plan.allowed.nbytes + sum(part.nbytes for part in (self.best, self.selection, self.popular) if part is not None)


class Server(Described):
    """A fitted model ready to answer: item vectors, ids and, where given, an index are taken once and kept.

    Made by `Recommender.serve`. It serves the model as it was then: make a new one after another fit.

    Args:
        model: fitted.
        index: search this index instead of all item vectors.

    Raises:
        IndexFileError: the index was built from another model.
    """

    def __init__(self, model: Served, index: ItemIndex | None = None) -> None:
        from bertrec.retrieval.index import ItemIndex  # and with it FAISS's settings, which few models need

        expect(index, ItemIndex, "serve: index", optional=True)
        self.model = model
        self.index = index
        self._ids = np.array([None, *model.catalog.ids.ids], dtype=object)
        self._ruled: dict[str, _Under] = {}
        self._lock = Lock()
        if index is None:
            self._best  # noqa: B018  # the vectors as they are now
        else:
            if index.model_hash and index.model_hash != model.model_hash:
                raise IndexFileError("the index was built from another model: build it again with  bertrec index build")
            self._place = np.zeros(len(self._ids), np.int64)
            inner = model.catalog.ids.encode(index.built_ids)
            self._place[inner] = np.arange(1, len(inner) + 1)
            self._place[0] = 0

    def _facts(self) -> dict[str, object]:
        return {"model": self.model, "index": self.index}

    def recommend(self, histories: Histories, k: int = 10, *, exclude_seen: bool = True, rules: Rules | None = None) -> Recommendations:
        """Return the ``k`` best items for each history, as `Recommender.recommend` does.

        Raises:
            DataError: ``k`` is below 1, the rules name what the items do not have, or seen items are to stay in a list from an index
                although the model lowers the scores of some: an index gives the best of the items as they are.
        """
        k = expect_whole(k, "k", least=1, error=DataError)
        known, unknown = self.model.known_histories(histories)
        vectors = self.model.user_vectors(known)
        return replace(self.from_vectors(vectors, known, k, exclude_seen=exclude_seen, rules=rules), unknown=unknown)

    def from_vectors(
        self, users: FloatArray, known: Ragged, k: int, *, exclude_seen: bool = True, rules: Rules | None = None
    ) -> Recommendations:
        """Return what `recommend` does for user vectors ``[b, d]`` that were made already of histories of inner ids."""
        k = expect_whole(k, "k", least=1, error=DataError)
        expect(known, Ragged, "from_vectors: known")
        expect(users, np.ndarray, "from_vectors: users", mend="what model.user_embeddings(histories) returns")
        if users.ndim != 2 or len(users) != len(known):
            raise DataError(f"from_vectors: users must be [{len(known)}, dimensions], a row per history, not {list(users.shape)}")
        rules = Rules() if rules is None and self._holds_withdrawn else rules
        under = None if rules is None else self._under(rules)
        items: list[list[Id]] = []
        scores: list[list[float]] = []
        cold = cold_rows(users)
        for start in range(0, len(users), self.model.users_at_once):
            stop = min(start + self.model.users_at_once, len(users))
            part = known.slice(start, stop)
            seen = part if exclude_seen else None
            if under is None:
                found, values = self._search(users[start:stop], part, k, seen)
                self._serve_cold(found, values, np.flatnonzero(cold[start:stop]), seen)
            else:
                numbers, values = self._listed(_Users(users[start:stop], part, seen, cold[start:stop]), k, under)
                found = self._names[numbers]
            with _no_collection():
                items += _cut(found, values)
                scores += _cut(values, values)
        return Recommendations(items, scores, [self.model.fallback if one else None for one in cold.tolist()])

    def _serve_cold(self, found: npt.NDArray[Any], values: FloatArray, rows: IntArray, seen: Ragged | None) -> None:
        """Put the most popular items into the lists ``rows`` of ``[b, k]`` ids and scores."""
        if not len(rows) or not found.shape[1]:
            return
        popular, ones = self._popular, np.ones((len(rows), 1), np.float32)
        best, scores = popular.search(ones, found.shape[1], seen=None if seen is None else seen.take(rows))
        found[rows, : best.shape[1]], values[rows] = self._ids[best], -np.inf
        values[rows, : best.shape[1]] = scores

    @cached_property
    def _book(self) -> RuleBook:
        """What makes plans of rules."""
        return RuleBook(self.model.catalog)

    @cached_property
    def _popular(self) -> BestItems:
        """The items that can be listed, by popularity."""
        vectors = scored_by_popularity(self.model.item_embeddings(), self.model.popularity)
        vectors[~self._held] = np.nan
        return BestItems(vectors)

    @cached_property
    def _best(self) -> BestItems:
        """All items by their vectors; with an index, only those of lifted items are looked at."""
        return BestItems(listable(self.model.item_embeddings(), self.model.catalog))

    def _search(self, users: FloatArray, histories: Ragged, k: int, seen: Ragged | None) -> tuple[Any, FloatArray]:
        lifts = self.model.lifts_of(users, histories)
        if self.index is not None:
            return self._search_index(self.index, users, k, seen, lifts)
        found, values = self._best.search(users, min(k, len(self._ids) - 1), seen=seen, lifts=lifts)
        return self._ids[found], values

    def _search_index(
        self, index: ItemIndex, users: FloatArray, k: int, seen: Ragged | None, lifts: Lifts | None
    ) -> tuple[Any, FloatArray]:
        result = index.search(users, k, exclude=self._excluded(index, seen))
        lifted = self._lifted(index, lifts, seen, None)
        if lifted is None:
            return result.padded_ids, result.scores
        found, values = self._merged(result, users, lifted, None)
        return self._names[found], values

    def _excluded(self, index: ItemIndex, seen: Ragged | None) -> Ragged | list[list[Id]] | None:
        """Return what was seen as the index knows it: inner ids of its build, which name no item that was added since, or else ids."""
        if seen is None:
            return None
        if index.only_built:
            return Ragged(self._place[seen.values], seen.offsets)
        return [self.model.catalog.ids.decode(row) for row in seen]

    def _lifted(self, index: ItemIndex, lifts: Lifts | None, seen: Ragged | None, under: _Under | None) -> Lifts | None:
        """Return what the index does not know of the scores of items that may be listed; None where that is nothing.

        Raises:
            DataError: a score is lowered.
        """
        # An index by cosine has scores of its own, to which nothing can be added.
        if lifts is None or index.metric == "cosine":
            return None
        lifted = self._in_index(lifts, seen)
        lifted = lifted if under is None else lifted.where(under.plan.allowed[lifted.items.values])
        if not len(lifted.values):
            return None
        if lifted.values.min() < 0:
            raise DataError(
                "an index holds no repeat bias: with seen items kept in, recommend without an index, or set head.repeat_bias=false "
                "where the model has that"
            )
        return lifted

    def _merged(self, result: SearchResult, users: FloatArray, lifted: Lifts, under: _Under | None) -> tuple[IntArray, FloatArray]:
        """Put lifted items in their places: they can only rise, so that all others of the best k are among the index's k."""
        numbers, k = self._numbers_of(result), result.positions.shape[1]
        again = lifted.of(np.repeat(np.arange(len(numbers)), k), numbers.reshape(-1)).reshape(numbers.shape) > 0
        others = np.where(again, np.float32(-np.inf), result.scores)
        raised = self._best.lifted_scores(users, lifted)
        if under is not None and under.plan.boost is not None:
            raised = raised + under.plan.boost[lifted.items.values]
        return merged(numbers, others, lifted.items, raised)

    def _numbers_of(self, result: SearchResult) -> IntArray:
        return np.where(result.positions >= 0, self._numbers[result.positions], 0)

    def _under(self, rules: Rules) -> _Under:
        """Return what rules mean here; those of the last few calls are kept, with the vectors that they leave."""
        expect(rules, Rules, "recommend: rules", mend="bertrec.Rules(filter=…)")
        with self._lock:
            under = self._ruled.pop(rules.key, None)
            if under is None:
                under = self._made(self._book.plan(rules))
                while self._ruled and sum(one.nbytes for one in self._ruled.values()) > _BYTES_KEPT:
                    del self._ruled[next(iter(self._ruled))]
            self._ruled[rules.key] = under
        return under

    def _made(self, plan: Plan) -> _Under:
        if self.index is None:
            best = self._best.within(plan.allowed, plan.boost)
            return _Under(plan, best, None, min(plan.room, len(best)))
        inside = self._numbers < len(self._ids)
        rows = np.where(inside, self._numbers, 0)
        allowed = plan.allowed[rows]
        allowed[~inside] = plan.allows(self._names[self._numbers[~inside]].tolist())
        selection = self.index.select(allowed, None if plan.boost is None else plan.boost[rows])
        return _Under(plan, None, selection, plan.room + int(allowed[~inside].sum()))

    def _listed(self, users: _Users, k: int, under: _Under) -> tuple[IntArray, FloatArray]:
        """Return the numbers and scores of the lists, ``[b, k]``, 0 and ``-inf`` where there are no more."""
        k = min(k, self._listable)
        if not under.plan.rules.reorders:
            return self._ranked(users, k, under)
        numbers, values = np.zeros((len(users), k), np.int64), np.full((len(users), k), -np.inf, np.float32)
        left, width = np.arange(len(users)), min(k * _FETCHED, self._listable)
        while len(left):
            step, unsettled = max(1, _PAIRS_AT_ONCE // max(1, width)), []
            for rows in (left[start : start + step] for start in range(0, len(left), step)):
                found, scores = self._ranked(users.take(rows), width, under)
                for row, ranked, ranked_scores in zip(rows.tolist(), found, scores, strict=True):
                    chosen = self._chosen(ranked, ranked_scores, k, under)
                    if chosen is None:
                        unsettled.append(row)
                        continue
                    numbers[row, : len(chosen[0])], values[row, : len(chosen[0])] = chosen
            left, width = np.array(unsettled, np.int64), min(4 * width, self._listable)
        return numbers, values

    def _chosen(self, items: IntArray, scores: FloatArray, k: int, under: _Under) -> tuple[IntArray, FloatArray] | None:
        """Return the list that a ranking begins with; None where it must be longer to tell."""
        there = np.isfinite(scores)
        whole = not there.all() or len(items) == self._listable
        items, scores = items[there], scores[there]
        vectors = self._directions(items) if under.plan.rules.diversity else None
        chosen = under.plan.pick(items, scores, min(k, under.room), vectors, whole=whole)
        return None if chosen is None else (items[chosen], scores[chosen])

    @cached_property
    def _listable(self) -> int:
        """How many items any list can hold; an empty index is asked for one, and says that it is empty."""
        return len(self._ids) - 1 if self.index is None else max(1, len(self.index))

    def _ranked(self, users: _Users, k: int, under: _Under) -> tuple[IntArray, FloatArray]:
        """Return the numbers and scores of the best items that the rules allow."""
        lifts = self.model.lifts_of(users.vectors, users.histories)
        if under.selection is None or self.index is None:
            assert under.best is not None
            numbers, values = under.best.search(users.vectors, k, seen=users.seen, lifts=lifts)
        else:
            result = self.index.search(users.vectors, k, exclude=self._excluded(self.index, users.seen), within=under.selection)
            lifted = self._lifted(self.index, lifts, users.seen, under)
            found = (self._numbers_of(result), result.scores) if lifted is None else self._merged(result, users.vectors, lifted, under)
            numbers, values = found[0], found[1].copy()
        rows = np.flatnonzero(users.cold)
        if len(rows):
            if under.popular is None:
                under.popular = self._popular.within(under.plan.allowed, under.plan.boost)
            seen = None if users.seen is None else users.seen.take(rows)
            numbers[rows], values[rows] = under.popular.search(np.ones((len(rows), 1), np.float32), k, seen=seen)
        return numbers, values

    def _directions(self, numbers: IntArray) -> FloatArray:
        """Return the vectors of items by their numbers, of length 1 or 0."""
        inside = numbers < len(self._ids)
        found = self._best.directions(np.where(inside, numbers, 0))
        if self.index is not None and not inside.all():
            found[~inside] = unit_length(self.index.vectors_at(numbers[~inside] - len(self._ids)))
        return found

    def _in_index(self, lifts: Lifts, seen: Ragged | None) -> Lifts:
        """Return the lifts, where not 0, of the items that the index holds and that may be listed."""
        kept = self._held[lifts.items.values] & (lifts.values != 0)
        if seen is not None:
            width = len(self._held)
            kept &= ~among(pair_keys(lifts.items, width), pair_keys(seen, width))
        return lifts.where(kept)

    @cached_property
    def _held(self) -> BoolArray:
        """Which inner ids the index can give, ``[n_items + 1]``."""
        held: BoolArray = np.asarray(np.isfinite(self.model.item_embeddings()).all(axis=1))
        if self.index is not None:
            there = np.zeros(len(held), bool)
            there[self.model.catalog.ids.encode(self.index.ids)] = True
            held = held & there
        return held & self.model.catalog.listed

    @cached_property
    def _holds_withdrawn(self) -> bool:
        """Whether the index can give items that no list may hold: vectors of theirs were added to it alone."""
        gone = self.model.catalog.withdrawn
        if self.index is None or gone is None:
            return False
        inner = self.model.catalog.ids.encode(self.index.ids)
        return bool(gone[inner[inner > 0] - 1].any())

    @cached_property
    def _numbers(self) -> IntArray:
        """A number for each position of the index: the inner id, or for an item outside the catalogue one beyond all of these."""
        assert self.index is not None
        inner = self.model.catalog.ids.encode(self.index.all_ids)
        return np.where(inner > 0, inner, len(self._ids) + np.arange(len(inner)))

    @cached_property
    def _names(self) -> npt.NDArray[Any]:
        """The ids that inner ids stand for, and with an index `_numbers`."""
        if self.index is None:
            return self._ids
        names = np.empty(len(self._ids) + len(self.index.all_ids), dtype=object)
        names[: len(self._ids)], names[len(self._ids) :] = self._ids, self.index.all_ids
        return names


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the cycle collector, which would walk all objects of the process, from running while many lists without cycles are made."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _cut(table: npt.NDArray[Any], scores: FloatArray) -> list[Any]:
    """Return the rows of ``table`` as lists, each up to where the scores end."""
    rows = table.tolist()
    counts = np.isfinite(scores).sum(axis=1)
    for row in np.flatnonzero(counts < scores.shape[1]).tolist():
        del rows[row][counts[row] :]
    return rows

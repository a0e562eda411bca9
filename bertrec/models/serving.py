"""Serving: the best items for histories, from vectors and ids that are made ready once."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect, expect_whole
from bertrec.core.distinct import among
from bertrec.core.errors import DataError, IndexFileError
from bertrec.core.lifts import Lifts
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.evaluation.ranks import pair_keys
from bertrec.models.best_items import BestItems, merged
from bertrec.models.fallback import BoolArray, cold_rows, scored_by_popularity

if TYPE_CHECKING:
    from bertrec.retrieval.index import ItemIndex

Id = str | int
Histories = Ragged | Sequence[Sequence[Id]]
"""Rows of external ids, or of inner ones; oldest first."""
FloatArray = npt.NDArray[np.float32]


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


@dataclass(frozen=True)
class Recommendations:
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


class Server:
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
        if index is None:
            self._best  # noqa: B018  # the vectors as they are now
        else:
            if index.model_hash and index.model_hash != model.model_hash:
                raise IndexFileError("the index was built from another model: build it again with  bertrec index build")
            self._place = np.zeros(len(self._ids), np.int64)
            inner = model.catalog.ids.encode(index.built_ids)
            self._place[inner] = np.arange(1, len(inner) + 1)
            self._place[0] = 0

    def recommend(self, histories: Histories, k: int = 10, *, exclude_seen: bool = True) -> Recommendations:
        """Return the ``k`` best items for each history, as `Recommender.recommend` does.

        Raises:
            DataError: ``k`` is below 1, or seen items are to stay in a list from an index although the model lowers the scores of some: an
                index gives the best of the items as they are.
        """
        k = expect_whole(k, "k", least=1, error=DataError)
        known, unknown = self.model.known_histories(histories)
        return replace(self.from_vectors(self.model.user_vectors(known), known, k, exclude_seen=exclude_seen), unknown=unknown)

    def from_vectors(self, users: FloatArray, known: Ragged, k: int, *, exclude_seen: bool = True) -> Recommendations:
        """Return what `recommend` does for user vectors ``[b, d]`` that were made already of histories of inner ids."""
        k = expect_whole(k, "k", least=1, error=DataError)
        expect(known, Ragged, "from_vectors: known")
        expect(users, np.ndarray, "from_vectors: users", mend="what model.user_embeddings(histories) returns")
        if users.ndim != 2 or len(users) != len(known):
            raise DataError(f"from_vectors: users must be [{len(known)}, dimensions], a row per history, not {list(users.shape)}")
        items: list[list[Id]] = []
        scores: list[list[float]] = []
        cold = cold_rows(users)
        for start in range(0, len(users), self.model.users_at_once):
            stop = min(start + self.model.users_at_once, len(users))
            part = known.slice(start, stop)
            found, values = self._search(users[start:stop], part, k, part if exclude_seen else None)
            self._serve_cold(found, values, np.flatnonzero(cold[start:stop]), part if exclude_seen else None)
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
    def _popular(self) -> BestItems:
        """The items that can be listed, by popularity."""
        vectors = scored_by_popularity(self.model.item_embeddings(), self.model.popularity)
        vectors[~self._held] = np.nan
        return BestItems(vectors)

    @cached_property
    def _best(self) -> BestItems:
        """All items by their vectors; with an index, only those of lifted items are looked at."""
        vectors, catalog = self.model.item_embeddings(), self.model.catalog
        return BestItems(vectors if catalog.withdrawn is None else np.where(catalog.listed[:, None], vectors, np.float32(np.nan)))

    def _search(self, users: FloatArray, histories: Ragged, k: int, seen: Ragged | None) -> tuple[Any, FloatArray]:
        lifts = self.model.lifts_of(users, histories)
        if self.index is not None:
            return self._search_index(self.index, users, k, seen, lifts)
        found, values = self._best.search(users, min(k, len(self._ids) - 1), seen=seen, lifts=lifts)
        return self._ids[found], values

    def _search_index(
        self, index: ItemIndex, users: FloatArray, k: int, seen: Ragged | None, lifts: Lifts | None
    ) -> tuple[Any, FloatArray]:
        exclude: Ragged | list[list[Id]] | None = seen
        if seen is not None:  # inner ids of the build name no item that was added to the index since
            built = index.only_built
            exclude = Ragged(self._place[seen.values], seen.offsets) if built else [self.model.catalog.ids.decode(row) for row in seen]
        result = index.search(users, k, exclude=exclude)
        # An index by cosine has scores of its own, to which nothing can be added.
        lifted = None if lifts is None or index.metric == "cosine" else self._in_index(lifts, seen)
        if lifted is None or not len(lifted.values):
            return result.padded_ids, result.scores
        if lifted.values.min() < 0:
            raise DataError(
                "an index holds no repeat bias: with seen items kept in, recommend without an index or set head.repeat_bias=false"
            )
        # What is lifted can only rise, so that all others of the best k are among the index's k.
        numbers = np.where(result.positions >= 0, self._numbers[result.positions], 0)
        again = lifted.of(np.repeat(np.arange(len(numbers)), k), numbers.reshape(-1)).reshape(numbers.shape) > 0
        others = np.where(again, np.float32(-np.inf), result.scores)
        found, values = merged(numbers, others, lifted.items, self._best.lifted_scores(users, lifted))
        return self._names[found], values

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
    def _numbers(self) -> IntArray:
        """A number for each position of the index: the inner id, or for an item outside the catalogue one beyond all of these."""
        assert self.index is not None
        inner = self.model.catalog.ids.encode(self.index.all_ids)
        return np.where(inner > 0, inner, len(self._ids) + np.arange(len(inner)))

    @cached_property
    def _names(self) -> npt.NDArray[Any]:
        """The ids that `_numbers` stand for."""
        assert self.index is not None
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

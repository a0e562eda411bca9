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
from bertrec.core.distinct import without
from bertrec.core.errors import DataError, IndexFileError
from bertrec.core.products import pair_scores
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.evaluation.ranks import pair_keys
from bertrec.models.fallback import cold_rows, scored_by_popularity
from bertrec.retrieval.scan import search_vectors

if TYPE_CHECKING:
    from bertrec.retrieval.index import ItemIndex

Id = str | int
Histories = Ragged | Sequence[Sequence[Id]]
"""Rows of external ids, or of inner ones; oldest first."""
FloatArray = npt.NDArray[np.float32]
_USERS_AT_ONCE = 1 << 15


class Served(Protocol):
    """What a server asks of a model; see `bertrec.models.base.Recommender`."""

    @property
    def catalog(self) -> ItemCatalog:
        """The items."""

    @property
    def model_hash(self) -> str:
        """SHA-256 over what the scores depend on."""

    @property
    def repeat_bias(self) -> float:
        """What is added to the score of an item of the history."""

    def item_embeddings(self) -> FloatArray:
        """Return ``[n_items + 1, dim]``."""

    @property
    def popularity(self) -> FloatArray:
        """How often training held each item, ``[n_items + 1]``."""

    @property
    def fallback(self) -> str:
        """What orders the list of a user without a history."""

    def known_histories(self, histories: Histories, /) -> tuple[Ragged, dict[int, list[Id]]]:
        """Return inner ids, and by row the ids that are no items."""

    def user_vectors(self, histories: Ragged, /) -> FloatArray:
        """Return ``[n, dim]``."""

    def read_histories(self, histories: Ragged, /) -> Ragged:
        """Return what the model reads of each history."""


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


class BestItems:
    """Exact search of a model's item vectors by inner id, with seen items left out and the repeat bias in.

    Args:
        vectors: ``[n_items + 1, d]``; row 0 is padding, a row with NaN is an item without a score.
        repeat_bias: what is added to the score of an item of the history that was read.
    """

    def __init__(self, vectors: FloatArray, repeat_bias: float = 0.0) -> None:
        known = np.asarray(~np.isnan(vectors).any(axis=1))
        known[0] = False
        self._known = known
        self._vectors = np.ascontiguousarray(np.where(known[:, None], vectors, np.float32(0)), dtype=np.float32)
        self._largest_norm = float(np.linalg.norm(self._vectors, axis=1).max(initial=0.0))
        self._bias = np.float32(repeat_bias)

    def search(
        self, users: FloatArray, k: int, *, seen: Ragged | None, read: Ragged | None, candidates: npt.NDArray[np.bool_] | None = None
    ) -> tuple[IntArray, FloatArray]:
        """Return inner ids and scores of the ``k`` best items of each user, 0 and ``-inf`` where there are no more.

        Args:
            users: ``[b, d]``.
            k: at least 1.
            seen: inner ids to leave out; None leaves nothing out.
            read: the histories that the repeat bias is for; None where all of them are among the seen items.
            candidates: ``[n_items + 1]``; None allows the whole catalogue.
        """
        if users.shape[1:] != self._vectors.shape[1:]:
            raise DataError(f"user vectors have {users.shape[-1]} dimensions, the model's {self._vectors.shape[1]}")
        alive = self._known if candidates is None else self._known & candidates
        gone = self._checked(seen, len(users))
        repeated = self._distinct(self._checked(read, len(users)), gone, alive) if self._bias and read is not None else None
        banned = gone if repeated is None else self._rows(np.concatenate([self._keys(gone), self._keys(repeated)]), len(users))
        items, scores = search_vectors(users, self._vectors, k, alive=alive, banned=banned, largest_norm=self._largest_norm)
        items[items < 0] = 0
        return (items, scores) if repeated is None else self._merged(users, items, scores, repeated)

    def _checked(self, rows: Ragged | None, count: int) -> Ragged:
        if rows is None:
            return Ragged(np.zeros(0, np.int64), np.zeros(count + 1, np.int64))
        if len(rows) != count or (len(rows.values) and (rows.values.min() < 0 or rows.values.max() >= len(self._known))):
            raise DataError(f"histories must be {count} rows of inner ids up to {len(self._known) - 1}")
        return rows

    def _keys(self, rows: Ragged) -> IntArray:
        return pair_keys(rows, len(self._known))

    def _distinct(self, read: Ragged, gone: Ragged, alive: npt.NDArray[np.bool_]) -> Ragged:
        """Return the items that the repeat bias is for and that may be listed, each once per row."""
        keys = without(self._keys(read), self._keys(gone))
        return self._rows(keys[alive[keys % len(alive)]], len(read))

    def _rows(self, keys: IntArray, count: int) -> Ragged:
        rows, items = np.divmod(np.sort(keys), len(self._known))
        return Ragged.from_lengths(items, np.bincount(rows, minlength=count))

    def _merged(self, users: FloatArray, items: IntArray, scores: FloatArray, own: Ragged) -> tuple[IntArray, FloatArray]:
        """Put the items that the repeat bias moves in their places among the others."""
        lifted = pair_scores(users, self._vectors, own.rows, own.values) + self._bias
        width = items.shape[1] + int(own.lengths.max(initial=0))
        all_items, all_scores = np.zeros((len(items), width), np.int64), np.full((len(items), width), -np.inf, np.float32)
        all_items[:, : items.shape[1]], all_scores[:, : items.shape[1]] = items, scores
        place = items.shape[1] + np.arange(len(own.values)) - own.offsets[own.rows]
        all_items[own.rows, place], all_scores[own.rows, place] = own.values, lifted
        order = np.lexsort((all_items, -all_scores), axis=-1)[:, : items.shape[1]]
        return np.take_along_axis(all_items, order, axis=1), np.take_along_axis(all_scores, order, axis=1)


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
        self._best = BestItems(model.item_embeddings(), model.repeat_bias) if index is None else None
        self._ids = np.array([None, *model.catalog.ids.ids], dtype=object)
        if index is not None:
            if index.model_hash and index.model_hash != model.model_hash:
                raise IndexFileError("the index was built from another model: build it again with  bertrec index build")
            self._place = np.zeros(len(self._ids), np.int64)
            inner = model.catalog.ids.encode(index.built_ids)
            self._place[inner] = np.arange(1, len(inner) + 1)
            self._place[0] = 0

    def recommend(self, histories: Histories, k: int = 10, *, exclude_seen: bool = True) -> Recommendations:
        """Return the ``k`` best items for each history, as `Recommender.recommend` does.

        Raises:
            DataError: ``k`` is below 1, or seen items are to stay in a list from an index although the model has a repeat bias, which an
                index does not hold.
        """
        k = expect_whole(k, "k", least=1, error=DataError)
        if self.index is not None and not exclude_seen and self.model.repeat_bias:
            raise DataError(
                "an index holds no repeat bias: with seen items kept in, recommend without an index or set head.repeat_bias=false"
            )
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
        for start in range(0, len(users), _USERS_AT_ONCE):
            stop = min(start + _USERS_AT_ONCE, len(users))
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
        best, scores = popular.search(ones, found.shape[1], seen=None if seen is None else seen.take(rows), read=None)
        found[rows, : best.shape[1]], values[rows] = self._ids[best], -np.inf
        values[rows, : best.shape[1]] = scores

    @cached_property
    def _popular(self) -> BestItems:
        """The items that can be listed, by popularity."""
        vectors = scored_by_popularity(self.model.item_embeddings(), self.model.popularity)
        if self.index is not None:
            there = np.zeros(len(vectors), bool)
            there[self.model.catalog.ids.encode(self.index.ids)] = True
            vectors[~there] = np.nan
        return BestItems(vectors)

    def _search(self, users: FloatArray, histories: Ragged, k: int, seen: Ragged | None) -> tuple[Any, FloatArray]:
        if self._best is not None:
            width = min(k, len(self._ids) - 1)
            # What the model reads of a history is part of it, so that nothing to repeat is left where the history is left out.
            read = self.model.read_histories(histories) if seen is None else None
            found, values = self._best.search(users, width, seen=seen, read=read)
            return self._ids[found], values
        assert self.index is not None
        exclude: Ragged | list[list[Id]] | None = seen
        if seen is not None:  # inner ids of the build name no item that was added to the index since
            inner = self.index.only_built
            exclude = Ragged(self._place[seen.values], seen.offsets) if inner else [self.model.catalog.ids.decode(row) for row in seen]
        result = self.index.search(users, k, exclude=exclude)
        return result.padded_ids, result.scores


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

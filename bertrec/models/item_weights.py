"""What EASE and ItemKNN share: a score is the sum of the weights that the items of a history lend to an item."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import psutil
import torch
from pydantic import Field

from bertrec.core.config import Config
from bertrec.core.errors import DataError
from bertrec.core.lifts import Lifts
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.trained_on import Training
from bertrec.retrieval.exact import top_k
from bertrec.retrieval.neighbours import Neighbours

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float64Array = npt.NDArray[np.float64]

ALL_WEIGHTS = 10_000
"""Up to so many items a model that keeps all weights does so: four bytes for each pair, 400 MB."""
LISTED = 200
"""Weights that each item keeps in a larger catalogue."""
SIMILAR = 50
"""Items that behaviour calls like one, where all weights are kept."""
_REST = 1e-6  # so little that popularity only orders what no list lifts
_ROWS_AT_ONCE, _FLOATS_AT_ONCE = 1 << 10, 1 << 26


class HistoryConfig(Config):
    """What every model has that reads a history as a set."""

    decay: float = Field(
        0.9, gt=0, le=1, description="What an item of a history counts for each step that it is older; 1 counts all alike, as published."
    )


class ItemWeightsConfig(HistoryConfig):
    """Settings of a model of weights between items."""

    neighbours: int = Field(
        0,
        ge=0,
        le=100_000,
        description=f"Weights that each item keeps: the largest above 0; 0 keeps all up to {ALL_WEIGHTS:,} items, and {LISTED} beyond.",
    )


def newest_once(histories: Ragged) -> Ragged:
    """Return the histories with each item once, where it stands last.

    >>> [row.tolist() for row in newest_once(Ragged.from_rows([[1, 2, 1], []]))]
    [[2, 1], []]
    """
    keys = histories.rows * (int(histories.values.max(initial=0)) + 1) + histories.values
    last = np.unique(keys[::-1], return_index=True)[1]
    kept = np.zeros(len(keys), bool)
    kept[len(keys) - 1 - last] = True
    return histories.where(kept)


def faded(histories: Ragged, decay: float, width: int) -> csr_array:
    """Return ``[n, width]``: what each item of each history counts, by inner id; ``decay`` to the power of its age."""
    from scipy.sparse import csr_array

    read = newest_once(histories)
    age = read.offsets[1:][read.rows] - 1 - np.arange(len(read.values))
    return csr_array((np.power(decay, age, dtype=np.float64), read.values, read.offsets), shape=(len(read), width))


def taken(train: Interactions) -> csr_array:
    """Return ``[users, n_items + 1]``: 1 where a user took an item, however often."""
    return faded(train.sequences, 1.0, len(train.catalog) + 1)


def known_items(train: Interactions) -> IntArray:
    """Return the inner ids of the items that training holds, ``[m]``.

    Raises:
        DataError: it holds none.
    """
    known = np.flatnonzero(train.item_counts)
    if not len(known):
        raise DataError("there is not one interaction to train on")
    return known


def at_once(width: int) -> int:
    """Return how many users with vectors of ``width`` numbers, and with lifts, are scored at a time."""
    return max(1, min(1 << 12, _FLOATS_AT_ONCE // width))


def check_memory(items: int, name: str) -> None:
    """See that a matrix of ``[items, items]`` can be inverted here.

    Raises:
        DataError: it needs more memory than is free.
    """
    if short := missing_memory(items):
        raise DataError(f"{name} inverts {short}: take --model itemknn or als")


def missing_memory(items: int) -> str:
    """Say what the inverse of a matrix of ``[items, items]`` takes where that is more than is free; else nothing."""
    needed, free = 2 * 8 * items**2, psutil.virtual_memory().available
    if needed <= free:
        return ""
    return f"a matrix of {items:,} x {items:,} items, which takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} are free"


class ItemWeights(Recommender):
    """The score of an item is ``Σ_h decay^age(h) · W[h, item]`` over the items of a history, each counted once, where it stands last.

    With all weights an item's vector is its column of W and a user's vector the history's row: an inner product. With some of them these
    are lists that lift the scores of a few items, and what no list holds is ordered by popularity.
    """

    config: Any
    _known: torch.Tensor | None = None
    _columns: torch.Tensor | None = None
    _rest: torch.Tensor | None = None
    _lists: Neighbours | None = None
    item_inputs: ClassVar[tuple[str, ...]] = ("id",)

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self._known = self._columns = self._rest = self._lists = None

    @abstractmethod
    def weights_of(self, table: csr_array) -> npt.NDArray[np.floating] | csr_array:
        """Return the weights ``[m, m]``, row h what item h lends to others.

        Args:
            table: ``[users, m]``, 1 where a user took an item that training holds.
        """

    def fit(self, train: Training, *, validation: EvaluationSet | None = None, **options: Any) -> Self:
        """Solve for the weights; ``validation`` and the options have no use here.

        Raises:
            DataError: there is nothing to train on, or the memory is too small for the catalogue.
        """
        train, validation = self.check_data(train, validation)
        self.check_fit_options(options)
        self.check_start(resume=False, init=options.get("init") is not None)
        known = known_items(train)
        weights = self.weights_of(taken(train)[:, known])
        self.reset()
        self.catalog, self._known = train.catalog, torch.from_numpy(known)
        self.keep_popularity(train)
        self._keep(weights, train.item_counts)
        return self

    def _keep(self, weights: npt.NDArray[np.floating] | csr_array, counts: IntArray) -> None:
        """Keep all weights, or the largest of each row."""
        neighbours = self.config.neighbours or (0 if len(self.known) <= ALL_WEIGHTS else LISTED)
        if not neighbours:
            self._columns = torch.from_numpy(np.ascontiguousarray(weights.T, dtype=np.float32))
            return
        self._rest = torch.from_numpy((_REST * counts[self.known, None] / counts.max()).astype(np.float32))
        self._lists = largest_of(weights, self.known, len(counts), neighbours)

    @property
    def known(self) -> IntArray:
        """The inner ids of the items of training, ``[m]``."""
        self.catalog  # noqa: B018  # says that the model is not fitted, where that is so
        assert self._known is not None
        return self._known.numpy()

    @property
    def behaviour_lists(self) -> Neighbours:
        """The items that each item lends most to."""
        if self._lists is not None:
            return self._lists
        assert self._columns is not None
        return largest_of(self._columns.numpy().T, self.known, len(self.catalog) + 1, SIMILAR)

    @property
    def absorbed(self) -> str:
        """The weights: counts of pairs, and what was solved of them."""
        return "the weights between items"

    @property
    def users_at_once(self) -> int:
        """How many histories are scored at a time; fewer, since a user's vector has a number for every item, or hundreds are lifted."""
        return at_once(1 if self._columns is None else self._columns.shape[1])

    def item_embeddings(self) -> FloatArray:
        """Return the columns of the weights, ``[n_items + 1, m]``, or beside lists the popularity alone; NaN without training."""
        kept = self._columns if self._rest is None else self._rest
        assert kept is not None
        vectors = np.full((len(self.catalog) + 1, kept.shape[1]), np.nan, np.float32)
        vectors[self.known], vectors[0] = kept.numpy(), 0
        return vectors

    def user_vectors(self, histories: Ragged) -> FloatArray:
        """Return what the items of each history count, ``[n, m]``, or beside lists ``[n, 1]`` ones; zeros where none is known."""
        counted = faded(histories, self.config.decay, len(self.catalog) + 1)[:, self.known]
        if self._lists is None:
            return np.asarray(counted.toarray(), np.float32)
        return np.asarray(np.diff(counted.indptr) > 0, np.float32)[:, None]

    def read_histories(self, histories: Ragged) -> Ragged:
        """Return each item once, where it stands last."""
        return newest_once(histories)

    def lifts(self, read: Ragged) -> Lifts | None:
        """Return the weights of the lists."""
        return None if self._lists is None else self._lists.lifts(read, decay=self.config.decay)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the items of training, and the weights as columns or as lists."""
        state = {"known": torch.from_numpy(self.known)}
        if self._columns is not None:
            return state | {"columns": self._columns}
        assert self._rest is not None
        assert self._lists is not None
        return state | {"rest": self._rest, **self._lists.state_dict()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take them."""
        self._known, self._columns, self._rest = state["known"], state.get("columns"), state.get("rest")
        self._lists = None if self._rest is None else Neighbours.from_state(state)


def largest_of(weights: npt.NDArray[np.floating] | csr_array, known: IntArray, width: int, m: int) -> Neighbours:
    """Return the ``m`` largest weights above 0 of each row as lists of inner ids; equal ones by the smaller id.

    Args:
        weights: ``[items, items]``, dense or sparse.
        known: their inner ids, ascending.
        width: items of the catalogue and padding.
        m: length of the lists.
    """
    ids, length = np.concatenate([[0], known]), min(m, len(known))
    items, strengths = np.zeros((width, length), np.int64), np.zeros((width, length), np.float32)
    for start in range(0, len(known), _ROWS_AT_ONCE):
        part = weights[start : start + _ROWS_AT_ONCE]
        rows = np.asarray(part.toarray() if hasattr(part, "toarray") else part, np.float32)
        found, values = top_k(np.pad(np.where(rows > 0, rows, np.float32(-np.inf)), ((0, 0), (1, 0))), length)
        items[known[start : start + len(rows)]] = ids[found]
        strengths[known[start : start + len(rows)]] = np.maximum(values, 0)
    return Neighbours(items, strengths)

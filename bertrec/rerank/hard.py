"""Hard negatives of a reranker's lists: what the retriever proposes, what is like the target, what goes with the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ConfigError, DataError, unknown_name
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.interactions import Interactions
from bertrec.data.item_labels import item_labels, label_field, usual_field

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Hard = Literal["retrieved", "genre", "cooccurrence"]
HARD: tuple[Hard, ...] = ("genre", "cooccurrence", "retrieved")
"""In the order in which they are drawn: what one lacks, the next gives."""
MIXED = "mixed"
_CELLS_AT_ONCE = 1 << 22  # rows × items held at once
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HardSources:
    """Where the negatives of a list come from.

    Attributes:
        names: of `HARD`, in its order.
        labels: ``[n_items + 1]`` rows of label numbers, for ``genre``.
        held: ``[n_items + 1]`` whether training holds an item, for ``genre``: others would only ever be pushed down.
        together: ``[n_items + 1, n_items + 1]`` users who had both of two items in training, for ``cooccurrence``.
        notes: what was left out.
    """

    names: tuple[Hard, ...] = ("retrieved",)
    labels: Ragged | None = None
    held: npt.NDArray[np.bool_] | None = None
    together: csr_array | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, asked: str | Sequence[str], train: Interactions, *, field: str | None = None) -> HardSources:
        """Read what the sources need.

        Args:
            asked: one name of `HARD` or several, or ``mixed``: all, without ``genre`` where no usual field of labels is there
                and it was not named too.
            train: the training interactions.
            field: of labels; None takes the first usual name.

        Raises:
            ConfigError: an unknown name, or none, or a ``field`` that nothing asked for would read.
            DataError: ``genre`` was asked for by name and there is no field of labels.
        """
        wanted = {asked} if isinstance(asked, str) else set(asked)
        for name in sorted(wanted):
            if name not in (*HARD, MIXED):
                raise ConfigError(unknown_name("kind of hard negatives", name, (*HARD, MIXED)))
        if not wanted:
            raise ConfigError(f"no kind of hard negatives is named: choose among {', '.join((*HARD, MIXED))}")
        if field is not None and not wanted & {"genre", MIXED}:
            raise ConfigError(f"label field '{field}' is for negatives of like genre: ask for genre or mixed too, or leave it out")
        notes: tuple[str, ...] = ()
        if MIXED in wanted:
            named, wanted = wanted, set(HARD)
            if "genre" not in named and field is None and usual_field(train.catalog) is None:
                wanted.discard("genre")
                notes = ("hard=mixed: the items have no field of labels, so that no negative is of like genre",)
        labels = _labels(train, field) if "genre" in wanted else None
        together = counted_together(train) if "cooccurrence" in wanted else None
        return cls(tuple(name for name in HARD if name in wanted), labels, train.item_counts > 0, together, notes)

    def drawn(
        self, histories: Ragged, targets: IntArray, lists: Ragged, own: Ragged, count: int, draw: np.random.Generator, *, width: int
    ) -> Ragged:
        """Draw up to ``count`` distinct negatives for each of ``n`` rows, by turns of the sources; no item of the row's ``own`` is one.

        An item of like genre is as likely as the draw of one of the target's labels and then of an item of it makes it; one that goes with
        the history as the users who had it and items of the history are many; one of the list as any other of the list.

        Args:
            histories: inner ids.
            targets: ``[n]`` inner ids.
            lists: what the retriever proposes.
            own: items that are never drawn.
            count: how many; each source gives its share and what those before it lack.
            draw: the generator.
            width: items and one for padding.

        Returns:
            ``[n]`` rows, sorted.
        """
        step = max(1, _CELLS_AT_ONCE // width)
        parts = []
        for start in range(0, len(targets), step):
            stop = min(start + step, len(targets))
            rows = (histories.slice(start, stop), targets[start:stop], lists.slice(start, stop), own.slice(start, stop))
            parts.append(self._drawn_now(*rows, count, draw, width))
        taken = np.concatenate(parts) if parts else np.zeros((0, width), bool)
        row, item = np.nonzero(taken)
        return Ragged.from_lengths(item, np.bincount(row, minlength=len(targets)).astype(np.int64))

    def _drawn_now(
        self, histories: Ragged, targets: IntArray, lists: Ragged, own: Ragged, count: int, draw: np.random.Generator, width: int
    ) -> npt.NDArray[np.bool_]:
        barred = np.zeros((len(targets), width), bool)
        barred[own.rows, own.values] = True
        barred[:, 0] = True
        taken = np.zeros_like(barred)
        for number, name in enumerate(self.names):
            weights = self._weights(name, histories, targets, lists, width)
            weights[barred | taken] = 0.0
            # The share of the sources up to this one, less what they gave.
            so_far = -(-count * (number + 1) // len(self.names))
            taken |= _weighted(weights, so_far - taken.sum(axis=1), draw)
        return taken

    def _weights(self, name: Hard, histories: Ragged, targets: IntArray, lists: Ragged, width: int) -> Weights:
        """Return how likely each item is, ``[n, width]``; 0 for those that the source does not give."""
        if name == "retrieved":
            weights = np.zeros((len(targets), width))
            weights[lists.rows, lists.values] = 1.0
            return weights
        if name == "genre":
            assert self.labels is not None
            assert self.held is not None
            table = _table(self.labels, width)
            holders = self.held @ table
            shares = table[targets] @ _scaled(table, 1 / np.maximum(holders, 1)).T
            return np.asarray(shares.toarray()) * self.held
        assert self.together is not None
        return np.asarray((_counts(histories, width) @ self.together).toarray(), np.float64)


def counted_together(train: Interactions) -> csr_array:
    """Return how many users had both of two items, ``[n_items + 1, n_items + 1]``; an item with itself counts for nothing."""
    from scipy.sparse import csr_array

    had = _counts(train.sequences, len(train.catalog) + 1)
    had.data[:] = 1.0
    together = csr_array(had.T @ had)
    together.setdiag(0.0)
    together.eliminate_zeros()
    return together


def _labels(train: Interactions, field: str | None) -> Ragged:
    try:
        return item_labels(train.catalog, label_field(train.catalog, field)).by_inner_id
    except DataError as error:
        raise DataError(f"hard=genre needs labels of the items: {error}") from error


def _counts(rows: Ragged, width: int) -> csr_array:
    """Return ``[n, width]``: how often each value stands in each row."""
    from scipy.sparse import csr_array

    table = csr_array((np.ones(len(rows.values)), rows.values, rows.offsets), shape=(len(rows), width))
    table.sum_duplicates()
    return table


def _table(labels: Ragged, width: int) -> csr_array:
    """Return ``[width, labels]``: 1 where an item has a label."""
    return _counts(labels, int(labels.values.max(initial=0)) + 1)


def _scaled(table: csr_array, factors: Weights) -> csr_array:
    """Return the table with each column multiplied."""
    out = table.copy()
    out.data = out.data * factors[out.indices]
    return out


def _weighted(weights: Weights, counts: IntArray, draw: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw ``counts [n]`` columns of each row without replacement, each next one in proportion to its weight (Efraimidis and Spirakis)."""
    keys = np.full(weights.shape, -np.inf)
    able = weights > 0
    keys[able] = np.log(draw.random(int(able.sum()))) / weights[able]
    most = int(max(counts.max(initial=0), 0))
    if not most:
        return np.zeros(weights.shape, bool)
    best = np.argpartition(-keys, min(most, weights.shape[1]) - 1, axis=1)[:, :most]
    order = np.take_along_axis(best, np.argsort(-np.take_along_axis(keys, best, axis=1), axis=1), axis=1)
    chosen = np.zeros(weights.shape, bool)
    np.put_along_axis(chosen, order, np.arange(order.shape[1]) < counts[:, None], axis=1)
    return chosen & able


def check_room(sources: HardSources, negatives: int, n: int) -> None:
    """See that the retriever's list can hold as many negatives as are asked for.

    Raises:
        ConfigError: it is shorter and nothing else gives any.
    """
    if sources.names == ("retrieved",) and negatives > n >= 1:
        raise ConfigError(f"{negatives} negatives of the retriever's best {n}: raise candidates to {negatives} or more, or ask for fewer")

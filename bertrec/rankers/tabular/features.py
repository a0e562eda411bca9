"""The features of (user, moment, candidate): ids, labels, numbers in buckets, hour and weekday, and counts from before the moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.rankers.base import labels_of
from bertrec.rankers.context import Context, Known, has_clock
from bertrec.rankers.counts import EventCounts, without_own
from bertrec.rankers.tabular.config import TabularConfig
from bertrec.rankers.tabular.counts import hours_and_days, log_buckets
from bertrec.rankers.tabular.items import (
    bucketed,
    label_names,
    label_numbers,
    number_column,
    number_columns,
    quantile_edges,
    usual_label_fields,
)
from bertrec.rankers.tabular.keys import hashed, places

Times = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ItemFeatures:
    """Of each inner id of a catalogue; row 0, no item, is 0 throughout.

    Attributes:
        ids: ``[n_items + 1]``, from 1; 0 for an item that training never met.
        labels: ``[n_items + 1, most]``, from 1.
        numbers: ``[n_items + 1, columns]`` buckets, from 1.
        counts: ``[n_items + 1]``, how often it was met in training.
    """

    ids: IntArray
    labels: IntArray
    numbers: IntArray
    counts: IntArray


@dataclass(frozen=True, eq=False)
class RowFeatures:
    """Of ``n`` rows and their candidates.

    Attributes:
        users: ``[n]``, from 1; 0 for a user whom training never met.
        hours: ``[n]``, 1 to 24.
        days: ``[n]``, 1 to 7.
        activity: ``[n]`` buckets of how much the user did before.
        popularity: ``[total candidates]`` buckets of how often each was met before.
    """

    users: IntArray
    hours: IntArray
    days: IntArray
    activity: IntArray
    popularity: IntArray


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """What training fixed of the features.

    Attributes:
        users, items: sorted hashes of the ids that training met.
        counts: ``[items]``, how often each was met until the end of training.
        label_fields, numbers: the item columns that are read.
        labels: the known labels.
        edges: of the buckets of each of ``numbers``.
    """

    users: IntArray
    items: IntArray
    counts: IntArray
    label_fields: tuple[str, ...]
    labels: tuple[str, ...]
    numbers: tuple[str, ...]
    edges: tuple[Times, ...]

    @classmethod
    def fit(cls, impressions: Impressions, config: TabularConfig, counts: IntArray) -> FeatureSpace:
        """Read which ids, labels and quantiles the training impressions have.

        Args:
            impressions: of the training.
            config: which columns are read.
            counts: ``[n_items + 1]``, how often each item was met.

        Raises:
            DataError: a column that the settings name is not there, or holds nothing of use.
        """
        catalog = impressions.catalog
        met = np.unique(np.concatenate([impressions.histories.values, impressions.candidates.values]))
        keys = hashed(catalog.ids.decode(met))
        order = np.argsort(keys)
        fields = usual_label_fields(catalog) if config.label_fields is None else config.label_fields
        numbers = tuple(name for name in number_columns(catalog) if name not in fields) if config.numbers is None else config.numbers
        edges = tuple(quantile_edges(number_column(catalog, name)[met - 1], config.buckets) for name in numbers)
        users = np.sort(hashed(dict.fromkeys(impressions.users))) if config.user_ids else np.zeros(0, np.int64)
        return cls(users, keys[order], counts[met][order], fields, label_names(catalog, fields), numbers, edges)

    def of_items(self, catalog: ItemCatalog) -> ItemFeatures:
        """Return the features of a catalogue's items, of which training need have met none.

        Raises:
            DataError: a column that is read is not there.
        """
        ids = np.append(0, places(self.items, catalog.ids.ids))
        columns = [bucketed(number_column(catalog, name), edges) for name, edges in zip(self.numbers, self.edges, strict=True)]
        numbers = np.stack([np.append(0, column) for column in columns], axis=1) if columns else np.zeros((len(catalog) + 1, 0), np.int64)
        return ItemFeatures(ids, label_numbers(catalog, self.label_fields, self.labels), numbers, np.append(0, self.counts)[ids])

    def arrays(self) -> dict[str, IntArray]:
        """Return what is saved as arrays."""
        return {"users": self.users, "items": self.items, "counts": self.counts}

    def values(self) -> dict[str, Any]:
        """Return what is saved as JSON."""
        names = {name: list(getattr(self, name)) for name in ("label_fields", "labels", "numbers")}
        return {**names, "edges": [edges.tolist() for edges in self.edges]}

    @classmethod
    def restored(cls, arrays: Mapping[str, IntArray], values: Mapping[str, Any]) -> FeatureSpace:
        """Rebuild from `arrays` and `values`."""
        users, items, counts = (np.asarray(arrays[name], np.int64) for name in ("users", "items", "counts"))
        fields, labels, numbers = (tuple(values[name]) for name in ("label_fields", "labels", "numbers"))
        return cls(users, items, counts, fields, labels, numbers, tuple(np.array(one, np.float64) for one in values["edges"]))


class PastEvents:
    """Interactions by time, of a catalogue's items and of users.

    Args:
        past: with a clock.
        catalog: whose inner ids are asked for; interactions with other items count for the user alone.
    """

    def __init__(self, past: Interactions, catalog: ItemCatalog) -> None:
        assert past.timestamp is not None
        self.of, self._users = past, past.users
        own = past.sequences.values
        if past.catalog.ids != catalog.ids:
            own = np.append(0, catalog.ids.encode(past.catalog.ids.ids))[own]
        here = own > 0
        self._by_item = EventCounts(own[here], past.timestamp[here], len(catalog) + 1)
        self._by_user = EventCounts(past.sequences.rows + 1, past.timestamp, len(past.users) + 1)

    def of_items(self, items: IntArray, times: Times) -> IntArray:
        """Return how often each item ``[n]`` was met strictly before ``times [n]``."""
        return self._by_item.before(items, times)

    def of_users(self, users: Sequence[str | int], times: Times) -> IntArray:
        """Return how many interactions each user ``[n]`` had strictly before ``times [n]``."""
        return self._by_user.before(self._users.encode(users), times)


class FeatureReader:
    """Reads the features of rows over one catalogue.

    Args:
        space: what training fixed.
        catalog: the items.
        past: events made ready, or None; others that a context brings take their place.
    """

    def __init__(self, space: FeatureSpace, catalog: ItemCatalog, past: PastEvents | None = None) -> None:
        self.space, self.catalog, self.items = space, catalog, space.of_items(catalog)
        self._past = past

    def rows(self, histories: Ragged, candidates: Ragged, context: Context | None, *, counts: IntArray | None = None) -> RowFeatures:
        """Return the features of rows.

        Without a clock, or where no past is known, the length of the history stands for the user's activity, and what training counted
        for an item's popularity.

        Args:
            histories: ``[n]`` rows, whole.
            candidates: ``[n]`` rows.
            context: who is asked and when; None where nothing is known.
            counts: ``[total candidates]`` that stand for the items' where the past is not known, in training; None takes training's.
        """
        times = None if context is None else context.times
        users = np.zeros(len(histories), np.int64) if context is None else places(self.space.users, context.users)
        active, met = histories.lengths, self.items.counts[candidates.values] if counts is None else counts
        if context is not None and times is not None and (past := self._events(context.known.past)) is not None:
            active = past.of_users(context.users, times)
            met = past.of_items(candidates.values, times[candidates.rows])
        return RowFeatures(users, *hours_and_days(times, len(histories)), log_buckets(active), log_buckets(met))

    def _events(self, past: Interactions | None) -> PastEvents | None:
        if past is None or not has_clock(past):
            return None
        if self._past is None or self._past.of is not past:
            self._past = PastEvents(past, self.catalog)
        return self._past


@dataclass(frozen=True, eq=False)
class TrainingCounts:
    """How often items were met, as training may know it.

    Attributes:
        totals: ``[n_items + 1]`` until the end of training, for use afterwards.
        pairs: ``[total candidates]`` before each pair; None where `Known.past` says it.
        past: its events made ready, where it says it.
    """

    totals: IntArray
    pairs: IntArray | None
    past: PastEvents | None = None

    @classmethod
    def of(cls, impressions: Impressions, known: Known | None, given: IntArray | None, *, counted: bool = False) -> TrainingCounts:
        """Count past interactions; else take the given counts; else count showings, which no label touches, without the pair itself.

        Args:
            impressions: of the training.
            known: its past is taken where it and the impressions have a clock.
            given: ``[n_items + 1]`` interactions of a time before that of the impressions, or with their own clicks.
            counted: whether these clicks are among those given.

        Raises:
            DataError: ``given`` has another length.
        """
        shown, moments, width = impressions.candidates, impressions.timestamp, len(impressions.catalog) + 1
        if known is not None and known.past is not None and moments is not None and has_clock(known.past):
            past = PastEvents(known.past, impressions.catalog)
            last = np.full(width, moments.max(initial=-np.inf, where=np.isfinite(moments)))
            return cls(past.of_items(np.arange(width), last), None, past)
        if given is not None:
            if np.shape(given) != (width,):
                raise DataError(f"item_counts must hold {width} numbers, one per item and one for padding, not {list(np.shape(given))}")
            counts = np.asarray(given, np.int64)
            return cls(counts, without_own(counts[shown.values], labels_of(impressions)) if counted else counts[shown.values])
        totals = np.bincount(shown.values, minlength=width).astype(np.int64)
        if moments is None:
            return cls(totals, totals[shown.values] - 1)
        times = moments[shown.rows]
        return cls(totals, EventCounts(shown.values, times, width).before(shown.values, times))

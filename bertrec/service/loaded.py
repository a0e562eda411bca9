"""One state of what is served: a run, its index and its users' histories, read once and never changed."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import BertrecError, DataError
from bertrec.core.known_ids import find_id
from bertrec.core.ragged import Ragged
from bertrec.data.expressions import ItemColumns
from bertrec.data.interactions import Interactions
from bertrec.data.titles import Titles
from bertrec.models.fallback import POPULARITY
from bertrec.models.finding import Likeness
from bertrec.models.folder import ABOUT
from bertrec.models.queries.tower import QueryTower
from bertrec.models.text_search import TextSearch
from bertrec.retrieval.rules import RuleBook
from bertrec.retrieval.storage import META
from bertrec.runs.data import fit_catalog, served_data
from bertrec.runs.folder import Run, keeps_seen
from bertrec.runs.indexes import check_fits, open_both
from bertrec.service.attributes import Attributes
from bertrec.service.errors import MISSING, Refused

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog
    from bertrec.models.base import Recommender
    from bertrec.models.serving import Server

Id = str | int
IntArray = npt.NDArray[np.int64]
Stamp = tuple[object, ...]
_SHOWN = 60


@dataclass(frozen=True)
class Source:
    """Where what is served lies.

    Attributes:
        run: the run.
        index: of the run, to be searched in place of all vectors.
        data: where the run's data are now; None: where they were.
        mmap: leave the index in its files; see `bertrec.ItemIndex.load`.
        queries: a query tower that searches in place of the model's encoder.
        learned: whether ranks are joined with the tower's own weights.
    """

    run: Run
    index: Path | None = None
    data: str | None = None
    mmap: bool = False
    queries: Path | None = None
    learned: bool = False

    def stamp(self) -> Stamp:
        """Return what is another once a new run or index lies there."""
        files = [self.run.record_file, self.run.later_file]
        files += [] if self.index is None else [self.index / META]
        files += [] if self.queries is None else [self.queries / ABOUT]
        return self.run.state, *(_mark(path) for path in files)


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@dataclass(frozen=True, eq=False)
class Loaded:
    """What answers requests.

    Attributes:
        source: where it was read.
        stamp: of that, before it was read.
        record: of the run.
        model: over the items.
        server: of the model and the index.
        tower: over the model's items; None where the model's encoder searches.
        interactions: of the users, over the model's items; None where the data could not be read.
        notes: what could not be read, in a line each.
        since: when it was read, UTC.
    """

    source: Source
    stamp: Stamp
    record: Mapping[str, Any]
    model: Recommender
    server: Server
    tower: QueryTower | None
    interactions: Interactions | None
    notes: list[str]
    since: str

    @classmethod
    def read(cls, source: Source) -> Loaded:
        """Read a run, its index and its data, and make ready what requests need.

        Raises:
            BertrecError: run, index or tower cannot be read, or do not belong together.
        """
        stamp = source.stamp()
        record, model, index = open_both(source.run, source.index, mmap=source.mmap)
        model, interactions, notes = _with_users(source, record, model)
        if index is not None and source.index is not None:
            check_fits(index, source.index, model, source.run, source.data)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        tower = None if source.queries is None else QueryTower.from_pretrained(source.queries).over(model.catalog)
        loaded = cls(source, stamp, record, model, model.serve(index), tower, interactions, notes, now)
        loaded.warm()
        return loaded

    def warm(self) -> None:
        """Make what first requests would wait for."""
        self.server.recommend([[]], 1)
        self.server.recommend([self.catalog.ids.ids[:1]], 1)
        if self.searcher is not None:
            with suppress(BertrecError):  # of vectors made elsewhere there is no encoder
                self.searcher.search("a", 1)
        _ = self.titles, self.about, self.new, self.listed, self.searcher, self.model.model_hash

    @property
    def catalog(self) -> ItemCatalog:
        """The items."""
        return self.model.catalog

    @property
    def keeps_seen(self) -> bool:
        """Whether items of a history are listed unless asked otherwise."""
        return keeps_seen(self.record)

    @cached_property
    def book(self) -> RuleBook:
        """What rules mean for the items."""
        return RuleBook(self.catalog)

    @cached_property
    def titles(self) -> Titles:
        """The titles, ready to be searched."""
        return Titles.of(self.catalog)

    @cached_property
    def attributes(self) -> Attributes:
        """What answers say of items beside their titles."""
        return Attributes(ItemColumns(self.catalog), next(iter(self.catalog.fields), None))

    @cached_property
    def likeness(self) -> Likeness:
        """What is like what."""
        return self.model.likeness()

    @cached_property
    def searcher(self) -> TextSearch | None:
        """Free text against the items; None for a model that reads none, where there is no tower either."""
        if self.tower is not None:
            return self.tower.searcher(self.model, learned=self.source.learned)
        texts = self.likeness.texts
        return None if texts is None else TextSearch(self.model, texts)

    @cached_property
    def new(self) -> npt.NDArray[np.bool_]:
        """Which items the training did not hold, ``[n_items + 1]``; none where the model has not kept that."""
        kept = self.model.fallback == POPULARITY
        return np.asarray(self.model.popularity == 0) & kept

    @cached_property
    def listed(self) -> npt.NDArray[np.bool_]:
        """Which items may be recommended, ``[n_items + 1]``."""
        return self.catalog.listed

    @cached_property
    def about(self) -> list[dict[str, Any]]:
        """What a filter can name."""
        return self.attributes.about()

    def inner(self, ids: Sequence[Id]) -> IntArray:
        """Return the inner ids of items, 0 for what is none; ``"7"`` names ``7`` where there is no ``"7"``."""
        known = self.catalog.ids
        return known.encode([one if one in known else _else(find_id(str(one), known)) for one in ids])

    def item(self, one: Id) -> int:
        """Return the inner id of an item.

        Raises:
            Refused: there is none, 404.
        """
        if inner := int(self.inner([one])[0]):
            return inner
        raise Refused(MISSING, f"no item has the id {one!r:.{_SHOWN}}: GET /titles?starts=WORDS finds ids")

    def titled(self, title: str) -> int:
        """Return the inner id of the item that a title means.

        Raises:
            Refused: none does, 404, or several do, 400.
        """
        try:
            return self.titles.find(title, near=False) + 1
        except DataError as error:
            if "no item has" in str(error):
                raise Refused(MISSING, f"{error}: GET /titles?starts=WORDS finds titles") from error
            raise

    def history_of(self, user: Id) -> Ragged:
        """Return the inner ids of what a user of the data met, one row, oldest first, with times where the data have them.

        Raises:
            Refused: there is no such user, 404.
        """
        if self.interactions is None:
            raise Refused(MISSING, f"no user is known here: {self.notes[0]}")
        known = self.interactions.users
        found = user if user in known else find_id(str(user), known)
        if found is None:
            raise Refused(MISSING, f"no user has the id {user!r:.{_SHOWN}}: give a history of item ids in its place")
        row = int(known.encode([found])[0]) - 1
        return self._histories.slice(row, row + 1)

    @cached_property
    def _histories(self) -> Ragged:
        """The histories of the users, with times where the model reads them."""
        assert self.interactions is not None
        return self.interactions.timed if self.model.reads_times else self.interactions.sequences


def _else(found: Id | None) -> Id:
    return "" if found is None else found


def _with_users(source: Source, record: Mapping[str, Any], model: Recommender) -> tuple[Recommender, Interactions | None, list[str]]:
    """Return a model over the items of its data, and the histories; the model alone where there are no data."""
    try:
        dataset = served_data(source.run, record, model, source.data)
    except DataError as error:
        return model, None, [f"{error} (users are unknown, histories are answered)"]
    model = fit_catalog(model, dataset)
    return model, dataset.interactions, []

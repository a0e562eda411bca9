"""Lists for many users, a block of them at a time: what is known of each, what is recommended, and the table of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.known_ids import known_id
from bertrec.core.notes import note

if TYPE_CHECKING:
    import pyarrow as pa

    from bertrec.core.ragged import IntArray
    from bertrec.data.catalog import ItemCatalog, UserCatalog
    from bertrec.data.interactions import Interactions
    from bertrec.data.wanted_users import WantedUser
    from bertrec.models.base import Recommender
    from bertrec.models.serving import Histories, Recommendations
    from bertrec.retrieval.index import ItemIndex
    from bertrec.retrieval.rules import Rules

Id = str | int
Answer = Callable[["Histories"], "Recommendations"]
"""Histories to lists."""

_BEYOND = 1 << 63
ON_UNKNOWN = ("fallback", "skip", "error")
_MEND = "give items with --history or --history-ids, or take the most popular ones with --on-unknown fallback"


@dataclass
class UserList:
    """One list to make: for a user of the data, or for a history that was given; ``fallback`` says what ordered it where none is read.

    That of a group has its ``members``.
    """

    user: Id | None
    history: list[Id]
    fallback: str | None = None
    items: list[Id] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    why: list[list[Any]] = field(default_factory=list)
    times: list[int] | None = None  # of the history, in seconds, where they are known
    profile: str = ""  # what the list starts from, where there is no history and a profile is read
    members: list[Id] | None = None


@dataclass
class Tally:
    """What was met on the way.

    Attributes:
        users: how many were asked for.
        unknown: of how many of them nothing is known; ``first_unknown`` is the first, and ``only_named`` says whether none has a history.
        lost: how many ids of histories are no items; ``first_lost`` says where, and which.
        fewest: items of the shortest list.
        whole: whether all ids of users are whole numbers.
    """

    users: int = 0
    unknown: int = 0
    first_unknown: WantedUser | None = None
    only_named: bool = True
    lost: int = 0
    first_lost: str = ""
    fewest: int | None = None
    whole: bool = True

    def count(self, asked: Sequence[WantedUser], cases: Sequence[UserList]) -> None:
        """Count users and those of whom nothing is known."""
        unknown = [one for one, case in zip(asked, cases, strict=True) if case.fallback is not None]
        self.users, self.unknown = self.users + len(asked), self.unknown + len(unknown)
        self.first_unknown = self.first_unknown or next(iter(unknown), None)
        self.only_named &= all(one.history is None for one in unknown)
        self.whole &= all_whole(case.user for case in cases)

    def note_short(self, k: int, rules: Rules | None) -> None:
        """Say where a list is shorter than was asked for."""
        if self.fewest is not None and self.fewest < k:
            left = ": the rules leave no more" if rules is not None else ""
            note(f"note: only {self.fewest} items could be recommended where {k} were asked for{left}")


@dataclass(frozen=True)
class Known:
    """What is known of the users that are asked for: the history that was given, else everything that the data know.

    Attributes:
        catalog: the items.
        interactions: the data; may be left out where every user has a history.
        times: whether the cases say when the items of the data were met.
        profiles: texts of users, for those without a history; None reads none.
    """

    catalog: ItemCatalog
    interactions: Interactions | None = None
    times: bool = False
    profiles: UserCatalog | None = None

    def cases(self, asked: Sequence[WantedUser], tally: Tally) -> list[UserList]:
        """Return one case per user; of whom nothing is known has ``fallback`` set."""
        cases = [UserList(one.user, []) for one in asked]
        self._fill_given([(one, case) for one, case in zip(asked, cases, strict=True) if one.history is not None], tally)
        self._fill_known([case for one, case in zip(asked, cases, strict=True) if one.history is None])
        self._fill_profiles([case for case in cases if not case.history])
        tally.count(asked, cases)
        return cases

    def _fill_given(self, given: Sequence[tuple[WantedUser, UserList]], tally: Tally) -> None:
        """Put the known items of the histories that were given into the cases."""
        flat = [item for one, _ in given for item in one.history or ()]
        inner = self.catalog.ids.named(flat)
        stop = 0
        for (one, case), ids in zip(given, _decoded(self.catalog, inner, [len(one.history or ()) for one, _ in given]), strict=True):
            start, stop = stop, stop + len(one.history or ())
            case.history, case.fallback = ids, None if ids else "unknown"
            if len(ids) < stop - start and not tally.first_lost:
                tally.first_lost = f"{one.where}: {flat[start + int((inner[start:stop] == 0).argmax())]!r}"
        tally.lost += int((inner == 0).sum())

    def _fill_known(self, cases: Sequence[UserList]) -> None:
        """Put what the data know of users into their cases, whose ids become those of the data."""
        if self.interactions is None:
            for case in cases:
                case.fallback = "unknown"
            return
        data = self.interactions
        rows = data.users.named([case.user for case in cases if case.user is not None])
        found = [case for case, row in zip(cases, rows.tolist(), strict=True) if row]
        histories = (data.timed if self.times else data.sequences).take(rows[rows > 0] - 1)
        users = data.users.decode(rows[rows > 0])
        for case, user, ids in zip(found, users, _decoded(data.catalog, histories.values, histories.lengths.tolist()), strict=True):
            case.user, case.history = user, ids
        if (times := histories.times) is not None:
            for case, start, stop in zip(found, histories.offsets[:-1], histories.offsets[1:], strict=True):
                case.times = times[start:stop].tolist()
        for case, row in zip(cases, rows.tolist(), strict=True):
            case.fallback = None if row else "unknown"

    def _fill_profiles(self, cases: Sequence[UserList]) -> None:
        """Put what is said of users into their cases: something is known of them then."""
        if self.profiles is None:
            return
        texts = ["", *self.profiles.texts]
        rows = self.profiles.ids.named([case.user if case.user is not None else "" for case in cases])
        for case, row in zip(cases, rows.tolist(), strict=True):
            if texts[row]:
                case.profile, case.fallback = texts[row], None

    def report(self, tally: Tally, on_unknown: str | None) -> str:
        """Say what was met, in notes, and return what becomes of users of whom nothing is known, one of `ON_UNKNOWN`.

        Args:
            tally: of all users.
            on_unknown: what was asked for; None serves them, unless there are no others.

        Raises:
            DataError: they are not to be passed over; the text names file and line of the first.
        """
        if tally.lost:
            note(f"note: {tally.lost} ids in the histories are no items (left out); the first: {tally.first_lost}")
        policy = on_unknown or ("fallback" if tally.unknown < tally.users else "error")
        if (first := tally.first_unknown) is None:
            return policy
        where, why = f"{first.where}: " if first.where else "", self.why_unknown(first)
        if policy == "error":
            raise DataError(f"{where or '--user: '}{why}; {_MEND}")
        what = "are not in the data" if tally.only_named else "have nothing to go by"
        served = "left out" if policy == "skip" else "served by popularity (--on-unknown skip leaves them out)"
        note(f"note: {tally.unknown} of {tally.users} users {what}: {served}; the first: {where}{why}")
        return policy

    def why_unknown(self, one: WantedUser) -> str:
        """Say why nothing is known of a user, with the ids that are near."""
        if one.history is not None:
            return f"none of the {len(one.history)} items of the history is in the catalogue"
        try:
            known_id(str(one.user), [] if self.interactions is None else self.interactions.users.ids)
        except DataError as error:
            return str(error)
        return ""


def _decoded(catalog: ItemCatalog, inner: IntArray, lengths: Sequence[int]) -> Iterator[list[Id]]:
    """Yield rows of external ids of the given lengths, without the unknown ones, which are 0."""
    names, stop = catalog.ids.ids, 0
    numbers = inner.tolist()
    for length in lengths:
        start, stop = stop, stop + length
        yield [names[number - 1] for number in numbers[start:stop] if number]


@dataclass
class ListMaker:
    """Makes the lists of users, a block at a time.

    Attributes:
        known: what is known of them.
        answer: histories to lists, as `answering` makes it.
        name: of the model, which orders the list of a user of whom nothing is known where no other order is said.
        skips: leave those users out.
        explain: puts into cases what raised their scores; None leaves that out.
        start: profiles to lists, as `starting` makes it, for cases that have one; None where none has.
        tally: of what was made.
    """

    known: Known
    answer: Answer
    name: str
    skips: bool = False
    explain: Callable[[list[UserList]], None] | None = None
    start: Callable[[list[str]], Recommendations] | None = None
    tally: Tally = field(default_factory=Tally)

    def lists(self, asked: Sequence[WantedUser]) -> list[UserList]:
        """Return the lists of some users."""
        cases = self.known.cases(asked, self.tally)
        return self.filled([case for case in cases if case.fallback is None] if self.skips else cases)

    def filled(self, cases: list[UserList]) -> list[UserList]:
        """Put the recommended items and their scores into cases, and why where that is asked for."""
        found = self.answer(histories_of(self.known.catalog, cases))
        for case, items, scores, fallback in zip(cases, found.items, found.scores, found.fallback, strict=True):
            # A model that needs no history, such as popularity, orders the list of an unknown user as everyone's.
            case.items, case.fallback = list(items), fallback or (self.name if case.fallback else None)
            case.scores = [float(score) for score in scores[: len(items)]]
        self._start([case for case in cases if case.profile])
        shortest = [len(case.items) for case in cases]
        self.tally.fewest = min([*shortest, *([] if self.tally.fewest is None else [self.tally.fewest])], default=None)
        if self.explain is not None:
            self.explain(cases)
        return cases

    def _start(self, cases: Sequence[UserList]) -> None:
        """Put the lists of users without a history into their cases, by their profiles."""
        if self.start is None or not cases:
            return
        found = self.start([case.profile for case in cases])
        for case, items, scores in zip(cases, found.items, found.scores, strict=True):
            case.items, case.scores, case.fallback = list(items), [float(score) for score in scores[: len(items)]], "profile"


def histories_of(catalog: ItemCatalog, cases: Sequence[UserList]) -> Histories:
    """Return the histories of cases, with their times where these are said."""
    from bertrec.core.ragged import Ragged

    ids = [case.history for case in cases]
    if all(case.times is None for case in cases):
        return ids
    return Ragged.with_times([catalog.ids.encode(row) for row in ids], [case.times for case in cases])


def recommend_part(maker: ListMaker, asked: Sequence[WantedUser], tables: ListTables) -> pa.Table:
    """Return the table of the lists of some users: what `bertrec recommend` writes, and each task of a cluster."""
    return tables.table(maker.lists(asked))


def answering(model: Recommender, k: int, *, keep_seen: bool = False, index: ItemIndex | None = None, rules: Rules | None = None) -> Answer:
    """Return what makes lists of histories; vectors, ids and index are taken once."""
    server = model.serve(index)
    return lambda histories: server.recommend(histories, k, exclude_seen=not keep_seen, rules=rules)


def starting(
    model: Recommender, k: int, *, index: ItemIndex | None = None, rules: Rules | None = None
) -> Callable[[list[str]], Recommendations]:
    """Return what makes lists of profiles.

    Raises:
        ConfigError: the model reads none.
    """
    from bertrec.core.ragged import Ragged

    if model.profile_vectors(["a user"]) is None:
        raise ConfigError(f"this {model.name} model cannot start from profiles: train one that reads texts alone, joined, by an encoder")
    server = model.serve(index)

    def start(texts: list[str]) -> Recommendations:
        users = model.profile_vectors(texts)
        assert users is not None
        return server.from_vectors(users, Ragged.from_rows([[]] * len(texts)), k, rules=rules)

    return start


def list_rows(case: UserList, titles: Sequence[str]) -> list[dict[str, Any]]:
    """Return the items of a list with rank, id, title, score, and why where it was asked for."""
    rows: list[dict[str, Any]] = [
        {"rank": rank, "id": item, "title": title, "score": score if math.isfinite(score) else None}
        for rank, (item, title, score) in enumerate(zip(case.items, titles, case.scores, strict=True), start=1)
    ]
    for row, reasons in zip(rows, case.why, strict=False):
        row["why"] = [{"kind": str(r.kind), "text": r.text, "contribution": float(r.contribution)} for r in reasons]
    return rows


@dataclass
class ListTables:
    """Lists as Arrow tables of one row per item: user, rank, id, title, score, fallback; and why, where that is asked for.

    Attributes:
        catalog: the items.
        whole_users: whether ids of users are whole numbers; else they are text.
        whole_items: the same of items; None: as in the catalogue.
        reasons: the words of the column ``why`` from a row's reasons; None leaves it out.
    """

    catalog: ItemCatalog
    whole_users: bool = False
    whole_items: bool | None = None
    reasons: Callable[[Sequence[Any]], str] | None = None

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns."""
        import pyarrow as pa

        whole = all_whole(self.catalog.ids.ids) if self.whole_items is None else self.whole_items
        columns = {"user": _id_type(self.whole_users), "rank": pa.int64(), "id": _id_type(whole), "title": pa.string()}
        columns |= {"score": pa.float64(), "fallback": pa.string(), **({} if self.reasons is None else {"why": pa.string()})}
        return pa.schema(columns)

    @cached_property
    def _titles(self) -> pa.Array:
        import pyarrow as pa

        return pa.array(["", *self.catalog.titles], pa.string())

    def table(self, cases: Sequence[UserList]) -> pa.Table:
        """Return the table of some lists."""
        import numpy as np
        import pyarrow as pa

        lengths = np.array([len(case.items) for case in cases], np.int64)
        rows = np.repeat(np.arange(len(cases)), lengths)
        items = list(chain.from_iterable(case.items for case in cases))
        scores = np.fromiter(chain.from_iterable(case.scores for case in cases), np.float64, len(items))
        columns: dict[str, Any] = {
            "user": self._ids("user", [case.user for case in cases]).take(pa.array(rows)),
            "rank": np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1,
            "id": self._ids("id", items),
            "title": self._titles.take(pa.array(self.catalog.ids.encode(items))),
            "score": pa.array(scores, mask=~np.isfinite(scores)),
            "fallback": pa.array([case.fallback for case in cases], pa.string()).take(pa.array(rows)),
        }
        if self.reasons is not None:
            why = chain.from_iterable(case.why or [[]] * len(case.items) for case in cases)
            columns["why"] = pa.array([self.reasons(one).replace("\n", "; ") for one in why], pa.string())
        return pa.table(columns, schema=self.schema)

    def _ids(self, name: str, ids: Sequence[Id | None]) -> pa.Array:
        import pyarrow as pa

        kind = self.schema.field(name).type
        return pa.array(ids if kind == pa.int64() else [None if one is None else str(one) for one in ids], kind)


def whole_items(model: Recommender, index: ItemIndex | None) -> bool:
    """Say whether all items that a list can hold have whole numbers as ids: an index may hold others than the catalogue."""
    return all_whole(model.catalog.ids.ids) and (index is None or all_whole(index.ids))


def all_whole(ids: Iterable[Id | None]) -> bool:
    """Say whether all ids are whole numbers of 64 bits."""
    return all(isinstance(one, int) and -_BEYOND <= one < _BEYOND for one in ids)


def _id_type(whole: bool) -> pa.DataType:
    import pyarrow as pa

    return pa.int64() if whole else pa.string()

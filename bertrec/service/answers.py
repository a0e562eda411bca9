"""What requests are answered, from one loaded state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.version import __version__
from bertrec.retrieval.rules import Rules
from bertrec.service.batching import Job, Row
from bertrec.service.errors import MISSING, Refused
from bertrec.service.loaded import IntArray, Loaded
from bertrec.service.schemas import Listing, RecommendBody, SearchBody, SimilarBody

if TYPE_CHECKING:
    from bertrec.models.found import Found

Id = str | int
Answer = dict[str, Any]
_SHOWN = 60


@dataclass
class Asked:
    """What a request for a list means here.

    Attributes:
        history: inner ids, oldest first.
        source: ``user``, ``history`` or ``profile``: what the list is to be made of.
        rules: of the list; None where there are none.
        notes: what was left out.
    """

    history: IntArray
    source: str
    rules: Rules | None
    notes: list[str] = field(default_factory=list)
    times: IntArray | None = None


def asked(loaded: Loaded, body: RecommendBody) -> Asked:
    """Read a request.

    Raises:
        Refused: the user is unknown, or no item of the history is known, 404.
        DataError: it does not say for whom, or a title fits several items.
    """
    given = [name for name in ("user", "history", "titles") if getattr(body, name) is not None]
    if len(given) > 1 or (not given and body.profile is None):
        raise DataError("say for whom: one of user, history, titles, or a profile")
    notes: list[str] = []
    times = None
    if body.user is not None:
        whole, source = loaded.history_of(body.user), "user"
        history, times = whole.values, whole.times
    elif body.titles is not None:
        history, source = np.array([loaded.titled(title) for title in body.titles], np.int64), "history"
    else:
        history, source = known_history(loaded, body.history or [], notes), "history"
    if body.profile is not None:
        if len(history):
            notes.append("the profile was not read: the history says more")
        else:
            source = "profile"
            notes += [f"{name} was not read: a list by profile is a search" for name in ("why", "keep_seen") if getattr(body, name)]
    return Asked(history, source, rules_of(loaded, body, notes), notes, times)


def known_history(loaded: Loaded, ids: Sequence[Id], notes: list[str]) -> IntArray:
    """Return the inner ids of the known items of a history; a note says how many are none.

    Raises:
        Refused: there are items, and none of them is known, 404.
    """
    inner = loaded.inner(ids)
    lost = [one for one, row in zip(ids, inner.tolist(), strict=True) if not row]
    if lost and len(lost) == len(ids):
        raise Refused(MISSING, f"none of the {len(ids)} items of the history is known, such as {lost[0]!r:.{_SHOWN}}")
    if lost:
        notes.append(f"{len(lost)} of {len(ids)} items of the history are unknown and were left out, such as {lost[0]!r:.{_SHOWN}}")
    return inner[inner > 0]


def rules_of(loaded: Loaded, body: Listing, notes: list[str]) -> Rules | None:
    """Return the rules that a request says; None where it says none.

    Raises:
        DataError: none of ``only`` is an item.
    """
    more = {name: getattr(body, name) for name in ("at_most", "boost", "diversity")} if isinstance(body, RecommendBody) else {}
    if body.filter is None and not body.exclude and body.only is None and not any(more.values()):
        return None
    only = None if body.only is None else _known(loaded, "only", body.only, notes)
    if only is not None and not only:
        raise DataError(f"only: none of its {len(body.only or [])} ids is an item")
    return Rules(filter=body.filter, exclude=_known(loaded, "exclude", body.exclude, notes), only=only, **more)


def _known(loaded: Loaded, what: str, ids: Sequence[Id], notes: list[str]) -> tuple[Id, ...]:
    inner = loaded.inner(ids)
    if lost := [one for one, row in zip(ids, inner.tolist(), strict=True) if not row]:
        notes.append(f"{what}: {len(lost)} of {len(ids)} ids are no items, such as {lost[0]!r:.{_SHOWN}}")
    return tuple(loaded.catalog.ids.decode(inner[inner > 0]))


def job_of(loaded: Loaded, body: RecommendBody, request: Asked) -> Job:
    """Return the list that is to be made."""
    keep_seen = loaded.keeps_seen if body.keep_seen is None else body.keep_seen
    return Job(loaded, request.history, body.k, keep_seen, request.rules, times=request.times)


def by_profile(loaded: Loaded, body: RecommendBody, request: Asked) -> Row:
    """Return the items that a profile asks for, as a search does.

    Raises:
        DataError: the rules order lists, which a search does itself, or the model reads no text.
    """
    if request.rules is not None and (request.rules.reorders or request.rules.boost):
        raise DataError("a list by profile takes filter, exclude and only: leave out at_most, boost and diversity, or give a history")
    found = _searched(loaded, body.profile or "", body.k, None, allowed(loaded, request.rules))
    return Row(found.items, found.scores, None)


def recommended(loaded: Loaded, body: RecommendBody, request: Asked, row: Row) -> Answer:
    """Return the answer of a list."""
    notes, inner = list(request.notes), loaded.catalog.ids.encode(row.items)
    if len(row.items) < body.k:
        notes.append(f"only {len(row.items)} items could be recommended where {body.k} were asked for")
    why = _reasons(loaded, request.history, row.items) if body.why and row.fallback is None and len(request.history) else {}
    items = [one | {"why": why.get(one["id"])} for one in _items(loaded, inner, row.items, row.scores)]
    return {"items": items, "history": named(loaded, request.history), "from": row.fallback or request.source, "notes": notes}


def _reasons(loaded: Loaded, history: IntArray, items: Sequence[Id]) -> dict[Id, Answer | None]:
    from bertrec.models.explain import explain_list

    known = [one for one in items if one in loaded.catalog.ids]
    return {item: _reason(reasons) for item, reasons in zip(known, explain_list(loaded.model, history, known), strict=True)}


def _reason(reasons: Sequence[Any]) -> Answer | None:
    """Return the item of the history, and the part of the text, that raised a score most; None where no item raised it."""
    met = next((one for one in reasons if one.kind == "history" and one.contribution > 0), None)
    part = next((one.text for one in reasons if one.kind == "field" and one.contribution > 0), "")
    return None if met is None else {"id": met.item, "title": met.text, "words": part}


def similar(loaded: Loaded, body: SimilarBody) -> Answer:
    """Return what is like an item.

    Raises:
        Refused: the item is unknown, 404.
        BertrecError: nothing of the kind is known of it, or none is named.
    """
    if (body.item is None) == (body.title is None):
        raise DataError("name the item: one of item and title")
    inner = loaded.item(body.item) if body.item is not None else loaded.titled(body.title or "")
    notes: list[str] = []
    rules = rules_of(loaded, body, notes)
    found = loaded.likeness.similar(loaded.catalog.ids.ids[inner - 1], body.k, by=body.by, allowed=allowed(loaded, rules))
    return _found(loaded, body, found, notes) | {"item": named(loaded, [inner])[0]}


def search(loaded: Loaded, body: SearchBody) -> Answer:
    """Return what words ask for.

    Raises:
        Refused: the user or all items of the history are unknown, 404.
        DataError: the model reads no text, or two tastes are named.
    """
    if body.user is not None and body.history is not None:
        raise DataError("whose taste: one of user and history")
    notes: list[str] = []
    inner = None if body.user is None else loaded.history_of(body.user).values
    inner = inner if body.history is None else known_history(loaded, body.history, notes)
    history = None if inner is None or not len(inner) else loaded.catalog.ids.decode(inner)
    found = _searched(loaded, body.text, body.k, history, allowed(loaded, rules_of(loaded, body, notes)))
    if loaded.tower is not None and (line := loaded.tower.note_on(body.text)):
        notes.append(line.removeprefix("note: "))
    return _found(loaded, body, found, notes)


def _searched(loaded: Loaded, text: str, k: int, history: Sequence[Id] | None, open_: npt.NDArray[np.bool_] | None) -> Found:
    if loaded.searcher is None:
        raise DataError(
            f"this {type(loaded.model).__name__} reads no text: serve a model of text (--item-input text+id) or a query tower (--queries)"
        )
    return loaded.searcher.search(text, k, history=history, allowed=open_)


def allowed(loaded: Loaded, rules: Rules | None) -> npt.NDArray[np.bool_] | None:
    """Return which items rules allow, ``[n_items + 1]``; None: all."""
    return None if rules is None else loaded.book.plan(rules).allowed


def _found(loaded: Loaded, body: Listing, found: Found, notes: list[str]) -> Answer:
    if len(found.items) < body.k:
        notes.append(f"only {len(found.items)} items were found where {body.k} were asked for")
    inner = loaded.catalog.ids.encode(found.items)
    return {"items": _items(loaded, inner, found.items, found.scores), "notes": notes}


def _items(loaded: Loaded, inner: IntArray, ids: Sequence[Id], scores: Sequence[float]) -> list[Answer]:
    """Return the rows of a list; an item that only the index knows has its id for a title."""
    rows = inner.tolist()
    titles = [loaded.catalog.titles[row - 1] if row else str(one) for row, one in zip(rows, ids, strict=True)]
    return [
        {
            "rank": rank,
            "id": one,
            "title": title,
            "score": float(score) if math.isfinite(score) else None,
            "new": bool(loaded.new[row]) or not row,
            "attributes": values,
        }
        for rank, (one, title, score, row, values) in enumerate(
            zip(ids, titles, scores, rows, loaded.attributes.of(rows), strict=True), start=1
        )
    ]


def named(loaded: Loaded, inner: Sequence[int] | IntArray) -> list[Answer]:
    """Return items by id and title."""
    rows = np.asarray(inner, np.int64).tolist()
    return [{"id": loaded.catalog.ids.ids[row - 1], "title": loaded.catalog.titles[row - 1]} for row in rows]


def titles(loaded: Loaded, starts: str, k: int) -> Answer:
    """Return the items, those that are listed, whose titles hold what was typed."""
    listed = loaded.listed
    rows = [row + 1 for row in loaded.titles.suggest(starts, 2 * k) if listed[row + 1]]
    return {"items": named(loaded, rows[:k])}


def one_item(loaded: Loaded, one: Id) -> Answer:
    """Return all that is said of an item.

    Raises:
        Refused: there is none, 404.
    """
    inner = loaded.item(one)
    about = {"text": loaded.catalog.texts[inner - 1], "attributes": loaded.attributes.of([inner])[0]}
    return named(loaded, [inner])[0] | about | {"new": bool(loaded.new[inner]), "listed": bool(loaded.listed[inner])}


def health(loaded: Loaded, *, writes: bool, notes: Sequence[str]) -> Answer:
    """Return what is served."""
    index = loaded.server.index
    return {
        "status": "ok",
        "model": loaded.model.name,
        "items": int(loaded.listed.sum()),
        "users": 0 if loaded.interactions is None else len(loaded.interactions.users),
        "model_hash": loaded.model.model_hash,
        "index": None if index is None else index.kind,
        "since": loaded.since,
        "version": __version__,
        "attributes": loaded.about,
        "writes": writes,
        "reads_text": loaded.searcher is not None,
        "queries": None if loaded.tower is None else loaded.tower.model_hash,
        "notes": [*loaded.notes, *notes],
    }

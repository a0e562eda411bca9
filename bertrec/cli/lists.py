"""Lists of recommendations as the command line gives them out: printed, or as a file that another program reads."""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.cli.output import print_table, say, say_document
from bertrec.core.errors import BertrecError
from bertrec.core.files import atomic_file
from bertrec.core.shown import csv_text, json_text
from bertrec.runs.lists import Id, ListTables, UserList, all_whole, list_rows

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog

Write = Callable[[list[UserList]], None]
Put = Callable[[str], object]
_SHOWN = 60  # letters of a title, where it stands beside others
FORMATS = ("table", "json", "jsonl", "csv")
"""What is printed."""
ENDINGS = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
"""What is written, by the ending of a file's name."""


def _titles(catalog: ItemCatalog, ids: Sequence[Id]) -> list[str]:
    return [catalog.titles[row - 1] if row else "" for row in catalog.ids.encode(list(ids))]


def print_tables(catalog: ItemCatalog, cases: list[UserList]) -> None:
    """Print one table per case, with the latest items of its history above it."""
    for case in cases:
        whose = f"{'user' if case.members is None else 'group'} {case.user}" if case.user is not None else "history"
        recent = "; ".join(_short(title) for title in _titles(catalog, case.history[-5:]))
        count = f"{len(case.history)} item{'s' if len(case.history) > 1 else ''}"
        known = f"{count}, the latest: {recent}" if case.history else "no items"
        if case.fallback == "profile":
            say(f"{'a new user' if case.user is None else whose}, ordered by profile")
        else:
            say(f"{whose} ({known})" + (f": nothing to go by, ordered by {case.fallback}" if case.fallback else ""))
        more = [] if not case.why else ["why"] if case.members is None else [str(one) for one in case.members]
        rows = [
            [rank, item, title, _score(score), *_why_cells(case, rank - 1)]
            for rank, (item, title, score) in enumerate(zip(case.items, _titles(catalog, case.items), case.scores, strict=True), start=1)
        ]
        print_table("", ["rank", "id", "title", "score", *more], rows, right=["rank", "score"])


def _why_cells(case: UserList, row: int) -> list[str]:
    """Return what is printed of why: a cell, or for a group one for each member."""
    if not case.why:
        return []
    if case.members is None:
        return [_reasons(case.why[row], short=True)]
    of = {reason.text: _score(reason.contribution) for reason in case.why[row]}
    return [of.get(str(one), "-") for one in case.members]


def _short(title: str) -> str:
    return textwrap.shorten(title, _SHOWN, placeholder="…")


def _reasons(reasons: Sequence[Any], *, short: bool = False) -> str:
    """Return what raised a score, a line each; texts are cut where people read them."""
    texts = [_short(reason.text) if short else reason.text for reason in reasons]
    return "\n".join(f"{reason.kind}: {text} ({reason.contribution:+.3f})" for reason, text in zip(reasons, texts, strict=True))


def _score(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "-"


def _case(catalog: ItemCatalog, case: UserList) -> dict[str, Any]:
    items = list_rows(case, _titles(catalog, case.items))
    whose = {"user": case.user} if case.members is None else {"user": None, "group": case.members}
    return {**whose, "history": case.history, "fallback": case.fallback, "items": items}


def _columns(catalog: ItemCatalog, cases: list[UserList], *, explained: bool) -> Iterator[list[Any]]:
    """Yield one row per recommended item: user, rank, id, title, score, fallback, and why where that was asked for."""
    for case in cases:
        rows = list_rows(case, _titles(catalog, case.items))
        for row, reasons in zip(rows, case.why or [[]] * len(case.items), strict=True):
            why = [_reasons(reasons).replace("\n", "; ")] if explained else []
            yield [case.user, row["rank"], row["id"], row["title"], row["score"], case.fallback, *why]


def form_of(form: str | None, out: Path | None) -> str:
    """Return the form that lists get.

    Raises:
        BertrecError: the file's ending names none, or another one than was asked for.
    """
    if out is None:
        return form or "table"
    found = ENDINGS.get(out.suffix.lower())
    if found is None or form not in (None, found):
        asked = "" if form is None else f", and not {form}"
        raise BertrecError(f"--out {out}: its ending says the form, one of {', '.join(ENDINGS)}{asked}")
    return found


def give_out(catalog: ItemCatalog, cases: list[UserList], *, form: str, out: Path | None = None, raw: bool = False) -> None:
    """Print lists, or write them into a file; see `given_out`."""
    whole, explained = all_whole(case.user for case in cases), any(case.why for case in cases)
    with given_out(catalog, form=form, out=out, raw=raw, whole_users=whole, explained=explained) as write:
        write(cases)


@contextmanager
def given_out(
    catalog: ItemCatalog,
    *,
    form: str,
    out: Path | None = None,
    raw: bool = False,
    whole_users: bool = False,
    whole_items: bool | None = None,
    explained: bool = False,
) -> Iterator[Write]:
    """Yield what prints lists, or writes them into a file that takes its name when all are written; it is called with some at a time.

    Args:
        catalog: the items.
        form: as `form_of` gave it.
        out: the file; None prints.
        raw: CSV cells stay as they are, formulas too.
        whole_users: whether all ids of users are whole numbers, which a Parquet file then holds as such.
        whole_items: the same of items; None: as in the catalogue.
        explained: whether the lists have reasons.
    """
    if form == "table":
        yield lambda cases: print_tables(catalog, cases)
    elif form == "parquet":
        assert out is not None
        tables = ListTables(catalog, whole_users, whole_items, _reasons if explained else None)
        with _parquet(tables, out) as write:
            yield write
    else:
        with _text_to(out, form) as put, _TEXTS[form](catalog, put, raw=raw, explained=explained) as write:
            yield write


@contextmanager
def _parquet(tables: ListTables, out: Path) -> Iterator[Write]:
    import pyarrow.parquet as pq

    with atomic_file(out) as temporary, pq.ParquetWriter(temporary, tables.schema) as writer:
        yield lambda cases: writer.write_table(tables.table(cases))


@contextmanager
def _text_to(out: Path | None, form: str) -> Iterator[Put]:
    """Yield what puts whole lines out."""
    if out is not None:
        with atomic_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            yield stream.write
    elif form == "csv":
        yield sys.stdout.write  # made harmless already, with line ends of its own
    else:
        yield lambda text: say_document(text.removesuffix("\n"))


@contextmanager
def _csv(catalog: ItemCatalog, put: Put, *, raw: bool, explained: bool) -> Iterator[Write]:
    head = [csv_text([["user", "rank", "id", "title", "score", "fallback", *(["why"] if explained else [])]], raw=raw)]

    def write(cases: list[UserList]) -> None:
        rows = _columns(catalog, cases, explained=explained)
        put("".join(head) + csv_text(([("" if value is None else value) for value in row] for row in rows), raw=raw))
        head.clear()

    yield write
    if head:  # there were no lists; where one could not be made nothing was put out
        put(head[0])


@contextmanager
def _json_lines(catalog: ItemCatalog, put: Put, **_: bool) -> Iterator[Write]:
    def write(cases: list[UserList]) -> None:
        for case in cases:
            put(f"{json_text(_case(catalog, case), indent=None)}\n")

    yield write


@contextmanager
def _json(catalog: ItemCatalog, put: Put, **_: bool) -> Iterator[Write]:
    """As `json_text` writes an object of one list."""
    held: list[str] = []  # the case before, which is followed by a comma if there is another

    def write(cases: list[UserList]) -> None:
        for case in cases:
            if held:
                put(f"{held.pop()},\n")
            else:
                put('{\n  "recommendations": [\n')
            held.append("    " + json_text(_case(catalog, case)).replace("\n", "\n    "))

    yield write
    put(f"{held.pop()}\n  ]\n}}\n" if held else '{\n  "recommendations": []\n}\n')


_TEXTS = {"csv": _csv, "jsonl": _json_lines, "json": _json}

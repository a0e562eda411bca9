"""Lists of recommendations as the command line gives them out: printed, or as a file that another program reads."""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.cli.output import print_table, say, say_document
from bertrec.core.errors import BertrecError
from bertrec.core.files import atomic_file
from bertrec.core.shown import csv_text, json_text

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog

Id = str | int
_SHOWN = 60  # letters of a title, where it stands beside others
FORMATS = ("table", "json", "jsonl", "csv")
"""What is printed."""
ENDINGS = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
"""What is written, by the ending of a file's name."""


@dataclass
class UserList:
    """One list to make: for a user of the data, or for a history that was given; ``fallback`` says what ordered it where none is read."""

    user: Id | None
    history: list[Id]
    fallback: str | None = None
    items: list[Id] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    why: list[list[Any]] = field(default_factory=list)
    times: list[int] | None = None  # of the history, in seconds, where they are known


def _titles(catalog: ItemCatalog, ids: Sequence[Id]) -> list[str]:
    return [catalog.titles[row - 1] if row else "" for row in catalog.ids.encode(list(ids))]


def print_tables(catalog: ItemCatalog, cases: list[UserList]) -> None:
    """Print one table per case, with the latest items of its history above it."""
    for case in cases:
        whose = f"user {case.user}" if case.user is not None else "history"
        recent = "; ".join(_short(title) for title in _titles(catalog, case.history[-5:]))
        count = f"{len(case.history)} item{'s' if len(case.history) > 1 else ''}"
        known = f"{count}, the latest: {recent}" if case.history else "no items"
        if case.fallback == "profile":
            say("a new user, ordered by profile")
        else:
            say(f"{whose} ({known})" + (f": nothing to go by, ordered by {case.fallback}" if case.fallback else ""))
        columns = ["rank", "id", "title", "score", *(["why"] if case.why else [])]
        rows = [
            [rank, item, title, _score(score), *([_reasons(case.why[rank - 1], short=True)] if case.why else [])]
            for rank, (item, title, score) in enumerate(zip(case.items, _titles(catalog, case.items), case.scores, strict=True), start=1)
        ]
        print_table("", columns, rows, right=["rank", "score"])


def _short(title: str) -> str:
    return textwrap.shorten(title, _SHOWN, placeholder="…")


def _reasons(reasons: Sequence[Any], *, short: bool = False) -> str:
    """Return what raised a score, a line each; texts are cut where people read them."""
    texts = [_short(reason.text) if short else reason.text for reason in reasons]
    return "\n".join(f"{reason.kind}: {text} ({reason.contribution:+.3f})" for reason, text in zip(reasons, texts, strict=True))


def _score(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "-"


def _rows(catalog: ItemCatalog, case: UserList) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"rank": rank, "id": item, "title": title, "score": score if math.isfinite(score) else None}
        for rank, (item, title, score) in enumerate(zip(case.items, _titles(catalog, case.items), case.scores, strict=True), start=1)
    ]
    for row, reasons in zip(rows, case.why, strict=False):
        row["why"] = [{"kind": str(r.kind), "text": r.text, "contribution": float(r.contribution)} for r in reasons]
    return rows


def _case(catalog: ItemCatalog, case: UserList) -> dict[str, Any]:
    return {"user": case.user, "history": case.history, "fallback": case.fallback, "items": _rows(catalog, case)}


def _json(catalog: ItemCatalog, cases: list[UserList]) -> str:
    return json_text({"recommendations": [_case(catalog, case) for case in cases]}) + "\n"


def _json_lines(catalog: ItemCatalog, cases: list[UserList]) -> str:
    return "".join(f"{json_text(_case(catalog, case), indent=None)}\n" for case in cases)


def _columns(catalog: ItemCatalog, cases: list[UserList]) -> dict[str, list[Any]]:
    """Return one row per recommended item: user, rank, id, title, score, fallback, and why where that was asked for."""
    explained = any(case.why for case in cases)
    columns: dict[str, list[Any]] = {
        name: [] for name in ("user", "rank", "id", "title", "score", "fallback", *(["why"] if explained else []))
    }
    for case in cases:
        for row, reasons in zip(_rows(catalog, case), case.why or [[]] * len(case.items), strict=True):
            row |= {"user": case.user, "fallback": case.fallback, "why": _reasons(reasons).replace("\n", "; ")}
            for name, column in columns.items():
                column.append(row[name])
    return columns


def _csv(catalog: ItemCatalog, cases: list[UserList], *, raw: bool) -> str:
    columns = _columns(catalog, cases)
    rows = ([("" if value is None else value) for value in row] for row in zip(*columns.values(), strict=True))
    return csv_text([list(columns), *rows], raw=raw)


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
    """Print lists, or write them into a file.

    Args:
        catalog: the items.
        cases: the lists.
        form: as `form_of` gave it.
        out: the file; None prints.
        raw: CSV cells stay as they are, formulas too.
    """
    if form == "table":
        print_tables(catalog, cases)
        return
    if form == "parquet":
        assert out is not None
        _write_parquet(catalog, cases, out)
        return
    text = _csv(catalog, cases, raw=raw) if form == "csv" else (_json if form == "json" else _json_lines)(catalog, cases)
    if out is None:
        if form == "csv":
            sys.stdout.write(text)  # made harmless already, with line ends of its own
        else:
            say_document(text.removesuffix("\n"))
        return
    with atomic_file(out) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def _write_parquet(catalog: ItemCatalog, cases: list[UserList], out: Path) -> None:
    import pyarrow.parquet as pq

    from bertrec.data.outgoing import frame_of

    with atomic_file(out) as temporary:
        pq.write_table(frame_of(_columns(catalog, cases), "pyarrow"), temporary)

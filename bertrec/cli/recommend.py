"""``bertrec recommend``: items for known users, or for a history given as titles or ids."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli import rules as r
from bertrec.cli.index import check_fits, open_both
from bertrec.cli.output import note, print_table, say, say_document
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import Run, fit_catalog, keeps_seen, served_data
from bertrec.core.errors import BertrecError, DataError
from bertrec.core.shown import csv_text, json_text

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.interactions import Interactions
    from bertrec.models.base import Recommender
    from bertrec.retrieval.index import ItemIndex
    from bertrec.retrieval.rules import Rules

EXAMPLES = """
Examples:

bertrec recommend runs/ml --user 1 --user 42 -k 5

bertrec recommend runs/ml --history "Toy Story" --history "Aladdin" --why

bertrec recommend runs/ml --index runs/ml.index --users-file users.txt --format csv > lists.csv

bertrec recommend runs/ml --rerank rerankers/composite --candidates 50 --user 1

bertrec recommend runs/shop --user 1 --filter "price < 50 and category == 'shoes' and in_stock" --at-most brand=2

bertrec recommend runs/shop --user 1 --exclude sold-out.txt --boost "in_stock=0.5" --diversity 0.3
"""

FORMATS = ("table", "json", "csv")
ON_UNKNOWN = ("fallback", "skip", "error")
_REASONS = 3

Id = str | int


@dataclass
class UserList:
    """One list to make: for a user of the data, or for a history that was given; ``fallback`` says what ordered it where none is read."""

    user: Id | None
    history: list[Id]
    fallback: str | None = None
    items: list[Id] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    why: list[list[Any]] = field(default_factory=list)


@reads_data()
def recommend(
    run: o.RunArgument,
    reading: Reading,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    index: Annotated[Path | None, typer.Option(metavar="INDEX", help="Search this index instead of scoring every item.")] = None,
    user: Annotated[list[str] | None, typer.Option(metavar="ID", help="A user of the data; more may follow.")] = None,
    users_file: Annotated[Path | None, typer.Option(metavar="F", help="A file with one user id per line.")] = None,
    history: Annotated[list[str] | None, typer.Option(metavar="TITLE", help="Titles, oldest first; more may follow.")] = None,
    history_ids: Annotated[list[str] | None, typer.Option(metavar="ID", help="Item ids, oldest first; more may follow.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items for each.")] = 10,
    keep_seen: o.KeepSeen = None,
    on_unknown: Annotated[
        str | None,
        typer.Option(
            help=f"Users (or a typed history) that are not in the data: {', '.join(ON_UNKNOWN)}. Unless said, they get the most popular "
            "items, marked as such; where nobody is known, an error."
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help=", ".join(FORMATS) + ".")] = "table",
    raw: Annotated[bool, typer.Option("--raw", help="Write CSV cells as they are, formulas too.")] = False,
    why: Annotated[bool, typer.Option("--why", help="Name what in the history and in the item's text raised the score most.")] = False,
    trusted: o.Classes = None,
    data: o.OtherData = None,
    rerank: Annotated[Path | None, typer.Option(metavar="RERANKER", help="Put what RUN retrieves in this reranker's order.")] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="How many items RUN retrieves for it (default as trained).")] = None,
    filter: r.Filter = None,
    exclude: r.Exclude = None,
    only: r.Only = None,
    at_most: r.AtMost = None,
    boost: r.Boost = None,
    diversity: r.Diversity = 0.0,
) -> None:
    """Recommend items from RUN for users, or for a history of titles or ids."""
    o.choice("format", form, FORMATS)
    if on_unknown is not None:
        o.choice("way with unknown users", on_unknown, ON_UNKNOWN)
    if raw and form != "csv":
        raise BertrecError(f"--raw goes with --format csv, not with {form}")
    _check_rerank(rerank, candidates, k=k, why=why)
    lists = {"--user": user, "--history": history, "--history-ids": history_ids}
    given = _with_more(lists, more or [])
    if sum([bool(user) or users_file is not None, bool(history), bool(history_ids)]) != 1:
        raise BertrecError("say for whom: one of --user ID (or --users-file F), --history TITLE, --history-ids ID")
    place = Run(run)
    record, model, searched = open_both(place, index)
    typed = bool(given["--history"] or given["--history-ids"])
    dataset = None if typed and data is None else served_data(place, record, model, data, reading)
    model = model if dataset is None else fit_catalog(model, dataset)
    if searched is not None and index is not None:
        check_fits(searched, index, model, place, data)
    if given["--history"]:
        cases = [UserList(None, title_history(model.catalog, given["--history"]))]
    elif given["--history-ids"]:
        cases = history_cases(model.catalog, given["--history-ids"], on_unknown)
    else:
        assert dataset is not None
        cases = user_cases(dataset.interactions, given["--user"], users_file, on_unknown)
    rules = r.read_rules(model.catalog, filter=filter, exclude=exclude, only=only, at_most=at_most, boost=boost, diversity=diversity)
    kept = keeps_seen(record, keep_seen)
    fill(model, cases, k=k, keep_seen=kept, index=searched, reranker=rerank, candidates=candidates, rules=rules)
    if why:
        explain_cases(model, cases)
    if form == "csv":
        _print_csv(model.catalog, cases, raw=raw)
    else:
        _PRINTERS[form](model.catalog, cases)


def _with_more(lists: dict[str, list[str] | None], more: list[str]) -> dict[str, list[str]]:
    """Let ``--history A B C`` mean what it looks like: words that follow belong to the one list option that was used, once."""
    given = {name: list(values or []) for name, values in lists.items()}
    if more:
        used = [name for name, values in given.items() if values]
        if len(used) != 1 or len(given[used[0]]) != 1:
            raise BertrecError(f"unexpected words: {' '.join(more)} (repeat the option before each value)")
        given[used[0]] += more
    return given


def title_history(catalog: ItemCatalog, typed: Sequence[str]) -> list[Id]:
    """Return the ids of the items whose titles were typed."""
    from bertrec.cli.titles import find_title

    return [catalog.ids.ids[find_title(title, catalog.titles)] for title in typed]


def history_cases(catalog: ItemCatalog, typed: Sequence[str], on_unknown: str | None = None) -> list[UserList]:
    """Return one case of the item ids that were typed, in the type that they have in the data; an unknown one is named and left out.

    Raises:
        DataError: none of them is known, and nothing else was asked for that.
    """
    known = set(catalog.ids.ids)
    found: list[Id] = []
    for text in typed:
        try:
            found.append(o.known_id(text, known))
        except DataError as error:
            note(f"note: left out of the history: {error}")
    if not found and on_unknown in (None, "error"):
        raise DataError(f"none of the {len(typed)} items of the history is in the catalogue")
    return [UserList(None, found)] if found or on_unknown == "fallback" else []


def user_cases(
    interactions: Interactions, names: Sequence[str], users_file: Path | None = None, on_unknown: str | None = None
) -> list[UserList]:
    """Return one case per user, those of the file last, each with everything that the data knows of that user.

    Raises:
        DataError: the file cannot be read, or an id is unknown and that is not to be passed over; the text names its file and line.
    """
    known = set(interactions.users.ids)
    asked = [("", name) for name in names]
    if users_file is not None:
        asked += [(f"{users_file}: line {number}: ", name) for number, name in o.listed_names(users_file)]
    cases: list[UserList] = []
    unknown: list[tuple[str, DataError]] = []
    for where, name in asked:
        try:
            cases.append(UserList(o.known_id(name, known), []))
        except DataError as error:
            unknown.append((where, error))
            cases.append(UserList(name, [], fallback="unknown"))
    found = [case for case in cases if case.fallback is None]
    if unknown:
        _report_unknown(unknown, len(asked), on_unknown or ("fallback" if found else "error"))
    for case, row in zip(found, interactions.sequences.take(_rows_of(interactions, found)), strict=True):
        case.history = interactions.catalog.ids.decode(row)
    return found if on_unknown == "skip" else cases


def _rows_of(interactions: Interactions, cases: Sequence[UserList]) -> Any:
    import numpy as np

    return np.asarray(interactions.users.encode([case.user for case in cases if case.user is not None]), dtype=np.int64) - 1


def _report_unknown(unknown: list[tuple[str, DataError]], asked: int, policy: str) -> None:
    where, first = unknown[0]
    if policy == "error":
        raise DataError(f"{where}{first}") from first
    served = "left out" if policy == "skip" else "served by popularity (--on-unknown skip leaves them out)"
    note(f"note: {len(unknown)} of {asked} users are not in the data: {served}; the first: {where}{first}")


def _check_rerank(rerank: Path | None, candidates: int | None, *, k: int, why: bool) -> None:
    if rerank is None and candidates is not None:
        raise BertrecError("--candidates goes with --rerank: it says how many items the reranker puts in order")
    if rerank is not None and why:
        raise BertrecError("--why explains the run's own score, which is not what orders the list here: leave it out with --rerank")
    if candidates is not None and candidates < k:
        raise BertrecError(f"--candidates {candidates} are fewer than the -k {k} items asked for")


def fill(
    model: Recommender,
    cases: list[UserList],
    *,
    k: int,
    keep_seen: bool = False,
    index: ItemIndex | None = None,
    reranker: Path | None = None,
    candidates: int | None = None,
    rules: Rules | None = None,
) -> None:
    """Put the recommended items and their scores into the cases; with a reranker the scores are those that order the list."""
    histories = [case.history for case in cases]
    how: dict[str, Any] = {"exclude_seen": not keep_seen, "index": index, "rules": rules}
    if reranker is not None:
        from bertrec.rerank.kinds import recommend_reranked

        found = recommend_reranked(model, reranker, histories, k, candidates=candidates, **how)
    else:
        found = model.recommend(histories, k, **how)
    for case, items, scores, fallback in zip(cases, found.items, found.scores, found.fallback, strict=True):
        case.items, case.fallback = list(items), fallback
        case.scores = [float(score) for score in scores[: len(items)]]
    if cases and (fewest := min(len(case.items) for case in cases)) < k:
        left = ": the rules leave no more" if rules is not None else ""
        note(f"note: only {fewest} items could be recommended where {k} were asked for{left}")


def explain_cases(model: Recommender, cases: list[UserList]) -> None:
    """Put into the cases what raised the score of each item most."""
    from bertrec.models.explain import explain

    for case in (case for case in cases if case.fallback is None):
        case.why = [explain(model, case.history, item)[:_REASONS] for item in case.items]


def _titles(catalog: ItemCatalog, ids: Sequence[Id]) -> list[str]:
    return [catalog.titles[row - 1] if row else "" for row in catalog.ids.encode(list(ids))]


def print_tables(catalog: ItemCatalog, cases: list[UserList]) -> None:
    """Print one table per case, with the latest items of its history above it."""
    for case in cases:
        whose = f"user {case.user}" if case.user is not None else "history"
        recent = "; ".join(_titles(catalog, case.history[-5:]))
        known = f"{len(case.history)} items, the latest: {recent}" if case.history else "no items"
        say(f"{whose} ({known})" + (f": nothing to go by, ordered by {case.fallback}" if case.fallback else ""))
        columns = ["rank", "id", "title", "score", *(["why"] if case.why else [])]
        rows = [
            [rank, item, title, _score(score), *([_reasons(case.why[rank - 1])] if case.why else [])]
            for rank, (item, title, score) in enumerate(zip(case.items, _titles(catalog, case.items), case.scores, strict=True), start=1)
        ]
        print_table("", columns, rows, right=["rank", "score"])


def _reasons(reasons: Sequence[Any]) -> str:
    return "\n".join(f"{reason.kind}: {reason.text} ({reason.contribution:+.3f})" for reason in reasons)


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


def _print_json(catalog: ItemCatalog, cases: list[UserList]) -> None:
    lists = [{"user": case.user, "history": case.history, "fallback": case.fallback, "items": _rows(catalog, case)} for case in cases]
    say_document(json_text({"recommendations": lists}))


def _print_csv(catalog: ItemCatalog, cases: list[UserList], *, raw: bool) -> None:
    explained = any(case.why for case in cases)
    lines: list[list[Any]] = [["user", "rank", "id", "title", "score", "fallback", *(["why"] if explained else [])]]
    for case in cases:
        for row, reasons in zip(_rows(catalog, case), case.why or [[]] * len(case.items), strict=True):
            user = "" if case.user is None else case.user
            why = [_reasons(reasons).replace("\n", "; ")] if explained else []
            lines.append([user, row["rank"], row["id"], row["title"], row["score"], case.fallback or "", *why])
    sys.stdout.write(csv_text(lines, raw=raw))


_PRINTERS = {"table": print_tables, "json": _print_json}

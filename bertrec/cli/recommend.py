"""``bertrec recommend``: items for known users, or for a history given as titles or ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli import rules as r
from bertrec.cli.lists import FORMATS, Id, UserList, form_of, give_out
from bertrec.cli.output import note, note_each, say
from bertrec.cli.outputs import check_files
from bertrec.cli.reading import Reading, reads_data
from bertrec.core.errors import BertrecError, DataError
from bertrec.core.known_ids import find_id, known_id
from bertrec.runs.data import fit_catalog, served_data
from bertrec.runs.folder import Run, keeps_seen
from bertrec.runs.indexes import check_fits, open_both

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.interactions import Interactions
    from bertrec.data.wanted_users import WantedUser
    from bertrec.models.base import Recommender
    from bertrec.models.serving import Histories
    from bertrec.retrieval.index import ItemIndex
    from bertrec.retrieval.rules import Rules

EXAMPLES = """
Examples:

bertrec recommend runs/ml --user 1 --user 42 -k 5

bertrec recommend runs/ml --history "Toy Story" --history "Aladdin" --why

bertrec recommend runs/ml --index runs/ml.index --users-file users.txt --format csv > lists.csv

bertrec recommend runs/ml --users-file histories.jsonl --out lists.parquet

bertrec recommend runs/ml --rerank rerankers/composite --candidates 50 --user 1

bertrec recommend runs/shop --user 1 --filter "price < 50 and category == 'shoes' and in_stock" --at-most brand=2

bertrec recommend runs/shop --profile "walks in the mountains, has a small kitchen" --filter in_stock

bertrec recommend runs/shop --user 1 --exclude sold-out.txt --boost "in_stock=0.5" --diversity 0.3
"""

ON_UNKNOWN = ("fallback", "skip", "error")
_REASONS = 3
_MEND = "give items with --history or --history-ids, or take the most popular ones with --on-unknown fallback"


@reads_data()
def recommend(
    run: o.RunArgument,
    reading: Reading,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    index: Annotated[Path | None, typer.Option(metavar="INDEX", help="Search this index instead of scoring every item.")] = None,
    user: Annotated[list[str] | None, typer.Option(metavar="ID", help="A user of the data; more may follow.")] = None,
    users_file: Annotated[
        Path | None,
        typer.Option(
            metavar="F",
            help="Users, one id per line; or CSV, TSV, JSON lines or Parquet of user_id and, where known, history: item ids, oldest first.",
        ),
    ] = None,
    history: Annotated[list[str] | None, typer.Option(metavar="TITLE", help="Titles, oldest first; more may follow.")] = None,
    history_ids: Annotated[list[str] | None, typer.Option(metavar="ID", help="Item ids, oldest first; more may follow.")] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A new user in words: the items that they ask for, as bertrec search finds them.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items for each.")] = 10,
    keep_seen: o.KeepSeen = None,
    on_unknown: Annotated[
        str | None,
        typer.Option(
            help=f"Users (or a typed history) that are not in the data: {', '.join(ON_UNKNOWN)}. Unless said, they get the most popular "
            "items, marked as such; where nobody is known, an error."
        ),
    ] = None,
    form: Annotated[str | None, typer.Option("--format", help=", ".join(FORMATS) + " (default table).")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the lists into FILE.csv, .json, .jsonl or .parquet instead of printing them.")
    ] = None,
    overwrite: o.Overwrite = False,
    raw: Annotated[bool, typer.Option("--raw", help="Write CSV cells as they are, formulas too.")] = False,
    why: Annotated[bool, typer.Option("--why", help="Name what in the history and in the item's text raised the score most.")] = False,
    trusted: o.Classes = None,
    data: o.OtherData = None,
    vectors: o.Vectors = None,
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
    if form is not None:
        o.choice("format", form, FORMATS)
    form = form_of(form, out)
    check_files("--out", [] if out is None else [out], overwrite=overwrite)
    if on_unknown is not None:
        o.choice("way with unknown users", on_unknown, ON_UNKNOWN)
    if raw and form != "csv":
        raise BertrecError(f"--raw goes with --format csv or --out FILE.csv, not with {form}")
    _check_rerank(rerank, candidates, k=k, why=why)
    lists = {"--user": user, "--history": history, "--history-ids": history_ids}
    given = _with_more(lists, more or [])
    if sum([bool(user) or users_file is not None, bool(history), bool(history_ids), profile is not None]) != 1:
        raise BertrecError("say for whom: one of --user ID (or --users-file F), --history TITLE, --history-ids ID, --profile TEXT")
    if profile is not None and (index is not None or rerank is not None or why):
        raise BertrecError("--profile is searched for as text: leave out --index, --rerank and --why")
    asked = wanted_users(given["--user"], users_file)
    place = Run(run)
    record, model, searched = open_both(place, index)
    typed = not any(one.history is None for one in asked)
    dataset = None if typed and data is None and vectors is None else served_data(place, record, model, data, reading)
    model = model if dataset is None else fit_catalog(model, dataset, vectors)
    if searched is not None and index is not None:
        check_fits(searched, index, model, place, data)
    if given["--history"]:
        cases = [UserList(None, title_history(model.catalog, given["--history"]))]
    elif given["--history-ids"]:
        cases = history_cases(model.catalog, given["--history-ids"], on_unknown)
    else:
        interactions = None if dataset is None else dataset.interactions
        cases = user_cases(model.catalog, asked, interactions, on_unknown, times=model.reads_times)
    rules = r.read_rules(model.catalog, filter=filter, exclude=exclude, only=only, at_most=at_most, boost=boost, diversity=diversity)
    kept = keeps_seen(record, keep_seen)
    if profile is not None:
        cases = [profile_case(model, profile, k, rules)]
    else:
        fill(model, cases, k=k, keep_seen=kept, index=searched, reranker=rerank, candidates=candidates, rules=rules)
    if why:
        explain_cases(model, cases)
    give_out(model.catalog, cases, form=form, out=out, raw=raw)
    if out is not None:
        say(f"wrote {len(cases)} lists to {out}")


def profile_case(model: Recommender, profile: str, k: int, rules: Rules | None) -> UserList:
    """Return the list of a new user of whom only a text is known: what the text asks for.

    Raises:
        DataError: the rules order lists, which a search does itself, or the text is empty.
        ModelError: the model reads no text.
    """
    from bertrec.retrieval.rules import RuleBook

    if rules is not None and (rules.reorders or rules.boost):
        raise DataError("a list by profile takes --filter, --exclude and --only: leave out --at-most, --boost and --diversity")
    found = model.search(profile, k, allowed=None if rules is None else RuleBook(model.catalog).plan(rules).allowed)
    if len(found.items) < k:
        note(f"note: only {len(found.items)} items were found where {k} were asked for")
    return UserList(None, [], "profile", list(found.items), list(found.scores))


def _with_more(lists: dict[str, list[str] | None], more: list[str]) -> dict[str, list[str]]:
    """Let ``--history A B C`` mean what it looks like: words that follow belong to the one list option that was used, once."""
    given = {name: list(values or []) for name, values in lists.items()}
    if more:
        used = [name for name, values in given.items() if values]
        if len(used) != 1 or len(given[used[0]]) != 1:
            raise BertrecError(f"unexpected words: {' '.join(more)} (repeat the option before each value)")
        given[used[0]] += more
    return given


def wanted_users(names: Sequence[str], users_file: Path | None = None) -> list[WantedUser]:
    """Return the users that were named, those of the file last; what is ignored in it is printed."""
    from bertrec.data.wanted_users import WantedUser, read_wanted_users

    notes: list[str] = []
    asked = [WantedUser("", name) for name in names] + ([] if users_file is None else read_wanted_users(users_file, notes))
    note_each(notes)
    return asked


def title_history(catalog: ItemCatalog, typed: Sequence[str]) -> list[Id]:
    """Return the ids of the items whose titles were typed."""
    from bertrec.data.titles import find_title

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
            found.append(known_id(text, known))
        except DataError as error:
            note(f"note: left out of the history: {error}")
    if not found and on_unknown in (None, "error"):
        raise DataError(f"none of the {len(typed)} items of the history is in the catalogue")
    return [UserList(None, found)] if found or on_unknown == "fallback" else []


def user_cases(
    catalog: ItemCatalog,
    asked: Sequence[WantedUser],
    interactions: Interactions | None = None,
    on_unknown: str | None = None,
    *,
    times: bool = False,
) -> list[UserList]:
    """Return one case per user: with the history that was given, else with everything that the data knows of that user.

    Args:
        catalog: the items.
        asked: the users.
        interactions: the data; may be left out where every user has a history.
        on_unknown: what becomes of users of whom nothing is known, one of `ON_UNKNOWN`.
        times: whether the cases say when the items of the data were met.

    Raises:
        DataError: nothing is known of a user, and that is not to be passed over; the text names file and line.
    """
    known = set() if interactions is None else set(interactions.users.ids)
    cases = [_of_data(one, known) if one.history is None else UserList(one.user, []) for one in asked]
    _fill_given([(one, case) for one, case in zip(asked, cases, strict=True) if one.history is not None], catalog)
    unknown = [one for one, case in zip(asked, cases, strict=True) if case.fallback is not None]
    if unknown:
        _report_unknown(unknown, known, len(asked), on_unknown or ("fallback" if len(unknown) < len(asked) else "error"))
    found = [case for one, case in zip(asked, cases, strict=True) if one.history is None and case.fallback is None]
    if interactions is not None:
        rows = (interactions.timed if times else interactions.sequences).take(_rows_of(interactions, found))
        for number, case in enumerate(found):
            part = rows.slice(number, number + 1)
            case.history = interactions.catalog.ids.decode(part.values)
            case.times = None if part.times is None else part.times.tolist()
    return [case for case in cases if case.fallback is None] if on_unknown == "skip" else cases


def _of_data(one: WantedUser, known: set[Id]) -> UserList:
    user = find_id(str(one.user), known)
    return UserList(one.user, [], fallback="unknown") if user is None else UserList(user, [])


def _fill_given(given: Sequence[tuple[WantedUser, UserList]], catalog: ItemCatalog) -> None:
    """Put the known items of the histories of a file into the cases; a line counts the others."""
    items, lost = set(catalog.ids.ids), [(one, item) for one, _ in given for item in one.history or ()]
    for one, case in given:
        found = [find_id(str(item), items) for item in one.history or ()]
        case.history = [item for item in found if item is not None]
        case.fallback = None if case.history else "unknown"
    lost = [(one, item) for one, item in lost if find_id(str(item), items) is None]
    if lost:
        one, item = lost[0]
        note(f"note: {len(lost)} ids in the histories are no items (left out); the first: {one.where}: {item!r}")


def _rows_of(interactions: Interactions, cases: Sequence[UserList]) -> Any:
    import numpy as np

    return np.asarray(interactions.users.encode([case.user for case in cases if case.user is not None]), dtype=np.int64) - 1


def _report_unknown(unknown: Sequence[WantedUser], known: set[Id], asked: int, policy: str) -> None:
    first = unknown[0]
    where = f"{first.where}: " if first.where else ""
    why = _why_unknown(first, known)
    if policy == "error":
        raise DataError(f"{where or '--user: '}{why}; {_MEND}")
    what = "are not in the data" if all(one.history is None for one in unknown) else "have nothing to go by"
    served = "left out" if policy == "skip" else "served by popularity (--on-unknown skip leaves them out)"
    note(f"note: {len(unknown)} of {asked} users {what}: {served}; the first: {where}{why}")


def _why_unknown(one: WantedUser, known: set[Id]) -> str:
    if one.history is not None:
        return f"none of the {len(one.history)} items of the history is in the catalogue"
    try:
        known_id(str(one.user), known)
    except DataError as error:
        return str(error)
    return ""


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
    histories = _histories(model, cases)
    how: dict[str, Any] = {"exclude_seen": not keep_seen, "index": index, "rules": rules}
    if reranker is not None:
        from bertrec.rerank.kinds import recommend_reranked

        found = recommend_reranked(model, reranker, histories, k, candidates=candidates, **how)
    else:
        found = model.recommend(histories, k, **how)
    for case, items, scores, fallback in zip(cases, found.items, found.scores, found.fallback, strict=True):
        # A model that needs no history, such as popularity, orders the list of an unknown user as everyone's.
        case.items, case.fallback = list(items), fallback or (model.name if case.fallback else None)
        case.scores = [float(score) for score in scores[: len(items)]]
    if cases and (fewest := min(len(case.items) for case in cases)) < k:
        left = ": the rules leave no more" if rules is not None else ""
        note(f"note: only {fewest} items could be recommended where {k} were asked for{left}")


def _histories(model: Recommender, cases: list[UserList]) -> Histories:
    """Return the histories, with their times where these are said."""
    ids = [case.history for case in cases]
    if all(case.times is None for case in cases):
        return ids
    from bertrec.core.ragged import Ragged

    return Ragged.with_times([model.catalog.ids.encode(row) for row in ids], [case.times for case in cases])


def explain_cases(model: Recommender, cases: list[UserList]) -> None:
    """Put into the cases what raised the score of each item most."""
    from bertrec.models.explain import explain_list

    for case in (case for case in cases if case.fallback is None):
        history = model.histories([case.history])[0]
        case.why = [reasons[:_REASONS] for reasons in explain_list(model, history, case.items)]

"""``bertrec recommend``: items for known users, or for a history given as titles or ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import groups as g
from bertrec.cli import options as o
from bertrec.cli import rules as r
from bertrec.cli.lists import FORMATS, form_of, give_out, given_out
from bertrec.cli.output import note, note_each, say
from bertrec.cli.outputs import check_files
from bertrec.cli.reading import Reading, reads_data
from bertrec.core.errors import BertrecError, DataError
from bertrec.core.known_ids import known_id
from bertrec.runs.folder import Run, keeps_seen
from bertrec.runs.lists import ON_UNKNOWN, Answer, Id, Known, ListMaker, Tally, UserList, answering, starting, whole_items
from bertrec.runs.served import open_served

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog, UserCatalog
    from bertrec.data.load import Dataset
    from bertrec.data.wanted_users import WantedUser, WantedUsers
    from bertrec.models.base import Recommender
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

bertrec recommend runs/ml --group 1,42,7 --join least-misery --why

bertrec recommend runs/shop --user 1 --exclude sold-out.txt --boost "in_stock=0.5" --diversity 0.3
"""

_REASONS = 3


@reads_data()
def recommend(
    run: o.RunArgument,
    reading: Reading,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    index: Annotated[Path | None, typer.Option(metavar="INDEX", help="Search this index instead of scoring every item.")] = None,
    mmap: o.Mmap = False,
    user: Annotated[list[str] | None, typer.Option(metavar="ID", help="A user of the data; more may follow.")] = None,
    users_file: Annotated[
        Path | None,
        typer.Option(
            metavar="F",
            help="Users, one id per line; or CSV, TSV, JSON lines or Parquet (also a folder of parts) of user_id and, where known, "
            "history: item ids, oldest first.",
        ),
    ] = None,
    history: Annotated[list[str] | None, typer.Option(metavar="TITLE", help="Titles, oldest first; more may follow.")] = None,
    history_ids: Annotated[list[str] | None, typer.Option(metavar="ID", help="Item ids, oldest first; more may follow.")] = None,
    profile: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A new user in words: the items that they ask for, as bertrec search finds them.")
    ] = None,
    profile_start: Annotated[
        bool,
        typer.Option("--profile-start", help="Users without a history start from what the data say of them, as if it were their one item."),
    ] = False,
    group: g.Group = None,
    join: g.JoinBy = None,
    join_on: g.JoinOn = None,
    group_seen: g.SeenBy = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items for each.")] = 10,
    keep_seen: o.KeepSeen = None,
    on_unknown: Annotated[
        str | None,
        typer.Option(
            help=f"Users (or a history's ids) that are not in the data: {', '.join(ON_UNKNOWN)}. Unless said, they get the most popular "
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
    alone = {"--rerank": rerank, "--users-file": users_file, **given, "--profile": profile, "--profile-start": profile_start}
    members = g.check_group(group, {"--join": join, "--join-on": join_on, "--group-seen": group_seen}, alone)
    if sum([bool(user) or users_file is not None, bool(history), bool(history_ids), profile is not None, bool(members)]) != 1:
        raise BertrecError(
            "say for whom: one of --user ID (or --users-file F), --history TITLE, --history-ids ID, --profile TEXT, --group ID,ID"
        )
    told = {"--index": index, "--rerank": rerank, "--why": why or None, "--on-unknown": on_unknown, "--keep-seen": keep_seen}
    _check_effects(profile, given, group_seen, {**told, "--profile-start": profile_start or None})
    o.check_mmap(mmap, index)
    asked = Asked.of(given["--user"], users_file)
    needed = bool(members) or profile_start or not asked.all_given
    opened = open_served(Run(run), index=index, mmap=mmap, data=data, reading=reading, vectors=vectors, histories=needed)
    record, model, searched, dataset = opened.record, opened.model, opened.index, opened.dataset
    rules = r.read_rules(model.catalog, filter=filter, exclude=exclude, only=only, at_most=at_most, boost=boost, diversity=diversity)
    profiles = _profiles(dataset, rerank) if profile_start else None
    known = Known(model.catalog, None if dataset is None else dataset.interactions, times=model.reads_times, profiles=profiles)
    how: dict[str, Any] = {"keep_seen": keeps_seen(record, keep_seen), "index": searched, "rules": rules}
    maker = ListMaker(known, answer_of(model, k, reranker=rerank, candidates=candidates, **how), model.name)
    maker.explain = partial(explain_cases, model) if why else None
    maker.start = starting(model, k, index=searched, rules=rules) if profile_start else None
    writing: dict[str, Any] = {"form": form, "out": out, "raw": raw}
    if members:
        joined = g.joined_by(join, join_on, group_seen, keep_seen=how["keep_seen"])
        cases = g.group_cases(model, maker, members, on_unknown, explained=why, k=k, index=searched, rules=rules, **joined)
        count = len(cases)
        give_out(model.catalog, cases, **writing)
    elif profile is not None:
        count = 1
        give_out(model.catalog, [profile_case(model, profile, k, rules)], **writing)
    elif given["--history"] or given["--history-ids"]:
        typed_ids = given["--history-ids"]
        cases = history_cases(model.catalog, typed_ids, on_unknown) if typed_ids else [typed_case(model.catalog, given["--history"])]
        count = len(maker.filled(cases)) if cases else 0
        give_out(model.catalog, cases, **writing)
    else:
        count = write_lists(maker, asked, on_unknown, whole_items=whole_items(model, searched), explained=why, **writing)
    maker.tally.note_short(k, rules)
    if out is not None:
        say(f"wrote {count} lists to {out}")


class Asked:
    """The users that are asked for: gone through several times, and held where they are few."""

    def __init__(self, users: WantedUsers) -> None:
        self.users = users
        notes: list[str] = []
        blocks = users.blocks(notes)
        first, second = next(blocks, []), next(blocks, None)
        note_each(notes)
        self._held: list[WantedUser] | None = first if second is None else None

    @classmethod
    def of(cls, names: Sequence[str], users_file: Path | None = None) -> Asked:
        """Return the users that were named, those of the file last; what is ignored in it is printed."""
        from bertrec.data.places import place_of
        from bertrec.data.wanted_users import WantedUsers

        return cls(WantedUsers(names, None if users_file is None else place_of(users_file, "--users-file")))

    def blocks(self) -> Iterable[list[WantedUser]]:
        """Yield the users in order, so many at a time."""
        return self.users.blocks() if self._held is None else [self._held]

    @property
    def all_given(self) -> bool:
        """Whether every user has a history."""
        return not any(one.history is None for block in self.blocks() for one in block)


def write_lists(maker: ListMaker, asked: Asked, on_unknown: str | None, *, explained: bool, **how: Any) -> int:
    """Make the lists of users and give them out, a block at a time, once it is known that nothing is wrong with any; return how many.

    Raises:
        DataError: nothing is known of a user, and that is not to be passed over; the text names file and line.
    """
    looked, count = Tally(), 0
    for block in asked.blocks():
        maker.known.cases(block, looked)
    maker.skips = maker.known.report(looked, on_unknown) == "skip"
    with given_out(maker.known.catalog, whole_users=looked.whole, explained=explained, **how) as write:
        for block in asked.blocks():
            cases = maker.lists(block)
            write(cases)
            count += len(cases)
    return count


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


def typed_case(catalog: ItemCatalog, typed: Sequence[str]) -> UserList:
    """Return the case of the items whose titles were typed."""
    from bertrec.data.titles import Titles

    titles = Titles.of(catalog)
    return UserList(None, [catalog.ids.ids[titles.find(title)] for title in typed])


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


def _profiles(dataset: Dataset | None, rerank: Path | None) -> UserCatalog:
    """Return what the data say of users.

    Raises:
        BertrecError: it cannot be started from.
    """
    if rerank is not None:
        raise BertrecError("--profile-start makes the run's own lists: leave out --rerank")
    if dataset is None or dataset.users is None:
        raise BertrecError("--profile-start: the data have no table of users: add users.* with user_id and text, or name data with --data")
    return dataset.users


def _check_effects(profile: str | None, given: Mapping[str, list[str]], group_seen: str | None, told: Mapping[str, Any]) -> None:
    """Refuse options that would have no effect, where one of them was given."""
    if profile is not None:
        because, idle = "--profile is searched for as text", list(told)
    elif given["--history"]:
        because, idle = "a title of --history is that of an item", ["--on-unknown", "--profile-start"]
    elif given["--history-ids"]:
        because, idle = "--history-ids are all that is known", ["--profile-start"]
    else:
        because, idle = "--group-seen says what the list leaves out", ["--keep-seen"] if group_seen is not None else []
    if used := ["--mask-seen" if told[name] is False else name for name in idle if told[name] is not None]:
        raise BertrecError(f"{because}: leave out {' and '.join(used)}")


def _check_rerank(rerank: Path | None, candidates: int | None, *, k: int, why: bool) -> None:
    if rerank is None and candidates is not None:
        raise BertrecError("--candidates goes with --rerank: it says how many items the reranker puts in order")
    if rerank is not None and why:
        raise BertrecError("--why explains the run's own score, which is not what orders the list here: leave it out with --rerank")
    if candidates is not None and candidates < k:
        raise BertrecError(f"--candidates {candidates} are fewer than the -k {k} items asked for")


def answer_of(
    model: Recommender, k: int, *, reranker: Path | None = None, candidates: int | None = None, keep_seen: bool = False, **how: Any
) -> Answer:
    """Return what makes lists; with a reranker the scores are those that order the list."""
    if reranker is None:
        return answering(model, k, keep_seen=keep_seen, **how)
    from bertrec.cli.rerank import warn_other_retriever
    from bertrec.rerank.kinds import load_with_record, reranked

    loaded = load_with_record(reranker)
    warn_other_retriever(model, loaded.record)
    return lambda histories: reranked(model, loaded, histories, k, candidates=candidates, exclude_seen=not keep_seen, **how)


def explain_cases(model: Recommender, cases: list[UserList]) -> None:
    """Put into the cases what raised the score of each item most."""
    from bertrec.models.explain import explain_list

    for case in (case for case in cases if case.fallback is None):
        history = model.histories([case.history])[0]
        case.why = [reasons[:_REASONS] for reasons in explain_list(model, history, case.items)]

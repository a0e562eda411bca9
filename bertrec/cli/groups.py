"""``bertrec recommend --group``: one list for several users of the data."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note
from bertrec.core.errors import BertrecError, DataError
from bertrec.runs.lists import Id, Known, ListMaker, Tally, UserList, histories_of

if TYPE_CHECKING:
    from bertrec.models.base import Recommender
    from bertrec.models.explain import Reason
    from bertrec.models.groups import GroupList

JOINS = ("average", "least-misery", "most-pleasure", "attention")
ONS = ("scores", "vectors")
SEENS = ("any", "all", "none")

Group = Annotated[str | None, typer.Option(metavar="ID,ID,…", help="Users of the data who get one list together; see --join.")]
JoinBy = Annotated[
    str | None, typer.Option(metavar="HOW", help=f"How the members of --group count: {', '.join(JOINS)} (default {JOINS[0]}).")
]
JoinOn = Annotated[
    str | None,
    typer.Option(metavar="WHAT", help="Join the members' scores (default) or vectors, which --index can search."),
]
SeenBy = Annotated[
    str | None,
    typer.Option(metavar="WHOM", help="Leave out what any member of --group has met (default), what all have, or none."),
]


def check_group(group: str | None, how: Mapping[str, str | None], refused: Mapping[str, Any]) -> list[str]:
    """Return the ids of the members, each once, none where there is no group.

    Args:
        group: ids with commas between, as a row of CSV.
        how: what was said of the join, by option.
        refused: what does not go with a group, by option.

    Raises:
        BertrecError: an option without a group, or one that does not go with it; no id; or an unknown word.
    """
    if group is None:
        if lost := [name for name, value in how.items() if value is not None]:
            raise BertrecError(f"{lost[0]} goes with --group: it says how its members are joined")
        return []
    if other := [name for name, value in refused.items() if value]:
        raise BertrecError(f"--group makes one list of its own: leave out {other[0]}")
    for (name, value), words in zip(how.items(), (JOINS, ONS, SEENS), strict=True):
        if value is not None:
            o.choice(f"word of {name}", value, words)
    names = [name.strip() for row in csv.reader([group], skipinitialspace=True) for name in row]
    if not any(names):
        raise BertrecError("--group names no user: give ids with commas between, such as --group 1,2,3")
    return _once([name for name in names if name])


def joined_by(join: str | None, on: str | None, seen: str | None, *, keep_seen: bool) -> dict[str, str]:
    """Return how a group is joined, as `bertrec.models.groups.recommend_group` is told it."""
    return {"how": join or JOINS[0], "on": on or ONS[0], "exclude_seen": seen or ("none" if keep_seen else "any")}


def _once(names: Sequence[str]) -> list[str]:
    kept = list(dict.fromkeys(names))
    if len(kept) < len(names):
        twice = next(name for name in kept if names.count(name) > 1)
        note(f"note: {twice} stands in the group {names.count(twice)} times and counts once")
    if len(kept) == 1:
        note(f"note: a group of one: the list is that of {kept[0]} alone")
    return kept


def group_cases(
    model: Recommender, maker: ListMaker, names: Sequence[str], on_unknown: str | None, *, explained: bool, **how: Any
) -> list[UserList]:
    """Return the list of a group; none where nobody is known and unknown users are skipped.

    Args:
        model: fitted.
        maker: what is known of users; its tally counts the list.
        names: the members, each once.
        on_unknown: as for lists of users; unless said, a member who is not in the data is named and left out.
        explained: whether the scores of members go with each item.
        **how: of `bertrec.models.groups.recommend_group`, with ``k``.

    Raises:
        DataError: a member is not in the data, and that was to be an error.
    """
    members = _members(maker.known, names, on_unknown)
    if not members and on_unknown == "skip":
        return []
    if not members:
        note("note: nobody of the group is in the data: the list is that of a user without a history")
    found = model.recommend_group(histories_of(model.catalog, members) if members else [[]], **how)
    users = [one.user for one in members if one.user is not None]
    history = list(dict.fromkeys(item for one in members for item in one.history))
    maker.tally.fewest = len(found.items)
    case = UserList(",".join(map(str, names)), history, found.fallback, found.items, found.scores, members=users)
    case.why = _whose(found, users) if explained and found.fallback is None else []
    return [case]


def _members(known: Known, names: Sequence[str], on_unknown: str | None) -> list[UserList]:
    from bertrec.data.wanted_users import WantedUser

    asked = [WantedUser("", name) for name in names]
    cases = known.cases(asked, Tally())
    for one in (one for one, case in zip(asked, cases, strict=True) if case.fallback is not None):
        if on_unknown == "error":
            raise DataError(f"--group: {known.why_unknown(one)}; leave the member out, or take --on-unknown skip")
        note(f"note: left out of the group: {known.why_unknown(one)}")
    return [case for case in cases if case.fallback is None]


def _whose(found: GroupList, users: Sequence[Id]) -> list[list[Reason]]:
    """Return the score of each member for each item, as reasons of it, the most pleased member first."""
    from bertrec.models.explain import Reason

    return [[Reason("member", str(users[row]), value) for row, value in of] for of in found.by_pleasure()]

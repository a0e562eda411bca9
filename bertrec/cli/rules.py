"""Rules of a list as words of a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bertrec.cli.options import listed_names
from bertrec.cli.output import note
from bertrec.core.errors import ConfigError, DataError
from bertrec.core.known_ids import known_id

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog
    from bertrec.retrieval.rules import Rules


Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", metavar="CONDITION", help='Which items may be listed, by their attributes, such as "price < 50 and in_stock".'
    ),
]
Exclude = Annotated[list[str] | None, typer.Option(metavar="ID|FILE", help="An item that no list holds, or a file of ids; repeatable.")]
Only = Annotated[list[str] | None, typer.Option(metavar="ID|FILE", help="An item that lists may hold, and no other; repeatable.")]
AtMost = Annotated[list[str] | None, typer.Option(metavar="NAME=N", help="At most N items with one value of an attribute; repeatable.")]
Boost = Annotated[
    list[str] | None, typer.Option(metavar="NAME=W", help="Add W times an attribute, or W where a condition holds; repeatable.")
]
Diversity = Annotated[float, typer.Option(min=0.0, max=1.0, help="How much being unlike the list's others counts: 0 not, 1 alone.")]


def read_rules(
    catalog: ItemCatalog,
    *,
    filter: str | None,
    exclude: Sequence[str] | None,
    only: Sequence[str] | None,
    at_most: Sequence[str] | None,
    boost: Sequence[str] | None,
    diversity: float,
) -> Rules | None:
    """Return the rules that options say, None where they say none.

    Raises:
        ConfigError: ``--at-most`` or ``--boost`` is not written as ``NAME=NUMBER``.
        DataError: a file of ids cannot be read.
    """
    if filter is None and not any((exclude, only, at_most, boost, diversity)):
        return None
    from bertrec.retrieval.rules import Rules

    limits = {name: int(number) for name, number in (_pair("--at-most", text, r"[1-9]\d{0,8}", "brand=2") for text in at_most or [])}
    weights = {name: float(number) for name, number in (_pair("--boost", text, _NUMBER, "in_stock=0.5") for text in boost or [])}
    banned, allowed = _ids(catalog, exclude or [], "--exclude"), _ids(catalog, only, "--only") if only else None
    return Rules(filter=filter, exclude=banned, only=allowed, at_most=limits, boost=weights, diversity=diversity)


_NUMBER = r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?"


def _pair(option: str, text: str, number: str, example: str) -> tuple[str, str]:
    """Split at the last ``=``, as a condition may hold others."""
    name, _, value = text.rpartition("=")
    if not name.strip() or not re.fullmatch(number, value.strip()):
        raise ConfigError(f"{option} {text}: write it as {option} {example}")
    return name.strip(), value.strip()


def _ids(catalog: ItemCatalog, words: Sequence[str], option: str) -> list[str | int]:
    """Return ids in the type that they have in the data; a word that is none of them names a file of ids.

    Raises:
        DataError: a word is neither; the text names near ids.
    """
    found: list[str | int] = []
    for word in words:
        if not Path(word).is_file():
            try:
                found.append(known_id(word, catalog.ids.ids))
            except DataError as error:
                raise DataError(f"{option}: {error}, and no such file") from error
        elif (one := catalog.ids.from_text([word])[0]) in catalog.ids:
            found.append(one)
        else:
            listed = catalog.ids.from_text(name for _, name in listed_names(Path(word)))
            if lost := [one for one in listed if one not in catalog.ids]:
                note(f"note: {option} {word}: {len(lost)} of {len(listed)} ids are no items, such as {lost[0]}")
            found += listed
    return found

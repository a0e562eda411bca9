"""Which column is the time, and what becomes of every other column of a table."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.errors import DataError
from bertrec.data.frames import is_text, reads_as_time

# Names that say "time" whatever the numbers are; other names that end in a time's word need values that can be one.
_SURE = frozenset({"time", "date", "datetime", "timestamp", "ts", "eventtime", "eventtimestamp", "unixtime", "unixtimestamp", "epoch"})
_WORDS = frozenset({"time", "date", "datetime", "timestamp", "tstamp", "ts", "dt", "at", "dat", "epoch"})
_JOINED = re.compile(r"(timestamp|datetime|time|date)$")
_UNLIKE = frozenset({"update", "candidate", "mandate", "validate", "runtime", "lifetime", "showtime"})
# Seconds, milliseconds, microseconds and nanoseconds between 1980 and 2100.
_EPOCHS = tuple((3.1e8 * unit, 4.1e9 * unit) for unit in (1, 1e3, 1e6, 1e9))
# Of so many rows the values say whether a column may be the time.
LOOKED_AT = 1000
_MEND = "--time-column NAME  (time_column: NAME  in a YAML description or LoadOptions; none: the order of the rows counts)"
_CARRIED = {
    "rating": "for minimum ratings and rankers",
    "label": "rows with 0 are no positives",
    "weight": "counted by popularity, ignored by every other model",
    "text": "read by encoder adapt, the pre-training task reviews, prompts with {reviews} and the rankers ubert and p5",
    "split": "for the given split",
}


def find_time(table: pa.Table, others: Collection[str], source: str, *, dropped: Sequence[str] = ()) -> str | None:
    """Return the column that holds the times where none is called ``timestamp``; ``None`` where there is none.

    Args:
        table: the interactions.
        others: columns with a role of their own, which are no times.
        source: what messages call the table.
        dropped: columns of mixed types, which the table lacks.

    Raises:
        DataError: several columns look like times, or one looks so and cannot be read as one.
    """
    free = [name for name in table.column_names if name not in others]
    found = [name for name in free if _named_so(name, table[name]) or _typed_so(table[name])]
    spelled = [name for name in found if _plain(name) == "timestamp"]
    found = spelled if len(spelled) == 1 else found
    if len(found) > 1:
        raise DataError(f"{source}: columns {_listed(found)} look like times: say which one is, with  {_MEND}")
    if found:
        return found[0]
    if mixed := [name for name in dropped if set(_words(name)[-1:]) & _WORDS]:
        raise DataError(f"{source}: column '{mixed[0]}' looks like a time but mixes types: make it one, or set  {_MEND}")
    if numbers := [name for name in free if _words(name)[-1:] != ["id"] and _is_epoch(table[name])]:
        raise DataError(f"{source}: the numbers of column '{numbers[0]}' look like times: say so or not, with  {_MEND}")
    return None


def may_be_times(head: pa.Table) -> list[str]:
    """Return the columns that `find_time` would take as times, or ask about, by their names, types and first `LOOKED_AT` rows."""
    return [name for name in head.column_names if _named_so(name, head[name]) or _typed_so(head[name]) or _is_epoch(head[name])]


def account(source: str, names: Mapping[str, str], there: Sequence[str], *, dropped: Sequence[str] = ()) -> str:
    """Say in one line what becomes of each column; ``""`` where there are users, items and ``timestamp`` alone.

    Args:
        source: what messages call the table.
        names: the table's column of each role.
        there: all columns of the table.
        dropped: columns of mixed types.
    """
    ignored = [name for name in there if name not in names.values()]
    parts = [f"used {_listed([names[role] for role in ('user_id', 'item_id', 'timestamp') if role in names])}"]
    parts += [f"carried '{names[role]}' ({why})" for role, why in _CARRIED.items() if role in names]
    parts += [f"ignored {_listed(ignored)}"] if ignored else []
    parts += [f"ignored {_listed(dropped)} (mixed types)"] if dropped else []
    return f"{source}: columns: {'; '.join(parts)}" if len(parts) > 1 else ""


def account_items(
    source: str, carried: Sequence[str], *, texts: Sequence[str] = (), unfit: Sequence[str] = (), mixed: Sequence[str] = ()
) -> str:
    """Say in one line what becomes of the columns of an item table; ``""`` where there is nothing to say.

    Args:
        source: what messages call the table.
        carried: the attributes.
        texts: the text fields, where nobody named them; said where there are others.
        unfit: columns of a type that cannot be carried, such as objects in objects.
        mixed: columns of mixed types.
    """
    parts = [f"carried {_listed(carried)} (to filter and boost by; to read one as text, list it in the text fields)"] if carried else []
    parts += [f"ignored {_listed(unfit)} (of a type that cannot be compared)"] if unfit else []
    parts += [f"ignored {_listed(mixed)} (mixed types)"] if mixed else []
    parts = [f"read as text {_listed(texts)}", *parts] if texts and parts else parts
    return f"{source}: columns: {'; '.join(parts)}" if parts else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _words(name: str) -> list[str]:
    """Return the words of ``last_watch_dt`` or ``eventTime`` in small letters."""
    return re.findall(r"[a-z]+|\d+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower())


def _plain(name: str) -> str:
    return "".join(_words(name))


def _named_so(name: str, column: pa.ChunkedArray) -> bool:
    """Say whether a name says time; of all but the plainest names the values must be able to be one."""
    words, plain = _words(name), _plain(name)
    if plain in _SURE:
        return True
    if not words or plain in _UNLIKE or not (words[-1] in _WORDS or _JOINED.search(plain)):
        return False
    return _is_epoch(column) or (is_text(column.type) and not _numeric(column) and _dated(column))


def _dated(column: pa.ChunkedArray) -> bool:
    """Say whether most of the first texts hold at least four digits, as every date does."""
    text = _first(column)
    return bool(len(text)) and pc.mean(pc.match_substring_regex(text, r"\d\D*\d\D*\d\D*\d")).as_py() > 0.5


def _typed_so(column: pa.ChunkedArray) -> bool:
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return True
    return is_text(column.type) and not _numeric(column) and reads_as_time(_first(column))


def _first(column: pa.ChunkedArray) -> pa.Array:
    text = pc.utf8_trim_whitespace(column.slice(0, LOOKED_AT).cast(pa.large_string()))
    return text.filter(pc.not_equal(text, "")).drop_null().combine_chunks()


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    kind = column.type
    if not (is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    try:
        found = (_first(column) if is_text(kind) else column.slice(0, LOOKED_AT)).cast(pa.float64(), safe=False)
    except pa.ArrowInvalid:
        return None
    return found.drop_null() if len(found.drop_null()) else None


def _numeric(column: pa.ChunkedArray) -> bool:
    return _numbers(column) is not None


def _is_epoch(column: pa.ChunkedArray) -> bool:
    numbers = _numbers(column)
    if numbers is None:
        return False
    bounds = pc.min_max(numbers)
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    return any(first <= low and high <= last for first, last in _EPOCHS)

"""Tables: ``interactions.*``, ``items.*`` and an optional ``users.*`` as CSV, TSV, JSON lines or Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from bertrec.core.errors import DataError
from bertrec.data.frames import is_text
from bertrec.data.ids import flat_array
from bertrec.data.places import Place, children, fetched
from bertrec.data.readers import amazon, atomic, parts, sequences
from bertrec.data.readers.content import Form
from bertrec.data.readers.delimited import TABLE_SUFFIXES, read_table
from bertrec.data.readers.raw import RawData
from bertrec.data.readers.shape import IDS, is_number

_IDS = {"interactions": ("user_id", "item_id"), "items": ("item_id", "title"), "users": ("user_id",)}
_UNTYPED = (".csv", ".tsv", ".txt", ".dat")


def find_table(folder: Place, stem: str) -> Place | None:
    """Return the one table ``stem.*`` of a folder, which may be a folder of Parquet parts, or None.

    Raises:
        DataError: there are several.
    """
    there = children(folder)
    found = [folder / name for suffix in TABLE_SUFFIXES if there.get(name := f"{stem}{suffix}") is False]
    found += [folder / name for name in (stem, f"{stem}.parquet") if there.get(name) and parts.has_parts(folder / name)]
    if len(found) > 1:
        raise DataError(f"{folder}: both {found[0].name} and {found[1].name} are there: keep one, or write a YAML that names it")
    return found[0] if found else None


def is_tables(folder: Place) -> bool:
    """Say whether a folder holds ``interactions.*``."""
    return find_table(folder, "interactions") is not None


def read_folder(
    folder: Place, form: Form | None = None, *, columns: Mapping[str, str] | None = None, time_column: str | None = None
) -> RawData:
    """Read the tables of a folder; see ``read_files``."""
    paths = {stem: find_table(folder, stem) for stem in ("interactions", "items", "users")}
    if paths["interactions"] is None or paths["items"] is None:
        missing = "interactions" if paths["interactions"] is None else "items"
        raise DataError(f"{folder}: no {missing}.csv, .tsv, .jsonl or .parquet")
    there = {stem: path for stem, path in paths.items() if path is not None}
    return read_files(folder.name, there, columns=columns, form=form, time_column=time_column)


def read_files(
    name: str,
    paths: Mapping[str, Place],
    *,
    columns: Mapping[str, str] | None = None,
    form: Form | None = None,
    time_column: str | None = None,
) -> RawData:
    """Read named tables.

    Args:
        name: of the data set.
        paths: ``interactions``, ``items`` (which a file of sequences can do without), and ``users`` where there is one.
        columns: the files' names of our columns, such as ``{"user_id": "uid"}``; a name counts in every table that has it. Columns of a
            table without a header are called by their numbers from 1.
        form: how the tables were written, as far as it was said.
        time_column: the column of times, where it was said.

    Raises:
        DataError: a file that cannot be read, or a column named in ``columns`` that no table has.
    """
    form, columns = form or Form(), dict(columns or {})
    raw = RawData(name, "tables", pa.table({}), sources={role: str(path) for role, path in paths.items()})
    for role, path in paths.items():
        _read_role(raw, role, path, form, columns, time_column)
    if "items" not in paths:
        sequences.name_items(raw)
    rename(raw, {ours: theirs for ours, theirs in columns.items() if not _is_named(raw, ours, theirs)})
    _same_ids(raw, paths)
    return raw


def read_one(
    role: str, path: Place, *, columns: Mapping[str, str] | None = None, form: Form | None = None, time_column: str | None = None
) -> RawData:
    """Read one table alone: ``items``, also of RecBole or Amazon, or ``interactions``.

    Args:
        role: which.
        path: the file.
        columns: as in `read_files`; those that are for other tables do not matter.
        form: how the table was written, as far as it was said.
        time_column: the column of times, where it was said.

    Raises:
        DataError: the file cannot be read, or our name of a column is taken.
    """
    form = form or Form()
    raw = RawData(path.stem, "tables", pa.table({}), sources={role: str(path)})
    if path.suffix in (".item", ".inter"):
        with fetched(path) as file:
            atomic.read_one(raw, role, file, form.encoding)
    else:
        _read_role(raw, role, path, form, columns or {}, time_column)
    rename(raw, {ours: theirs for ours, theirs in (columns or {}).items() if theirs in getattr(raw, role).column_names})
    return raw


def of_table(role: str, table: pa.Table, what: str, *, columns: Mapping[str, str] | None = None) -> RawData:
    """Take a table with types of its own, such as Parquet's, for one that `read_one` reads; ``what`` is its name in messages."""
    raw = RawData(what, "tables", pa.table({}), sources={role: what}, untyped=False)
    setattr(raw, role, _without_numbers(table, role, columns or {}))
    rename(raw, {ours: theirs for ours, theirs in (columns or {}).items() if theirs in table.column_names})
    return raw


def _read_role(raw: RawData, role: str, place: Place, form: Form, columns: Mapping[str, str], time_column: str | None) -> None:
    if parts.is_parquet(place):
        table = parts.read_interactions(place, columns, time_column=time_column) if role == "interactions" else parts.read_all(place)
        raw.untyped &= role != "items"
        setattr(raw, role, _without_numbers(table, role, columns))
        return
    with fetched(place) as path:
        _read_text(raw, role, path, form, columns)
        raw.notes = [note.replace(str(path), str(place)) for note in raw.notes]


def _read_text(raw: RawData, role: str, path: Path, form: Form, columns: Mapping[str, str]) -> None:
    if role == "interactions" and sequences.is_sequences(path, form):
        table = sequences.read_sequences(path, form)
    elif role == "items" and amazon.is_metadata(path):
        table, raw.text_fields, said = amazon.read_metadata(path, encoding=form.encoding)
        raw.notes += said
    else:
        numbered = any(is_number(theirs) for theirs in columns.values())
        table = read_table(path, form, known={*IDS, *columns.values()}, numbered=numbered, notes=raw.notes)
        table = _without_numbers(table, role, columns)
        raw.untyped &= role != "items" or path.name.removesuffix(".gz").endswith(_UNTYPED)
    setattr(raw, role, table)


def rename(raw: RawData, columns: Mapping[str, str]) -> None:
    """Give the tables of what was read our names; ``columns`` holds theirs, as in ``read_files``.

    Raises:
        DataError: no table has such a column, or our name is taken.
    """
    for ours, theirs in columns.items():
        found = {role: table for role in ("interactions", "items", "users") if (table := getattr(raw, role)) is not None}
        for role in holders({role: table.column_names for role, table in found.items()}, ours, theirs, raw.name):
            setattr(raw, role, _renamed(found[role], theirs, ours, raw.sources.get(role, raw.name)))
        raw.attributes = {ours if name == theirs else name: column for name, column in raw.attributes.items()}


def holders(names: Mapping[str, Sequence[str]], ours: str, theirs: str, source: str) -> list[str]:
    """Return the tables, of those whose columns are given, that have the column ``theirs``, which is to be ``ours``.

    Raises:
        DataError: none has.
    """
    holding = [role for role, there in names.items() if theirs in there]
    if not holding:
        one = any(len(there) == 1 and theirs in there[0] for there in names.values())
        listed = "; ".join(f"{role}: {', '.join(there)}" for role, there in names.items())
        mend = ": say what separates columns, with  separator: MARK" if one else f" ({listed:.1000}): name one of them, once"
        raise DataError(f"{source}: no table has the column '{theirs}' that is to be '{ours}'{mend}")
    return holding


def check_taken(there: Sequence[str], ours: str, theirs: str, source: str) -> None:
    """See that a table has no column of the name that another is to get.

    Raises:
        DataError: it has.
    """
    if ours in there and ours != theirs:
        raise DataError(f"{source}: the column '{theirs}' is to be '{ours}', but there is a column '{ours}' already")


def _renamed(table: pa.Table, theirs: str, ours: str, source: str) -> pa.Table:
    check_taken(table.column_names, ours, theirs, source)
    return table.rename_columns([ours if name == theirs else name for name in table.column_names])


def _without_numbers(table: pa.Table, role: str, columns: Mapping[str, str]) -> pa.Table:
    """Name the columns of a table without a header: those of interactions as said, else the first ones as usual."""
    if table.column_names != [str(number) for number in range(1, table.num_columns + 1)]:
        return table
    said = {theirs: ours for ours, theirs in columns.items()} if role == "interactions" else {}
    if not said.keys() & set(table.column_names):
        said = {str(number): ours for number, ours in enumerate(_IDS[role], start=1)}
    return table.rename_columns([said.get(name, name) for name in table.column_names])


def _is_named(raw: RawData, ours: str, theirs: str) -> bool:
    """Say whether a numbered column has its name already, or an item table came with its own."""
    return is_number(theirs) and raw.interactions is not None and ours in raw.interactions.column_names


def _same_ids(raw: RawData, paths: Mapping[str, Place]) -> None:
    """Write whole-number ids as text where another table, of a format without types, has them so."""
    for name, roles in (("item_id", ("interactions", "items")), ("user_id", ("interactions", "users"))):
        held = {role: table for role in roles if (table := getattr(raw, role)) is not None and name in table.column_names}
        texts = [role for role, table in held.items() if is_text(table[name].type)]
        if not any(paths[role].name.removesuffix(".gz").endswith(_UNTYPED) for role in texts if role in paths):
            continue
        for role in held.keys() - set(texts):
            table = held[role]
            column = flat_array(table[name])
            if pa.types.is_integer(column.type):
                setattr(raw, role, table.set_column(table.column_names.index(name), name, column.cast(pa.string())))

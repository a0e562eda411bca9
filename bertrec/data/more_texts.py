"""Texts of items and users from a file of their own, joined by id: written by hand, or by a model, as MINT and KAR have them."""

from __future__ import annotations

import pyarrow as pa

from bertrec.core.errors import DataError
from bertrec.data.attributes import values_alone
from bertrec.data.frames import id_column, is_text_like, require_columns, to_arrow
from bertrec.data.ids import IdMap
from bertrec.data.places import place_of
from bertrec.data.readers import tables
from bertrec.data.readers.content import Form
from bertrec.data.readers.raw import RawData


def add_texts(raw: RawData, role: str, file: str, form: Form) -> None:
    """Put the text columns of a file beside those of a table, or in place of one that is not there; a note names the file.

    Args:
        raw: what was read; it gets the columns and the note.
        role: ``items`` or ``users``.
        file: a table with ``item_id`` or ``user_id`` and one column of text or more.
        form: how tables were written, as far as it was said.

    Raises:
        DataError: the file cannot be read, has no id or no text, has an id twice, a column that the table has, or no id of the table.
    """
    place, name = place_of(file, f"the texts of {role}"), f"{role[:-1]}_id"
    read = tables.read_one(role, place, form=form)
    found = getattr(read, role)
    require_columns(found, [name], file)
    texts = [one for one in found.column_names if one != name and is_text_like(found[one].type) and not values_alone(found[one])]
    if not texts:
        raise DataError(f"{file}: no column of text beside '{name}': texts of {role} are columns with names of their own")
    ids, inner = IdMap.from_column(id_column(found, name, file))
    if len(ids) < len(inner):
        raise DataError(f"{file}: {len(inner) - len(ids)} rows repeat an id: keep one row for each")
    raw.notes += read.notes
    held = getattr(raw, role)
    if held is None:
        setattr(raw, role, found.select([name, *texts]))
        raw.sources[role] = file
        return
    table, _ = to_arrow(held, raw.sources.get(role, role), needed=[name])
    _join(raw, role, table, found.select([name, *texts]), ids, file)


def _join(raw: RawData, role: str, table: pa.Table, found: pa.Table, ids: IdMap, file: str) -> None:
    source, (name, *texts) = raw.sources.get(role, role), found.column_names
    if taken := [one for one in texts if one in table.column_names]:
        raise DataError(f"{file}: {source} has a column '{taken[0]}' already: give this one another name")
    rows = ids.named([str(one) for one in id_column(table, name, source).to_pylist()])
    told = int((rows > 0).sum())
    if not told:
        raise DataError(f"{file}: none of its {len(ids)} ids is one of {source}, such as {ids.ids[0]!r}")
    for one in texts:
        table = table.append_column(one, found[one].take(pa.array(rows - 1, mask=rows == 0)))
    setattr(raw, role, table)
    if role == "items" and raw.text_fields is not None:
        raw.text_fields = (*raw.text_fields, *texts)
    lost = len(ids) - len(set(rows[rows > 0].tolist()))
    left = f"; {lost} other ids (left out)" if lost else ""
    raw.notes.append(f"{source}: {', '.join(map(repr, texts))} from {file}, for {told} of {len(rows)} {role}{left}")

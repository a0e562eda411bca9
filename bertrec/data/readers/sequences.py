"""Lines of numbers without a header: a user and then the items in order (``train.txt``), or one user and one item a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from bertrec.core.errors import DataError
from bertrec.data.ids import flat_array
from bertrec.data.readers import shape
from bertrec.data.readers.content import Form, as_utf8, read_bytes
from bertrec.data.readers.raw import RawData, RawLists

_SUFFIXES = (".txt", ".txt.gz")
_PARTS = {"train": "train", "valid": "valid", "val": "valid", "dev": "valid", "test": "test"}
# A user and so many items at least are no row of user, item, rating and time.
_LONG = 5


def find_files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder by their part (``train``, ``valid``, ``test``); one file alone is ``""``."""
    found = sorted(path for path in folder.iterdir() if path.name.endswith(_SUFFIXES) and path.is_file() and _rows_of_numbers(path, Form()))
    parts = {_PARTS[stem]: path for path in found if (stem := path.name.split(".")[0].lower()) in _PARTS}
    if "train" in parts:
        return {part: parts[part] for part in ("train", "valid", "test") if part in parts}
    return {"": found[0]} if len(found) == 1 else {}


def read_folder(folder: Path, form: Form | None = None) -> RawData:
    """Read ``train.txt`` with ``valid.txt`` and ``test.txt`` as a given split, or one such file; items are their ids alone.

    Raises:
        DataError: there is no such file, or its lines can be read in several ways.
    """
    form, paths = form or Form(), find_files(folder)
    if not paths:
        raise DataError(f"{folder}: no train.txt with a user and items on each line")
    tables = []
    for part, path in paths.items():
        is_sequences(path, form)  # says where lines are ambiguous
        table = read_sequences(path, form)
        tables.append(table.append_column("split", pa.array([part] * table.num_rows, pa.string())) if len(paths) > 1 else table)
    sources = {"interactions": ", ".join(map(str, paths.values()))}
    raw = RawData(folder.name, "sequences", pa.table({}), pa.concat_tables(tables), sources=sources, parts=len(paths) > 1)
    name_items(raw)
    return raw


def name_items(raw: RawData) -> None:
    """Make an item table of the ids that were met, and say so."""
    assert raw.interactions is not None
    raw.items = raw.interactions.select(["item_id"]).group_by("item_id", use_threads=False).aggregate([])
    raw.notes.append(f"{raw.name}: no item table: items are their ids alone, which a text model cannot read")


def is_sequences(path: Path, form: Form) -> bool:
    """Say whether a file holds lines of a user and items.

    Raises:
        DataError: its lines of numbers can be read in several ways.
    """
    if form.layout is not None:
        return form.layout == "sequences"
    if not path.name.endswith(_SUFFIXES) or not path.is_file() or form.header is not None or form.separator not in (None, "space", " "):
        return False
    widths = {len(row) for row in _rows_of_numbers(path, form)}
    if widths and len(widths) == 1 and 2 < min(widths) < _LONG:
        mend = "layout: sequences  (a user and the items in order) or  header: false  with  columns: {user_id: 1, item_id: 2}"
        raise DataError(f"{path}: {min(widths)} numbers on each line and no header: say what they are, with  {mend}  in a YAML description")
    return bool(widths)


def read_sequences(path: Path, form: Form) -> pa.Table:
    """Return one row for each user and item, in the order of the file.

    Raises:
        DataError: a line has a user and no item at all, or the file cannot be read.
    """
    content = as_utf8(read_bytes(path), path, encoding=form.encoding)
    separator = shape.NAMES.get(form.separator or "", form.separator) or shape.find_separator(content, " ", ())
    if separator not in (" ", "\t"):
        content = content.replace(separator.encode(), b" ")
    lines = pa.array([line for line in content.decode().split("\n") if line.strip()], pa.large_string())
    rows = RawLists.split(lines)
    owner = np.repeat(np.arange(len(lines)), np.diff(rows.offsets))
    first = np.zeros(len(rows.values), dtype=bool)
    first[rows.offsets[:-1]] = True
    if first.all():
        raise DataError(f"{path}: no line has an item after its user")
    users = rows.values.take(pa.array(rows.offsets[:-1])).take(pa.array(owner[~first]))
    return pa.table({"user_id": users, "item_id": flat_array(rows.values.filter(pa.array(~first)))})


def _rows_of_numbers(path: Path, form: Form) -> list[list[str]]:
    """Return the first lines where all of them are whole numbers and spaces alone, else nothing."""
    try:
        lines = shape.first_lines(as_utf8(read_bytes(path), path, encoding=form.encoding))
    except DataError:
        return []
    rows = [line.decode().split() for line in lines]
    return rows if all(len(row) > 1 and all(cell.isdecimal() for cell in row) for row in rows) else []

"""RecBole's atomic files, flat and in sequential benchmark form: tab-separated, with ``name:type`` headers.

See https://recbole.io/docs/user_guide/data/atomic_files.html.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.errors import DataError, unknown_name
from bertrec.data.attributes import LABEL_FIELDS
from bertrec.data.catalog import text_first
from bertrec.data.frames import id_column, require_columns
from bertrec.data.ids import flat_array
from bertrec.data.readers.content import Form
from bertrec.data.readers.delimited import read_delimited
from bertrec.data.readers.raw import RawData, RawLists, RawSequences

_TYPES = ("token", "token_seq", "float", "float_seq")
_PARTS = ("train", "valid", "test")
_LIST = "item_id_list"


def is_atomic(folder: Path) -> bool:
    """Say whether a folder holds a ``*.inter`` file."""
    return any(folder.glob("*.inter"))


def read_folder(folder: Path, form: Form | None = None) -> RawData:
    """Read ``NAME.inter`` or ``NAME.{train,valid,test}.inter``, ``NAME.item`` and, where there is one, ``NAME.user``.

    Raises:
        DataError: a file is missing or its header names no types, or the folder holds several data sets.
    """
    name, encoding = _name(folder), form.encoding if form else None
    item = folder / f"{name}.item"
    if not item.is_file():
        header = "item_id:token title:token_seq"
        raise DataError(f"{item}: no such file: it is to hold the items, tab-separated under a header such as  {header}")
    raw = RawData(name, "atomic", pa.table({}))
    read_one(raw, "items", item, encoding)
    flat, user = folder / f"{name}.inter", folder / f"{name}.user"
    if flat.is_file():
        read_one(raw, "interactions", flat, encoding)
    if user.is_file():
        users, user_types = read_atomic(user, encoding)
        require_columns(users, ["user_id"], str(user))
        raw.users, raw.sources["users"] = users.select(["user_id", *_text_fields(user_types, "user_id")]), str(user)
    _add_benchmark(raw, folder, name, encoding)
    if raw.interactions is None and not raw.sequences:
        raise DataError(f"{folder}: no {name}.inter and no {name}.train.inter")
    return raw


def read_one(raw: RawData, role: str, path: Path, encoding: str | None = None) -> None:
    """Read ``items`` or ``interactions`` into ``raw``."""
    table, types = read_atomic(path, encoding)
    setattr(raw, role, table)
    raw.sources[role] = str(path)
    if role == "items":
        raw.text_fields = _text_fields(types, "item_id")
        raw.attributes = {name: _lists(table[name], kind) for name, kind in types.items() if _is_list(name, kind)}


def read_atomic(path: Path, encoding: str | None = None) -> tuple[pa.Table, dict[str, str]]:
    """Read one atomic file.

    Returns:
        The table, with the types taken off the column names (values stay text), and the type of each column.

    Raises:
        DataError: a column without a type or with an unknown one.
    """
    table = read_delimited(path, delimiter="\t", encoding=encoding)
    if table.num_columns == 1 and set(table.column_names[0]) & set(",;| "):
        raise DataError(f"{path}: the header is one column, '{table.column_names[0]:.80}': atomic files separate columns by tabs")
    types = {}
    for column in table.column_names:
        name, colon, kind = column.rpartition(":")
        if not colon:
            raise DataError(f"{path}: column '{column}' has no type: an atomic header reads '{column}:token'")
        if kind not in _TYPES:
            raise DataError(f"{path}: column '{name}': {unknown_name('type', kind, _TYPES)}")
        types[name] = kind
    return table.rename_columns(list(types)), types


def _name(folder: Path) -> str:
    stems = sorted({path.name.removesuffix(".inter") for path in folder.glob("*.inter")})
    names = sorted({stem.rpartition(".")[0] if stem.rpartition(".")[2] in _PARTS and "." in stem else stem for stem in stems})
    if len(names) != 1:
        raise DataError(f"{folder}: several data sets ({', '.join(names)}): give each a folder of its own")
    return names[0]


def _text_fields(types: dict[str, str], id_name: str) -> tuple[str, ...]:
    return tuple(text_first([name for name, kind in types.items() if kind in ("token", "token_seq") and name != id_name]))


def _is_list(name: str, kind: str) -> bool:
    """Say whether a column is a list of labels or numbers; sequences of tokens are mostly the words of a text."""
    return kind == "float_seq" or (kind == "token_seq" and name in LABEL_FIELDS)


def _lists(column: pa.ChunkedArray, kind: str) -> pa.Array:
    """Split at white space; null where there is nothing, or the dash that stands for it."""
    text = pc.utf8_trim_whitespace(flat_array(column).cast(pa.string()))
    parts = pc.utf8_split_whitespace(pc.if_else(pc.is_in(text, value_set=pa.array(["", "-"])), pa.scalar(None, text.type), text))
    try:
        return parts.cast(pa.list_(pa.float64())) if kind == "float_seq" else parts
    except pa.ArrowInvalid:
        return parts


def _add_benchmark(raw: RawData, folder: Path, name: str, encoding: str | None) -> None:
    """Add the given split, whose files win over the flat one."""
    paths = {part: path for part in _PARTS if (path := folder / f"{name}.{part}.inter").is_file()}
    if not paths:
        return
    if "train" not in paths:
        raise DataError(f"{folder}: {name}.{next(iter(paths))}.inter is there but {name}.train.inter is missing")
    tables = {part: read_atomic(path, encoding)[0] for part, path in paths.items()}
    if _LIST in tables["train"].column_names:
        raw.sequences = {part: _sequences(table, str(paths[part])) for part, table in tables.items()}
        return
    if raw.interactions is not None:
        raw.notes.append(f"{name}.inter is not read: the given split beside it wins")
    labelled = [table.append_column("split", pa.array([part] * table.num_rows, pa.string())) for part, table in tables.items()]
    raw.interactions = pa.concat_tables(labelled, promote_options="default")
    raw.parts = True
    raw.sources["interactions"] = str(folder / f"{name}.*.inter")


def _sequences(table: pa.Table, source: str) -> RawSequences:
    require_columns(table, ["user_id", _LIST, "item_id"], source)
    users = id_column(table, "user_id", source)
    return RawSequences(source, users, RawLists.split(table[_LIST]), flat_array(table["item_id"]).cast(pa.large_string()))

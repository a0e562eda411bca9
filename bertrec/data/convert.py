"""Write a data set as Parquet tables or as RecBole's atomic files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bertrec.core.distinct import distinct
from bertrec.core.errors import DataError, unknown_name
from bertrec.core.files import atomic_file
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import TextCatalog
from bertrec.data.frames import is_text_like, text_column
from bertrec.data.interactions import Interactions
from bertrec.data.load import Dataset, formats_in
from bertrec.data.splits import EvaluationSet, Split

Target = Literal["parquet", "atomic"]
_PART_NAMES = np.array(["train", "valid", "test"])
# RecBole cannot read an empty value under pandas 3.
_EMPTY = "-"
_TABLES = ("interactions.parquet", "items.parquet", "users.parquet")
_ATOMIC = (".inter", ".item", ".user")


@dataclass(frozen=True)
class Converted:
    """The files that were written, and what they do not hold."""

    paths: list[Path]
    notes: list[str]


def convert(
    dataset: Dataset, folder: str | Path, *, format: Target = "parquet", split: Split | None = None, overwrite: bool = False
) -> Converted:
    """Write a data set that ``bertrec.data.load.load`` reads again.

    Parquet: ``interactions.parquet``, ``items.parquet`` and, where there are profiles, ``users.parquet``; a given split becomes the column
    ``split`` where it parts the interactions. Atomic: ``NAME.inter``, ``NAME.item``, ``NAME.user``, and the given split as
    ``NAME.{train,valid,test}.inter`` in sequential benchmark form; what this form cannot hold is in the notes.

    Args:
        dataset: the data; load them with ``max_words=None`` for whole texts.
        folder: created where it is missing; other files in it stay.
        format: ``parquet`` or ``atomic``.
        split: written instead of the data's given split.
        overwrite: write into a folder that holds other data; files of a former conversion go.

    Raises:
        DataError: an unknown format, ids with white space in an atomic benchmark, or a folder that holds data: those that were read, or
            others. Nothing is written then.
        BertrecError: the folder cannot be written.
    """
    writers = {"parquet": _write_parquet, "atomic": _write_atomic}
    if format not in writers:
        raise DataError(unknown_name("format to convert to", format, writers))
    _check_folder(dataset, Path(folder), overwrite=overwrite)
    notes = ["impressions are not written, only histories and clicks"] if dataset.impressions else []
    chosen = split or dataset.given
    paths = writers[format](dataset, Path(folder), chosen, notes)
    if overwrite:
        notes += _without_former(Path(folder), paths)
    return Converted(paths, notes)


def _check_folder(dataset: Dataset, folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that would be data of two kinds afterwards."""
    target = folder.resolve()
    for read in dataset.folders:
        if read.resolve().is_relative_to(target):
            raise DataError(f"{folder}: the data that are converted lie here ({read}), and would be read otherwise: choose another folder")
    if overwrite or not target.is_dir():
        return
    try:
        found = formats_in(target)
    except DataError:
        found = ["several"]
    if found:
        raise DataError(f"{folder}: there are data here already ({', '.join(found)}): choose another folder, or take them away first")


def _without_former(folder: Path, written: Sequence[Path]) -> list[str]:
    """Remove what a former conversion left beside the files that were written, such as its split, which would be read with them."""
    kept = {path.name for path in written}
    former = [path for path in folder.iterdir() if path.name not in kept and (path.name in _TABLES or path.suffix in _ATOMIC)]
    for path in former:
        path.unlink()
    return [f"removed from {folder}, where they were left from before: {', '.join(sorted(path.name for path in former))}"] if former else []


def split_labels(interactions: Interactions, split: Split) -> npt.NDArray[np.str_] | None:
    """Return ``train``, ``valid`` or ``test`` for each interaction, ``[total]``, where the split cuts every sequence in that order.

    ``None`` where it does not: an evaluated user is unknown, occurs twice, or training plus targets are not the user's sequence.
    """
    if interactions.users != split.train.users:
        return None
    parts = [split.train.sequences]
    for evaluated in (split.validation, split.test):
        targets = _by_user(interactions, evaluated)
        if targets is None:
            return None
        parts.append(targets)
    rows = np.concatenate([part.rows for part in parts])
    codes = np.repeat(np.arange(3), [len(part.values) for part in parts])
    order = np.lexsort((codes, rows))
    same = np.array_equal(np.concatenate([part.values for part in parts])[order], interactions.sequences.values)
    return _PART_NAMES[codes[order]] if same and np.array_equal(rows[order], interactions.sequences.rows) else None


def _by_user(interactions: Interactions, evaluated: EvaluationSet | None) -> Ragged | None:
    rows = np.zeros(0, np.int64) if evaluated is None else interactions.users.encode(evaluated.users)
    if not rows.all() or len(distinct(rows)) != len(rows):
        return None
    lengths = np.zeros(len(interactions.users), np.int64)
    if evaluated is None:
        return Ragged.from_lengths(np.zeros(0, np.int64), lengths)
    lengths[rows - 1] = evaluated.targets.lengths
    return Ragged.from_lengths(evaluated.targets.take(np.argsort(rows)).values, lengths)


def _interaction_columns(interactions: Interactions) -> dict[str, pa.Array]:
    users, items = pa.array(_plain_ids(interactions.users.ids)), pa.array(_plain_ids(interactions.catalog.ids.ids))
    columns = {
        "user_id": users.take(pa.array(interactions.sequences.rows)),
        "item_id": items.take(pa.array(interactions.sequences.values - 1)),
    }
    for name in ("timestamp", "rating", "label", "weight"):
        values = getattr(interactions, name)
        if values is not None:
            columns[name] = pa.array(values)
    return columns if interactions.text is None else {**columns, "text": pa.array(interactions.text, pa.string())}


def _plain_ids(ids: Sequence[str | int]) -> list[str] | list[int]:
    """Return ids of one type, as a column needs them; mixed ones become text."""
    whole = [external for external in ids if isinstance(external, int)]
    return whole if len(whole) == len(ids) else [str(external) for external in ids]


def _write_parquet(dataset: Dataset, folder: Path, split: Split | None, notes: list[str]) -> list[Path]:
    columns = _interaction_columns(dataset.interactions)
    if split is not None:
        labels = split_labels(dataset.interactions, split)
        if labels is None:
            notes.append("the split is not written: it does not part the interactions into train, valid and test")
        else:
            columns["split"] = pa.array(labels.tolist(), pa.string())
    tables = {"interactions": pa.table(columns), "items": _with_attributes(dataset.catalog, notes)}
    if dataset.users is not None:
        tables["users"] = _text_table(dataset.users)
    paths = []
    for name, table in tables.items():
        with atomic_file(folder / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")
        paths.append(folder / f"{name}.parquet")
    return paths


def _text_table(catalog: TextCatalog) -> pa.Table:
    fields = {name: pa.array(column, pa.string()) for name, column in catalog.fields.items()}
    return pa.table({f"{catalog.kind}_id": pa.array(_plain_ids(catalog.ids.ids)), **fields})


def _with_attributes(catalog: TextCatalog, notes: list[str]) -> pa.Table:
    """Return the texts and the attributes, but those that would be read as other texts than there are."""
    table, lost = _text_table(catalog), []
    for name, column in zip(catalog.attribute_names, catalog.attributes.columns if catalog.attributes else [], strict=True):
        if name not in table.column_names and not is_text_like(column.type):
            table = table.append_column(name, column)
        elif catalog.fields.get(name) == text_column(catalog.attributes, name):
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            lost.append(repr(name))
    notes += [f"item columns are not written, since they would be read as text: {', '.join(lost)}"] if lost else []
    return table


def _write_atomic(dataset: Dataset, folder: Path, split: Split | None, notes: list[str]) -> list[Path]:
    name = dataset.name
    columns = {column: values for column, values in _interaction_columns(dataset.interactions).items() if column != "text"}
    if dataset.interactions.text is not None:
        notes.append("review texts are not written")
    types = {column: "token" if column.endswith("_id") else "float" for column in columns}
    written = {f"{name}.inter": _lines(columns, types), f"{name}.item": _text_lines(dataset.catalog, notes)}
    if dataset.catalog.attributes is not None:
        notes.append("item columns that are no text are not written: Parquet keeps them")
    if dataset.users is not None:
        written[f"{name}.user"] = _text_lines(dataset.users, notes)
    if split is not None:
        written |= _benchmark(name, split)
        notes += _lost(split)
    for file, text in written.items():
        with atomic_file(folder / file) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return [folder / file for file in written]


def _lines(columns: dict[str, pa.Array], types: dict[str, str]) -> str:
    header = "\t".join(f"{name}:{types[name]}" for name in columns)
    texts = [column.cast(pa.string()) for column in columns.values()]
    return "\n".join([header, *pc.binary_join_element_wise(*texts, "\t").to_pylist()]) + "\n"


def _text_lines(catalog: TextCatalog, notes: list[str]) -> str:
    """Return an ``.item`` or ``.user`` file: white space becomes single spaces, quotation marks apostrophes, an empty text a dash."""
    columns = {f"{catalog.kind}_id": pa.array([str(external) for external in catalog.ids.ids])}
    types = {f"{catalog.kind}_id": "token"}
    changed = 0
    for field, column in catalog.fields.items():
        cleaned = [" ".join(text.replace('"', "'").split()) or _EMPTY for text in column]
        changed += sum(clean != text for clean, text in zip(cleaned, column, strict=True))
        columns[field], types[field] = pa.array(cleaned, pa.string()), "token_seq"
    if changed:
        notes.append(
            f"{changed} {catalog.kind} texts were changed to fit the format (quotation marks, white space, '{_EMPTY}' for no text)"
        )
    return _lines(columns, types)


def _benchmark(name: str, split: Split) -> dict[str, str]:
    items = np.array([str(external) for external in split.catalog.ids.ids], dtype=object)
    if any(len(external.split()) != 1 for external in items):
        raise DataError("an atomic benchmark separates item ids by spaces, and these ids hold white space: write Parquet instead")
    sequences = split.train.sequences
    users = np.array([str(user) for user in split.train.users.ids], dtype=object)
    files = {f"{name}.train.inter": _prefixes(users, sequences, items)}
    for part, evaluated in (("valid", split.validation), ("test", split.test)):
        if evaluated is not None:
            files[f"{name}.{part}.inter"] = _rows_of(evaluated, items)
    return files


def _lost(split: Split) -> list[str]:
    """Say what of a split a sequential benchmark has no row for."""
    parts = {"validation": split.validation, "test": split.test}
    more = {name: len(part.targets.values) - len(part) for name, part in parts.items() if part is not None}
    found = [f"{count} further {name} targets of users who have several" for name, count in more.items() if count]
    if alone := int((split.train.sequences.lengths == 1).sum()):
        found.append(f"the training interaction of {alone} users who have one alone")
    if len(split.held_out):
        found.append(f"which {len(split.held_out)} items were held out")
    return [f"the split is not written whole, as the format has no place for: {'; '.join(found)}"] if found else []


def _row(user: str | int, history: npt.NDArray[np.int64], target: int, items: npt.NDArray[np.object_]) -> str:
    return f"{user}\t{' '.join(items[history - 1])}\t{items[target - 1]}"


def _joined(rows: list[str]) -> str:
    return "\n".join(["user_id:token\titem_id_list:token_seq\titem_id:token", *rows]) + "\n"


def _prefixes(users: npt.NDArray[np.object_], sequences: Ragged, items: npt.NDArray[np.object_]) -> str:
    """Return one row per training position, as RecBole's sequential models expect; that size is the format's."""
    rows = [
        _row(user, sequence[:end], sequence[end], items)
        for user, sequence in zip(users, sequences, strict=True)
        for end in range(1, len(sequence))
    ]
    return _joined(rows)


def _rows_of(evaluated: EvaluationSet, items: npt.NDArray[np.object_]) -> str:
    rows = [
        _row(user, history, target, items)
        for user, history, targets in zip(evaluated.users, evaluated.histories, evaluated.targets, strict=True)
        for target in targets[:1]
    ]
    return _joined(rows)

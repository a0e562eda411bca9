"""Items (and users) as ids and text fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bertrec.core.checks import expect, expect_list, expect_path, expect_whole
from bertrec.core.described import Described, Preview
from bertrec.core.errors import DataError, ModelError, unknown_name
from bertrec.core.files import atomic_file, read_record, sha256_text, write_json
from bertrec.core.shown import note_without_places
from bertrec.data.attributes import attributes_of, values_alone
from bertrec.data.columns import account_items
from bertrec.data.frames import MISSING, id_column, is_text_like, require_columns, text_column, to_arrow
from bertrec.data.ids import IdMap
from bertrec.data.outgoing import Backend, frame_of
from bertrec.data.templates import check_template, cut_words, render, template_fields

OnEmpty = Literal["keep", "drop", "error"]
# What a table's writer puts where a text is missing, in small letters.
_NO_TEXT = frozenset(word.lower() for word in MISSING)
_LONGEST = max(map(len, _NO_TEXT))
_TITLES = ("title", "movie_title", "name")


@dataclass(frozen=True, eq=False, repr=False)
class TextCatalog(Described):
    """Ids with text fields; ``ItemCatalog`` and ``UserCatalog`` differ in their names only.

    Attributes:
        ids: ``ids.ids[i]`` belongs to row ``i``, whose inner id is ``i + 1``.
        fields: text columns in template order, each ``[n]``; ``""`` where empty.
        template: such as ``"{title}. {genres}"``; ``None`` joins the non-empty fields with one space.
        notes: what was merged, dropped or left out, one line each; no part of the hash.
        attributes: the other columns of the item table with their types, row ``i`` as above; no part of the hash, as no
            retriever reads them (the pre-training task attributes does, and nothing that it leaves behind; the CTR rankers do, whose
            hash holds what they read).
        withdrawn: ``[n]``, which rows are kept for histories alone and never recommended; ``None`` where there is none.
    """

    ids: IdMap
    fields: dict[str, list[str]]
    template: str | None = None
    notes: tuple[str, ...] = field(default=(), repr=False)
    attributes: pa.Table | None = field(default=None, repr=False)
    withdrawn: npt.NDArray[np.bool_] | None = field(default=None, repr=False)
    kind: ClassVar[str] = "item"

    def __post_init__(self) -> None:
        for name, column in self.fields.items():
            if len(column) != len(self.ids):
                raise DataError(f"text field '{name}' has {len(column)} rows for {len(self.ids)} {self.kind}s")
        expect(self.attributes, pa.Table, f"{type(self).__name__}: attributes", optional=True)
        if self.attributes is not None and self.attributes.num_rows != len(self.ids):
            raise DataError(f"the attributes have {self.attributes.num_rows} rows for {len(self.ids)} {self.kind}s")
        if self.withdrawn is not None and self.withdrawn.shape != (len(self.ids),):
            raise DataError(f"withdrawn has shape {list(self.withdrawn.shape)} for {len(self.ids)} {self.kind}s")
        check_template(self.template, list(self.fields))

    def __len__(self) -> int:
        return len(self.ids)

    def _facts(self) -> dict[str, object]:
        return {f"{self.kind}s": len(self), "fields": list(self.fields), "template": self.template}

    def _preview(self) -> Preview:
        rows = zip(self.ids.ids, *self.fields.values(), strict=True)
        return Preview.of([f"{self.kind}_id", *self.fields], rows, len(self))

    @cached_property
    def texts(self) -> list[str]:
        """The text of each row, ``[n]``: its fields, joined or as the template says."""
        return render(self.fields, len(self), self.template)

    @property
    def read_fields(self) -> list[str]:
        """The fields that `texts` are made of: those of the template, or all."""
        return list(self.fields) if self.template is None else list(dict.fromkeys(template_fields(self.template)))

    @cached_property
    def titles(self) -> list[str]:
        """The first field of each row, or its id where that is empty, ``[n]``."""
        first = next(iter(self.fields.values()), [""] * len(self))
        return [title or str(external) for title, external in zip(first, self.ids.ids, strict=True)]

    @property
    def attribute_names(self) -> list[str]:
        """The names of the attributes."""
        return [] if self.attributes is None else list(self.attributes.column_names)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over ids (with their types), texts, and which are withdrawn, where any is."""
        ids = (f"{type(external).__name__}:{external}" for external in self.ids.ids)
        gone = (f"withdrawn:{row}" for row in np.flatnonzero(~self.listed[1:]).tolist())
        return sha256_text(*ids, *self.texts, *gone)

    @property
    def listed(self) -> npt.NDArray[np.bool_]:
        """Which inner ids may be recommended, ``[n + 1]``: all but padding and those withdrawn."""
        gone = np.zeros(len(self), np.bool_) if self.withdrawn is None else self.withdrawn
        return np.concatenate([[False], ~gone])

    def require_text(self, reader: str) -> None:
        """Check that there is anything to read.

        Args:
            reader: who reads the texts, for the message.

        Raises:
            DataError: no row has any text.
        """
        if len(self) and not any(self.texts):
            fields = ", ".join(self.fields) or "none"
            raise DataError(
                f"{reader} has nothing to read: no {self.kind} has any text (text fields: {fields}): "
                "add a column of text, such as a title, or take a model of ids (idrec, or --item-input id)"
            )

    def to_frame(self, backend: Backend | None = None) -> Any:
        """Return a new data frame with the ids (``item_id`` or ``user_id``) and one column for each text field.

        Args:
            backend: ``pandas``, ``polars`` or ``pyarrow``; None takes pandas where it is installed, else PyArrow.
        """
        return frame_of({f"{self.kind}_id": self.ids.ids, **self.fields}, backend)

    def with_attributes(self, frame: Any, *, id_name: str | None = None) -> Self:
        """Return the same catalogue with other attributes: prices and stock as they are now.

        Args:
            frame: a pandas, polars or PyArrow table with one row per id; ids that are not in the catalogue are passed over, and what is not
                in the table has no value.
            id_name: the column of ids; None: ``item_id`` (or ``user_id``).

        Raises:
            DataError: there is no such column, or an id is missing or stands there twice.
        """
        name, source = id_name or f"{self.kind}_id", "the table of attributes"
        table, _ = to_arrow(frame, source, needed=[name])
        require_columns(table, [name], source)
        ids, inner = IdMap.from_column(id_column(table, name, source))
        if len(ids) < len(inner):
            raise DataError(f"{source}: {len(inner) - len(ids)} rows repeat an id: keep one row for each")
        rows = ids.encode(self.ids.ids)
        held, _ = attributes_of(table, name, ())
        return replace(self, attributes=held.take(pa.array(rows - 1, mask=rows == 0)) if held.num_columns else None)

    def take(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Self:
        """Return a catalogue of the rows numbered ``rows`` (from 0), in that order."""
        picked = np.asarray(rows, dtype=np.int64).tolist()
        fields = {name: [column[row] for row in picked] for name, column in self.fields.items()}
        attributes = None if self.attributes is None else self.attributes.take(pa.array(picked, pa.int64()))
        gone = None if self.withdrawn is None else self.withdrawn[picked]
        return replace(self, ids=IdMap(self.ids.ids[row] for row in picked), fields=fields, attributes=attributes, withdrawn=gone)

    def save(self, folder: str | Path) -> None:
        """Write ``items.parquet`` and ``items.json`` (or ``users.*``) into a folder."""
        folder = expect_path(folder, f"{type(self).__name__}.save: folder")
        columns, layout = _id_columns(self.ids)
        columns |= {f"text:{name}": pa.array(column, pa.string()) for name, column in self.fields.items()}
        if self.attributes is not None:
            columns |= {f"attribute:{name}": self.attributes[name] for name in self.attribute_names}
        columns |= {} if self.withdrawn is None else {"withdrawn": pa.array(self.withdrawn)}
        table = pa.table(columns)
        with atomic_file(folder / f"{self.kind}s.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")
        about = {
            "ids": layout,
            "fields": list(self.fields),
            "template": self.template,
            "notes": [note_without_places(note) for note in self.notes],  # a model may be published
            "attributes": self.attribute_names,
        }
        write_json(folder / f"{self.kind}s.json", {"format": 1, **about, "content_hash": self.content_hash})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ModelError: a file is missing or damaged, or the two do not belong together.
        """
        path = expect_path(folder, f"{cls.__name__}.load: folder", error=ModelError) / f"{cls.kind}s.parquet"
        about = read_record(path.with_suffix(".json"), {"ids": str, "fields": list, "notes": list, "content_hash": str})
        try:
            table = pq.read_table(path)
            table.validate(full=True)
            fields = {name: table[f"text:{name}"].to_pylist() for name in about["fields"]}
            ids = IdMap(_read_ids(table, about["ids"]))
            held = about.get("attributes", [])  # of before there were any
            attributes = pa.table({name: table[f"attribute:{name}"] for name in held}) if held else None
            gone = table["withdrawn"].to_numpy().astype(np.bool_) if "withdrawn" in table.column_names else None
            catalog = cls(ids, fields, about["template"], tuple(about["notes"]), attributes, gone)
        except FileNotFoundError as error:
            raise ModelError(f"{path} is missing") from error
        except (OSError, pa.ArrowException, KeyError, TypeError, AttributeError, ValueError, DataError) as error:
            raise ModelError(f"{path} is damaged: {error}") from error
        if catalog.content_hash != about["content_hash"]:
            raise ModelError(f"{path} does not belong to the {cls.kind}s.json beside it: their hashes differ")
        return catalog

    @classmethod
    def _build(
        cls,
        frame: Any,
        id_name: str,
        *,
        text_fields: Sequence[str] | None,
        max_words: int | None,
        template: str | None,
        on_empty: OnEmpty,
        source: str,
        attributes: pa.Table | None = None,
    ) -> Self:
        _check_choices(text_fields, max_words, template, f"{cls.__name__}.from_frame")
        table, mixed = to_arrow(frame, source, needed=[id_name, *(_TITLES if text_fields is None else text_fields)])
        require_columns(table, [id_name], source)
        names, notes = _chosen_fields(table, id_name, text_fields, mixed, cls.kind, source)
        external = id_column(table, id_name, source)
        fields = {name: [cut_words(text, max_words) for text in text_column(table, name)] for name in names}
        fields, said = _without_placeholders(fields, source)
        notes += said
        ids, inner = IdMap.from_column(external)
        held = None
        if cls.kind == "item":
            told = text_fields is None and any(name not in _TITLES for name in names)
            typed = table if attributes is None else attributes
            held, said = _attributes(typed, id_name, names, mixed, source, told=told)
            notes += said
        if len(ids) < len(inner):
            notes.append(f"{source}: {_check_repeated(external, inner, fields, cls.kind, source)}")
            first = np.unique(inner, return_index=True)[1]
            fields = {name: [column[row] for row in first] for name, column in fields.items()}
            held = None if held is None else held.take(pa.array(first))
        return cls(ids, fields, template, tuple(notes), held)._without_empty(on_empty, source)

    def _without_empty(self, on_empty: OnEmpty, source: str) -> Self:
        if on_empty not in ("keep", "drop", "error"):
            raise DataError(unknown_name("policy for empty texts", on_empty, ["keep", "drop", "error"]))
        empty = [row for row, text in enumerate(self.texts) if not text]
        if not empty:
            return self
        if on_empty == "error":
            raise DataError(
                f"{source}: {len(empty)} {self.kind}s have no text, the first is {self.ids.ids[empty[0]]!r}: fill it in or drop it"
            )
        count = f"{source}: {len(empty)} of {len(self)} {self.kind}s have no text"
        if on_empty == "keep":
            return replace(self, notes=(*self.notes, f"{count} (kept)"))
        kept = self.take(np.flatnonzero([bool(text) for text in self.texts]))
        if not len(kept):
            raise DataError(f"{source}: no {self.kind} has any text: nothing is left after dropping those without")
        return replace(kept, notes=(*self.notes, f"{count} (dropped)"))


def _without_placeholders(fields: dict[str, list[str]], source: str) -> tuple[dict[str, list[str]], list[str]]:
    """Empty the texts that stand for a missing value, and say how many."""
    kept = {
        name: ["" if len(text) <= _LONGEST and text.lower() in _NO_TEXT else text for text in column] for name, column in fields.items()
    }
    emptied = sum(text != now for name, column in fields.items() for text, now in zip(column, kept[name], strict=True))
    return kept, [f"{source}: {emptied} texts are NaN, null, None or N/A alone (read as empty)"] if emptied else []


def _check_choices(text_fields: object, max_words: object, template: object, call: str) -> None:
    if text_fields is not None:
        expect_list(text_fields, f"{call}: text_fields", of="columns")
    if max_words is not None:
        expect_whole(max_words, f"{call}: max_words", least=1, error=DataError)
    expect(template, str, f"{call}: template", optional=True)


@dataclass(frozen=True, eq=False, repr=False)
class ItemCatalog(TextCatalog):
    """The items that can be recommended, with what they say."""

    kind: ClassVar[str] = "item"

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        item_id: str = "item_id",
        text_fields: Sequence[str] | None = None,
        max_words: int | None = 64,
        template: str | None = None,
        on_empty: OnEmpty = "keep",
        source: str = "the item table",
        attributes: pa.Table | None = None,
    ) -> Self:
        """Build from a pandas, polars or PyArrow table.

        Args:
            frame: one row per item.
            item_id: the column of ids (text or whole numbers).
            text_fields: columns to use as text; by default titles and names, and every other column of text but those of numbers,
                amounts, dates or times alone; the others are the catalogue's attributes.
            max_words: each field is cut to so many words; ``None`` for no cut.
            template: how fields are joined, see ``TextCatalog``.
            on_empty: what to do with items that have no text at all.
            source: what error messages call the table.
            attributes: the same rows with the types that attributes are to have; None: as they are in ``frame``.

        Raises:
            DataError: a column is missing, an id is missing, an id occurs twice with different texts, or a column mixes types.
        """
        chosen: dict[str, Any] = {"text_fields": text_fields, "max_words": max_words, "template": template, "on_empty": on_empty}
        return cls._build(frame, item_id, **chosen, source=source, attributes=attributes)


@dataclass(frozen=True, eq=False, repr=False)
class UserCatalog(TextCatalog):
    """Users with profile text; optional everywhere."""

    kind: ClassVar[str] = "user"

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user_id: str = "user_id",
        text_fields: Sequence[str] | None = None,
        max_words: int | None = 64,
        template: str | None = None,
        on_empty: OnEmpty = "keep",
        source: str = "the user table",
    ) -> Self:
        """Build from a table with one row per user; see ``ItemCatalog.from_frame``.

        Texts that are all numbers (an age) stay in.
        """
        return cls._build(frame, user_id, text_fields=text_fields, max_words=max_words, template=template, on_empty=on_empty, source=source)


def _chosen_fields(
    table: pa.Table, id_name: str, text_fields: Sequence[str] | None, mixed: Sequence[str], kind: str, source: str
) -> tuple[list[str], list[str]]:
    """Return the text columns, and a note on those that were left out unasked (``mixed``: already left out)."""
    others = [name for name in table.column_names if name != id_name]
    if text_fields is not None:
        for name in text_fields:
            if name not in others:
                raise DataError(f"{source}: {unknown_name('text field', name, others)}")
        return list(dict.fromkeys(text_fields)), []
    # In CSV and TSV every column was read as text; of a user even a number, such as the age, says something.
    text = [name for name in others if is_text_like(table[name].type) and not (kind == "item" and values_alone(table[name]))]
    for name in _TITLES:
        if name in others and name not in text:
            text.append(_plain_title(table, name, source))
    if kind == "item":  # its other columns are attributes
        return text_first(text), []
    left = [repr(name) for name in others if name not in text] + [f"{name!r} (mixed types)" for name in mixed]
    note = f"{source}: left out, as not text: {', '.join(left)} (to use one, list it in the text fields)"
    return text_first(text), [note] if left else []


def _attributes(
    table: pa.Table, id_name: str, texts: Sequence[str], mixed: Sequence[str], source: str, *, told: bool
) -> tuple[pa.Table | None, list[str]]:
    """Return the attributes, and a note on the columns, where ``told`` on those of text too; None where there are none."""
    held, unfit = attributes_of(table, id_name, texts)
    carried = [part.name for part in held.schema if part.name not in texts and not pa.types.is_null(part.type)]
    said = account_items(source, carried, texts=texts if told else (), unfit=unfit, mixed=mixed)
    return (held if held.num_columns else None), [said] if said else []


def _plain_title(table: pa.Table, name: str, source: str) -> str:
    kind = table[name].type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        raise DataError(f"{source}: column '{name}' is of type {kind}: titles are text: convert the column or rename it")
    return name


def text_first(names: Sequence[str]) -> list[str]:
    """Return text columns in their default order: titles first, then as they stand."""
    return [name for name in _TITLES if name in names] + [name for name in names if name not in _TITLES]


def _check_repeated(external: pa.Array, inner: npt.NDArray[np.int64], fields: dict[str, list[str]], kind: str, source: str) -> str:
    """Say how many rows repeat an id with the same text; raise where the text differs."""
    first = np.unique(inner, return_index=True)[1][inner - 1]
    repeated = np.flatnonzero(first != np.arange(len(inner)))
    for row in repeated:
        for name, column in fields.items():
            if column[row] != column[first[row]]:
                raise DataError(
                    f"{source}: rows {first[row] + 1} and {row + 1} have the same {kind} id {external[int(row)].as_py()!r} "
                    f"but different '{name}': keep one of them"
                )
    return f"{len(repeated)} rows repeat the id and the text of another (merged)"


def _id_columns(ids: IdMap) -> tuple[dict[str, pa.Array], str]:
    """Return the ids as columns and the name of their layout: one column where all are of one type."""
    integers = [isinstance(external, int) for external in ids.ids]
    if all(integers) and all(-(2**63) <= external < 2**63 for external in ids.ids if isinstance(external, int)):
        return {"id": pa.array(ids.ids, pa.int64())}, "integers"
    texts = pa.array([str(external) for external in ids.ids], pa.string())
    return ({"id": texts, "id_is_integer": pa.array(integers)}, "mixed") if any(integers) else ({"id": texts}, "texts")


def _read_ids(table: pa.Table, layout: str) -> list[str | int]:
    ids: list[str | int] = table["id"].to_pylist()
    if layout != "mixed":
        return ids
    return [int(external) if integer else external for external, integer in zip(ids, table["id_is_integer"].to_pylist(), strict=True)]

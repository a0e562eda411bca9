"""What a new table of items changes in a catalogue: found by content, never by position."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.errors import DataError
from bertrec.core.known_ids import find_id
from bertrec.core.ragged import IntArray
from bertrec.data.catalog import ItemCatalog
from bertrec.data.frames import is_text
from bertrec.data.ids import IdMap, flat_array

Id = str | int


@dataclass(frozen=True)
class CatalogChanges:
    """A catalogue and what makes it another than before.

    Items keep their inner ids; new ones come after them.

    Attributes:
        catalog: as it is to be.
        new: ids that were not there.
        changed: ids whose text fields are others.
        returned: ids that were withdrawn and are there again; some may be among those changed.
        vanished: ids that are no longer there: withdrawn, or dropped.
        described: ids of which nothing but attributes changed.
        unchanged: how many are as they were.
        to_encode: distinct texts that stood nowhere in the catalogue before.
    """

    catalog: ItemCatalog
    new: list[Id]
    changed: list[Id]
    returned: list[Id]
    vanished: list[Id]
    described: list[Id]
    unchanged: int
    to_encode: int

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.returned or self.vanished or self.described)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of all that, by name."""
        names = ("new", "changed", "returned", "vanished", "described")
        return {name: len(getattr(self, name)) for name in names} | {"unchanged": self.unchanged, "texts_to_encode": self.to_encode}


def catalog_changes(old: ItemCatalog, products: ItemCatalog, *, delta: bool = False, drop: bool = False) -> CatalogChanges:
    """Find what ``products`` changes in a catalogue.

    Args:
        old: the catalogue.
        products: all items there are, with the same text fields.
        delta: ``products`` holds new and changed items alone; none vanishes.
        drop: vanished items are forgotten, instead of kept for the histories that hold them.

    Raises:
        DataError: other text fields, or ids of another type.
    """
    products = _alike(old, products)
    place = products.ids.encode(old.ids.ids)
    was_listed = old.listed[1:]
    gone = np.zeros(len(old), np.bool_) if delta else was_listed & (place == 0)
    withdrawn = (~was_listed & (place == 0)) | gone
    kept = np.flatnonzero(~withdrawn) if drop else np.arange(len(old))
    fresh = np.flatnonzero(old.ids.encode(products.ids.ids) == 0)
    origin = np.concatenate([kept + 1, np.zeros(len(fresh), np.int64)])
    source = np.concatenate([place[kept], fresh + 1])
    catalog = _joined(old, products, origin, source, np.concatenate([withdrawn[kept], np.zeros(len(fresh), np.bool_)]), delta=delta)
    both = np.flatnonzero((origin > 0) & (source > 0))
    other = _texts_differ(old, catalog, origin, both)
    back = ~was_listed[origin[both] - 1]
    described = _rows_differ(old.attributes, catalog.attributes, origin[both] - 1, both) & ~other & ~back
    texts = set(catalog.texts) - set(old.texts)
    return CatalogChanges(
        catalog,
        new=products.ids.decode(fresh + 1),
        changed=catalog.ids.decode(both[other] + 1),
        returned=catalog.ids.decode(both[back] + 1),
        vanished=old.ids.decode(np.flatnonzero(gone) + 1),
        described=catalog.ids.decode(both[described] + 1),
        unchanged=int(was_listed.sum() - gone.sum()) - int((other & ~back).sum() + described.sum()),
        to_encode=len(texts),
    )


def same_items(one: ItemCatalog, other: ItemCatalog) -> bool:
    """Say whether two catalogues recommend the same items with the same texts, in whatever order."""
    if one.content_hash == other.content_hash:
        return True
    return _texts_by_id(one) == _texts_by_id(other)


def _texts_by_id(catalog: ItemCatalog) -> dict[Id, str]:
    rows = np.flatnonzero(catalog.listed[1:]).tolist()
    return {catalog.ids.ids[row]: catalog.texts[row] for row in rows}


def _alike(old: ItemCatalog, products: ItemCatalog) -> ItemCatalog:
    """Return the products with ids of the catalogue's type: a CSV file holds numbers as text."""
    if list(products.fields) != list(old.fields):
        names = (", ".join(fields) or "none" for fields in (products.fields, old.fields))
        raise DataError("the products have the text fields {}, the catalogue has {}: give them the same".format(*names))
    known = products.ids.encode(old.ids.ids).any()
    ids = products.ids.ids if known else ids_like(products.ids, old.ids).ids
    # Of mixed ones too: beside an id such as X9 a file holds all others as text, and 7 would become a second item.
    named = [one if one in old.ids or (found := find_id(str(one), old.ids)) is None else found for one in ids]
    return replace(products, ids=IdMap(named)) if len(set(named)) == len(named) else products


def ids_like(ids: IdMap, known: IdMap) -> IdMap:
    """Return ids in the type that all known ones have: text as whole numbers, or whole numbers as text; as they are where that fails."""
    numbers = [isinstance(one, int) for one in known.ids]
    if numbers and all(numbers) and all(isinstance(one, str) and str(_whole(one)) == one for one in ids.ids):
        return IdMap(int(one) for one in ids.ids)
    if numbers and not any(numbers) and all(isinstance(one, int) for one in ids.ids):
        return IdMap(str(one) for one in ids.ids)
    return ids


def _whole(text: Id) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _joined(old: ItemCatalog, products: ItemCatalog, origin: IntArray, source: IntArray, withdrawn: Any, *, delta: bool) -> ItemCatalog:
    """Return the rows of ``products`` where ``source`` names one, else those of ``old``; 0 names none."""
    here = source.tolist()
    before = origin.tolist()
    fields = {
        name: [new[s - 1] if s else column[o - 1] for s, o in zip(here, before, strict=True)]
        for (name, column), new in zip(old.fields.items(), products.fields.values(), strict=True)
    }
    ids = IdMap(products.ids.ids[s - 1] if s else old.ids.ids[o - 1] for s, o in zip(here, before, strict=True))
    now = _of_part(old, products) if delta else products.attributes
    attributes = _joined_attributes(old.attributes, now, origin, source, delta=delta)
    return ItemCatalog(ids, fields, old.template, products.notes, attributes, withdrawn if withdrawn.any() else None)


def _of_part(old: ItemCatalog, products: ItemCatalog) -> pa.Table | None:
    """Return the attributes of a part of the products such that the few do not make another thing of a column of all.

    A text field of which all few values look like numbers stays a text field; one that is an attribute too is missing where they do not.

    Raises:
        DataError: a column of numbers, truth values or times holds text here.
    """
    mine = {} if old.attributes is None else {name: old.attributes[name].type for name in old.attribute_names}
    theirs = {} if products.attributes is None else {name: flat_array(products.attributes[name]) for name in products.attribute_names}
    columns = {name: column for name, column in theirs.items() if name in mine or name not in old.fields}
    columns |= {name: pa.nulls(len(products)) for name in products.fields if name in mine and name not in theirs}
    for name, column in columns.items():
        if name in mine and is_text(column.type) and not (is_text(mine[name]) or pa.types.is_null(mine[name])):
            first = next((str(value) for value in column.to_pylist() if value), "")
            mend = "mend the value, or give all products for a column of another type"
            raise DataError(f"column '{name}' is of the type {mine[name]} and the changes hold text, such as {first!r:.60}: {mend}")
    return pa.table(columns) if columns else None


def _joined_attributes(
    old: pa.Table | None, products: pa.Table | None, origin: IntArray, source: IntArray, *, delta: bool
) -> pa.Table | None:
    """Return the attributes row by row as the fields; of a part of the products, columns that they lack stay as they were."""
    theirs = [] if products is None else products.column_names
    mine = [] if old is None else old.column_names
    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys([*theirs, *(mine if delta else [name for name in mine if name in theirs])]):
        before = None if old is None or name not in mine else _taken(old[name], origin)
        if products is None or name not in theirs:
            columns[name] = before
            continue
        now = _taken(products[name], source)
        columns[name] = now if before is None else pc.if_else(pa.array(source > 0), *_of_one_type(now, before))
    return pa.table(columns) if columns else None


def _taken(column: pa.ChunkedArray, rows: IntArray) -> pa.Array:
    """Return the values of rows numbered from 1, null for 0."""
    return flat_array(column).take(pa.array(rows - 1, pa.int64(), mask=rows == 0))


def _of_one_type(now: pa.Array, before: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return both columns in a type that holds all values of both; where there is none, those of before are null."""
    for kind in (now.type, before.type):
        try:
            return now.cast(kind), before.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    return now, pa.nulls(len(before), now.type)


def _texts_differ(old: ItemCatalog, catalog: ItemCatalog, origin: IntArray, rows: IntArray) -> Any:
    pairs = list(zip(rows.tolist(), (origin[rows] - 1).tolist(), strict=True))
    differ = np.zeros(len(rows), np.bool_)
    for name, column in catalog.fields.items():
        differ |= np.array([column[new] != old.fields[name][row] for new, row in pairs], np.bool_)
    return differ


def _rows_differ(old: pa.Table | None, new: pa.Table | None, before: IntArray, now: IntArray) -> Any:
    differ = np.zeros(len(now), np.bool_)
    names = dict.fromkeys([*(() if old is None else old.column_names), *(() if new is None else new.column_names)])
    for name in names:
        values = [
            [None] * len(now) if table is None or name not in table.column_names else table[name].take(pa.array(rows)).to_pylist()
            for table, rows in ((old, before), (new, now))
        ]
        differ |= np.array([one != other and not _both_nan(one, other) for one, other in zip(*values, strict=True)], np.bool_)
    return differ


def _both_nan(one: Any, other: Any) -> bool:
    return isinstance(one, float) and isinstance(other, float) and one != one and other != other

"""Items that are put while they are served: by the code of ``bertrec catalog update --delta``, in one step with the index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bertrec.core.errors import DataError
from bertrec.core.known_ids import find_id
from bertrec.data.column_changes import column_changes
from bertrec.data.expressions import type_in_words
from bertrec.data.ids import flat_array
from bertrec.data.one_table import items_like
from bertrec.data.options import LoadOptions
from bertrec.data.readers.raw import RawData
from bertrec.runs.products import bring_products, product_changes
from bertrec.runs.states import belonging, next_state
from bertrec.service.loaded import Source

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog

Row = dict[str, Any]
_WHAT = "items"


def put(source: Source, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bring new and changed items into a run and its index.

    Args:
        source: the run and its index.
        rows: ``item_id`` and columns; a column that an item does not say stays as it was.

    Returns:
        How many items are new, changed and so on; what changed in the index, None without one or where nothing changed; notes.

    Raises:
        DataError: the items do not fit the run's.
        InUse: another process is changing the run.
        BertrecError: a disk is full, or cannot be written; all is then as it was.
    """
    run = source.run
    with next_state(run) as change:
        record, model = run.record(), run.load_model()
        indexes = belonging(run, None if source.index is None else [source.index], model, record)
        products = products_of(rows, model.catalog, LoadOptions.from_dict(record.get("load", {})))
        found = product_changes(model, products, delta=True)
        brought = bring_products(change, run, record, model, found, indexes)
    index = None if brought is None else next(iter(brought.indexes.values()), None)
    notes = [line for line in products.notes if ": columns: " not in line]  # how a table is read, which who put the items knows
    notes += column_changes(model.catalog, found.catalog)
    return {**found.counts, "index": index, "notes": notes}


def products_of(rows: Sequence[Mapping[str, Any]], catalog: ItemCatalog, options: LoadOptions) -> ItemCatalog:
    """Return rows as a catalogue with the text fields of the one that they are to change.

    Raises:
        DataError: a new item lacks a text field, a value is of another type than its column, or an id stands there twice with different
            content.
    """
    ids = [_known(row["item_id"], catalog) for row in rows]
    said = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "item_id"]
    full = [_completed(one, row, catalog) for one, row in zip(ids, rows, strict=True)]
    names = list(dict.fromkeys([*catalog.fields, *said]))
    columns = {"item_id": _column("item_id", ids, None)}
    types = {} if catalog.attributes is None else {part.name: part.type for part in catalog.attributes.schema}
    for name in names:
        kind = pa.string() if name in catalog.fields and name not in types else types.get(name)
        columns[name] = _column(name, [row.get(name) for row in full], kind)
    raw = RawData(_WHAT, "frames", pa.table(columns), sources={_WHAT: _WHAT}, untyped=False)
    return items_like(raw, options, like=catalog, what=_WHAT)


def _known(one: str | int, catalog: ItemCatalog) -> str | int:
    found = find_id(str(one), catalog.ids)
    return one if found is None else found


def _completed(one: str | int, row: Mapping[str, Any], catalog: ItemCatalog) -> Row:
    """Return a row with what it does not say as the catalogue has it.

    Raises:
        DataError: a new item has no text at all, though the items have text.
    """
    inner = int(catalog.ids.encode([one])[0])
    if not inner:
        if catalog.fields and not any(row.get(name) for name in catalog.fields):
            raise DataError(f"item {one!r:.60} is new and has no text: give at least one of {', '.join(catalog.fields)}")
        return dict(row)
    before: Row = {name: column[inner - 1] for name, column in catalog.fields.items()}
    if catalog.attributes is not None:
        before |= {name: catalog.attributes[name][inner - 1].as_py() for name in catalog.attribute_names}
    return before | dict(row)


def _column(name: str, values: Sequence[Any], kind: pa.DataType | None) -> pa.Array:
    """Return values as a column of the type that the run has it in, or of a wider type of numbers.

    Raises:
        DataError: they are of another type, or of several.
    """
    try:
        column = pa.array(values)
        if kind is None or pa.types.is_null(kind) or pa.types.is_null(column.type) or column.type == kind:
            return column
        if pa.types.is_boolean(column.type) != pa.types.is_boolean(kind):
            raise ValueError("true and false go with one another alone")
        widened = pa.types.is_integer(kind) and pa.types.is_floating(column.type)
        same = pa.types.is_string(column.type) or not (pa.types.is_string(kind) or pa.types.is_large_string(kind))
        if not same:
            raise DataError(f"items: column '{name}' is text, got {_first(values, str)!r:.60}: write it in quotation marks")
        return column if widened else flat_array(column).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, ValueError) as error:
        wanted = "of one type" if kind is None else f"{type_in_words(kind)}, as in the run"
        raise DataError(f"items: column '{name}' must be {wanted}: {error}") from error


def _first(values: Sequence[Any], other: type) -> Any:
    return next(value for value in values if value is not None and not isinstance(value, other))

"""What of an item is a feature beside its id: its labels, and its numbers in buckets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.errors import DataError, unknown_name
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.attributes import LABEL_FIELDS, inferred, numbers_in
from bertrec.data.catalog import ItemCatalog
from bertrec.data.frames import is_text
from bertrec.data.ids import flat_array
from bertrec.data.item_labels import item_labels

FloatArray = npt.NDArray[np.float64]
_MOST_LABELS = 16  # of an item; the others are not read


def usual_label_fields(catalog: ItemCatalog) -> tuple[str, ...]:
    """Return the text fields with one of the usual names of labels that hold any."""
    return tuple(name for name in LABEL_FIELDS if any(text.strip() for text in catalog.fields.get(name, ())))


def label_names(catalog: ItemCatalog, fields: Sequence[str]) -> tuple[str, ...]:
    """Return the distinct labels of the fields, each behind its field's name.

    Raises:
        DataError: there is no such field, or it is empty.
    """
    return tuple(_key(field, name) for field in fields for name in item_labels(catalog, field).names)


def label_numbers(catalog: ItemCatalog, fields: Sequence[str], names: Sequence[str]) -> IntArray:
    """Return the numbers of the labels of each inner id among ``names``, from 1, ``[n_items + 1, most]``, 0 for none.

    Labels that are not among them are left out, and so is a field that is empty for all of these items.

    Raises:
        DataError: there is no such field.
    """
    number = {name: place for place, name in enumerate(names, start=1)}
    rows: list[list[int]] = [[] for _ in range(len(catalog) + 1)]
    for field in fields:
        if field in catalog.fields and not any(text.strip() for text in catalog.fields[field]):
            continue
        labels = item_labels(catalog, field)
        known = [number.get(_key(field, name), 0) for name in labels.names]
        for row, own in zip(rows, labels.by_inner_id, strict=True):
            row += [known[label] for label in own.tolist() if known[label]]
    return Ragged.from_rows([row[:_MOST_LABELS] for row in rows]).padded()


def _key(field: str, name: str) -> str:
    return f"{field}: {name.casefold()}"


def number_columns(catalog: ItemCatalog) -> tuple[str, ...]:
    """Return the columns that hold numbers alone: attributes by their type, text fields by what stands in them."""
    attributes = [] if catalog.attributes is None else [one.name for one in catalog.attributes.schema if _numeric(one.type)]
    fields = [name for name, column in catalog.fields.items() if _numeric(inferred(pa.array(column, pa.large_string())).type)]
    return tuple(dict.fromkeys([*attributes, *fields]))


def _numeric(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def number_column(catalog: ItemCatalog, name: str) -> FloatArray:
    """Return a column as numbers, ``[n_items]``, NaN where an item has none.

    Raises:
        DataError: there is no such column, or it holds no number.
    """
    if catalog.attributes is not None and name in catalog.attribute_names:
        column = flat_array(catalog.attributes[name])
    elif name in catalog.fields:
        column = pa.array(catalog.fields[name], pa.large_string())
    else:
        raise DataError(unknown_name("item column", name, [*catalog.attribute_names, *catalog.fields]))
    if is_text(column.type):
        column = numbers_in(column)
    elif not _numeric(column.type):
        raise DataError(f"item column '{name}' is of type {column.type}, not of numbers: leave it out of numbers")
    return np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), float("nan")).to_numpy(zero_copy_only=False), np.float64)


def quantile_edges(values: FloatArray, buckets: int) -> FloatArray:
    """Return the distinct inner quantiles of the known values, at most ``buckets - 1``; empty where all are alike or none is known.

    >>> quantile_edges(np.array([1.0, 2.0, 3.0, 4.0, np.nan]), 2).tolist()
    [2.5]
    >>> quantile_edges(np.array([5.0, 5.0]), 4).tolist()
    []
    """
    known = values[np.isfinite(values)]
    if not len(known) or known.min() == known.max():
        return np.zeros(0)
    return np.unique(np.quantile(known, np.linspace(0, 1, buckets + 1)[1:-1]))


def bucketed(values: FloatArray, edges: FloatArray) -> IntArray:
    """Return the bucket of each value, from 1; 0 where it is not known.

    >>> bucketed(np.array([1.0, 2.5, 9.0, np.nan]), np.array([2.5])).tolist()
    [1, 2, 2, 0]
    """
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right") + 1, 0)

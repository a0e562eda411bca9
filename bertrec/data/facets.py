"""Labels of items (genres, categories, keywords) read from a text field of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bertrec.core.errors import DataError, unknown_name
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import TextCatalog

# Fields that hold labels in the formats that bertrec reads, the first one present is taken.
LABEL_FIELDS = ("genres", "genre", "class", "categories", "category", "subcategory")
_SEPARATORS = ("|", ";", ",")


def label_field(catalog: TextCatalog, field: str | None = None) -> str | None:
    """Return the field to read labels from: ``field`` itself, or the first of `LABEL_FIELDS` that the catalogue has, or None.

    Raises:
        DataError: the catalogue has no such field; the text names the nearest.
    """
    if field is None:
        return next((name for name in LABEL_FIELDS if name in catalog.fields), None)
    if field not in catalog.fields:
        raise DataError(unknown_name("text field", field, catalog.fields))
    return field


def split_labels(column: Sequence[str]) -> list[list[str]]:
    """Return the distinct labels of each value, in order, ``[n]`` lists.

    A column is split by one separator throughout: by ``|`` where any value holds it, else by ``;``, else by a comma, else by white space.

    >>> split_labels(["Comedy, Science Fiction", "Drama", ""])
    [['Comedy', 'Science Fiction'], ['Drama'], []]
    >>> split_labels(["Animation Children's", "Drama"])
    [['Animation', "Children's"], ['Drama']]
    """
    mark = next((mark for mark in _SEPARATORS if any(mark in value for value in column)), None)
    return [list(dict.fromkeys(part.strip() for part in value.split(mark) if part.strip())) for value in column]


def item_labels(catalog: TextCatalog, field: str) -> tuple[Ragged, list[str]]:
    """Return the labels of every item by inner id.

    Args:
        catalog: the items.
        field: one of its text fields.

    Returns:
        ``n_items + 1`` rows of label numbers from 0 (row 0, padding, is empty), and the labels by number.

    Raises:
        DataError: the catalogue has no such field.
    """
    label_field(catalog, field)
    number: dict[str, int] = {}
    rows = [[number.setdefault(label, len(number)) for label in labels] for labels in split_labels(catalog.fields[field])]
    return Ragged.from_rows([np.zeros(0, np.int64), *(np.array(row, np.int64) for row in rows)]), list(number)

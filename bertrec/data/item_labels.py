"""What kind of thing each item is, from a text field: genres, categories, price levels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bertrec.core.errors import DataError, unknown_name
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.attributes import LABEL_FIELDS
from bertrec.data.catalog import ItemCatalog, TextCatalog
from bertrec.data.load import load
from bertrec.data.options import LoadOptions

SPACE = "space"
_SEPARATORS = ("|", ";", ",")
_LEVELS = 4
_SIGNS = re.compile(r"\s*([$€£¥₩₹])\1*\s*")


@dataclass(frozen=True, eq=False)
class ItemLabels:
    """Labels of items.

    Attributes:
        field: the column they came from.
        names: the labels, as they are written first, sorted.
        items: row ``i`` holds the numbers of the labels of the item of inner id ``i + 1``, each once.
        separator: what stood between labels; None where each value is one label.
    """

    field: str
    names: list[str]
    items: Ragged
    separator: str | None

    @property
    def by_inner_id(self) -> Ragged:
        """The label numbers by inner id, ``[n_items + 1]`` rows; row 0, padding, is empty."""
        return Ragged(self.items.values, np.concatenate([[0], self.items.offsets]))

    @property
    def without(self) -> int:
        """How many items have no label."""
        return int((self.items.lengths == 0).sum())


def usual_field(catalog: TextCatalog) -> str | None:
    """Return the first of the usual names of a field of labels that the catalogue has and that is not empty for all items."""
    return next((name for name in LABEL_FIELDS if any(text.strip() for text in catalog.fields.get(name, ()))), None)


def item_labels(catalog: TextCatalog, field: str) -> ItemLabels:
    """Return the labels in a text field of the catalogue.

    Raises:
        DataError: there is no such field, or no item has a label.
    """
    if field not in catalog.fields:
        raise DataError(unknown_name("text field", field, catalog.fields))
    return split_labels(field, catalog.fields[field], spaced=True)


def label_field(catalog: TextCatalog, wanted: str | None) -> str:
    """Return the field of labels: the one asked for, else the first of the usual names.

    Raises:
        DataError: none was asked for and no usual name is there.
    """
    if wanted is not None:
        return wanted
    found = usual_field(catalog)
    if found is None:
        raise DataError(f"no field among {', '.join(LABEL_FIELDS)}: name one with --label-field ({', '.join(catalog.fields) or 'no text'})")
    return found


def read_column(catalog: ItemCatalog, name: str, data: str, options: LoadOptions) -> list[str]:
    """Return any column of the item table as text, ``[n]`` in the catalogue's order; the data are read again where it is no text field.

    Raises:
        DataError: there is no such column.
    """
    if name in catalog.fields:
        return catalog.fields[name]
    # Other items must not be dropped because this column is empty for them, and no template speaks of it.
    again = load(data, options.model_copy(update={"text_fields": (name,), "template": None, "on_empty": "keep"})).catalog
    if name not in again.fields:
        raise DataError(unknown_name("item column", name, again.fields))
    rows = again.ids.encode(catalog.ids.ids)
    column = ["", *again.fields[name]]
    return [column[row] for row in rows.tolist()]


def split_labels(field: str, column: Sequence[str], separator: str | None = None, *, spaced: bool = False) -> ItemLabels:
    """Split a column into labels; letter case does not set labels apart.

    Args:
        field: what the column is called.
        column: one text per item.
        separator: between labels, ``space`` for white space; None takes ``|``, ``;`` or ``,`` where one stands in the column.
        spaced: take white space where no other separator was found (RecBole's token_seq).

    Raises:
        DataError: no item has a label.
    """
    if separator is None:
        separator = next((mark for mark in _SEPARATORS if any(mark in text for text in column)), SPACE if spaced else None)
    rows = [_parts(text, separator) for text in column]
    written: dict[str, str] = {}
    for row in rows:
        for label in row:
            written.setdefault(label.casefold(), label)
    if not written:
        raise DataError(f"the field '{field}' is empty for all {len(column)} items: name another with --label-field")
    keys = sorted(written)
    number = {key: place for place, key in enumerate(keys)}
    items = Ragged.from_rows([list(dict.fromkeys(number[label.casefold()] for label in row)) for row in rows])
    return ItemLabels(field, [written[key] for key in keys], items, separator)


def _parts(text: str, separator: str | None) -> list[str]:
    parts = [text] if separator is None else text.split() if separator == SPACE else text.split(separator)
    return [part.strip() for part in parts if part.strip()]


def price_levels(column: Sequence[str]) -> IntArray:
    """Return a price level per item, ``[n]``: 1 (cheap) to 4, 0 where no price is known.

    Signs such as ``$$`` are their own level; amounts are cut at the quartiles of the known ones, equal amounts in one level.

    Raises:
        DataError: no price can be read.

    >>> price_levels(["$1.50", "", "20", "3", "1,299.00"]).tolist()
    [1, 0, 3, 2, 4]
    """
    signs = [_SIGNS.fullmatch(text) for text in column]
    if any(signs) and not any(re.search(r"\d", text) for text in column):
        return np.array([min(len(sign.group().strip()), _LEVELS) if sign else 0 for sign in signs], dtype=np.int64)
    amounts = np.array([_amount(text) for text in column], dtype=np.float64)
    known = np.isfinite(amounts)
    if not known.any():
        raise DataError("no price can be read: write amounts such as 12.99, or levels such as $$")
    levels = np.zeros(len(column), dtype=np.int64)
    ordered = np.sort(amounts[known])
    below = np.searchsorted(ordered, amounts[known], side="left")
    levels[known] = 1 + below * _LEVELS // len(ordered)
    return levels


def _amount(text: str) -> float:
    """Read an amount; of point and comma the later one is the decimal mark, a lone comma is one before one or two digits only."""
    found = re.search(r"\d[\d.,' ]*", text)
    if not found:
        return float("nan")
    digits = re.sub(r"[' ]", "", found.group()).rstrip(".,")
    if "," in digits and ("." not in digits or digits.rfind(",") > digits.rfind(".")):
        decimal = "." in digits or re.search(r",\d{1,2}$", digits) is not None
        digits = digits.replace(".", "").replace(",", "." if decimal and digits.count(",") == 1 else "")
    try:
        return float(digits.replace(",", ""))
    except ValueError:
        return float("nan")

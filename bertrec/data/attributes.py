"""Item columns with their types: read by filters, caps and boosts of a list, the pre-training task attributes, and CTR rankers."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from bertrec.data.frames import MISSING, is_numeric_text, is_text
from bertrec.data.ids import flat_array

LABEL_FIELDS = ("genres", "genre", "categories", "category", "class", "subcategory")
"""The usual names of fields of labels."""

# A code such as 007 is no number: as one it would lose its zeros.
_WHOLE = r"^[+-]?(0|[1-9]\d*)$"
_DECIMAL = r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_ANY_DECIMAL = r"^-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_AMOUNT = r"^[$€£¥₩₹] ?\d{1,3}(,?\d{3})*(\.\d+)?$"
_BOOLEAN = r"^(?i:true|false)$"
_DATE = r"^\d{4}-\d\d-\d\d$"
_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d"
_ZONED = r"(Z|[+-]\d\d:?\d\d)$"
_LOOKED_AT = 100


def attributes_of(table: pa.Table, id_name: str, texts: Collection[str]) -> tuple[pa.Table, list[str]]:
    """Return the columns that are neither the id nor merely a text field, and the names of those that cannot be held.

    Args:
        table: one row per item.
        id_name: the column of ids.
        texts: the text fields; one that is no plain text, such as a year or a list of genres, is an attribute too. One without any
            value is none: it would hide the texts of other items.
    """
    columns: dict[str, pa.Array] = {}
    unfit = []
    for name in dict.fromkeys(table.column_names):
        if name == id_name:
            continue
        column = None if table.column_names.count(name) > 1 else flat_array(table[name])
        if column is None or not _held(column.type):
            unfit += [] if name in texts else [name]
        elif not (name in texts and (is_text(column.type) or pa.types.is_null(column.type))):
            columns[name] = column
    return pa.table(columns), unfit


def typed(table: pa.Table) -> pa.Table:
    """Return a table whose columns of text have the types that their values have, see `inferred`."""
    return pa.table([inferred(column) if is_text(column.type) else column for column in table.columns], names=table.column_names)


def inferred(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return texts as booleans, whole numbers, floats, dates or times where all of them are such, else as texts; missing ones are null.

    Amounts with a sign of currency, such as ``$1,299.00``, are floats. A time without a zone stays without one.

    >>> inferred(pa.array(["3", "", "12"])).to_pylist()
    [3, None, 12]
    >>> inferred(pa.array(["007", "12"])).to_pylist()
    ['007', '12']
    """
    given = flat_array(column).cast(pa.large_string())
    text = pc.utf8_trim_whitespace(given)
    text = pc.if_else(pc.is_in(text, value_set=pa.array(["", *MISSING], pa.large_string())), pa.scalar(None, pa.large_string()), text)
    if text.null_count == len(text):
        return pa.nulls(len(text))
    try:
        found = _parsed(text)
    except pa.ArrowInvalid:  # a number of more than 64 bits, the 31st of February
        found = None
    return text if found is None else found


def values_alone(column: pa.ChunkedArray) -> bool:
    """Say whether a column of text holds numbers, amounts, dates, times or true and false alone; one without any value does not."""
    if not is_text(column.type):
        return False
    kind = inferred(column).type
    return is_numeric_text(column) or not (is_text(kind) or pa.types.is_null(kind))


def _parsed(text: pa.Array) -> pa.Array | None:
    if _all(text, _BOOLEAN):
        return text.cast(pa.bool_())
    if _all(text, _WHOLE):
        return pc.utf8_ltrim(text, "+").cast(pa.int64())
    if _all(text, _DECIMAL):
        return text.cast(pa.float64())
    if _all(text, _AMOUNT):
        return pc.replace_substring_regex(text, r"[^\d.]", "").cast(pa.float64())
    if _all(text, _DATE):
        return text.cast(pa.date32())
    if _all(text, _TIME):
        return text.cast(pa.timestamp("us", "UTC" if _all(text, _ZONED) else None))
    return None


def _all(text: pa.Array, pattern: str) -> bool:
    """Say whether all texts match; most columns show with their first ones that they do not."""
    first = pc.all(pc.match_substring_regex(text.slice(0, _LOOKED_AT), pattern)).as_py()
    return first is not False and bool(pc.all(pc.match_substring_regex(text, pattern)).as_py())


def _held(kind: pa.DataType) -> bool:
    """Say whether values of a type can be compared and stored: no objects, no bytes."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return not pa.types.is_nested(kind.value_type) and _held(kind.value_type)
    plain = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    timed = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    return is_text(kind) or timed or any(test(kind) for test in plain)


def numbers_in(text: pa.Array) -> pa.Array:
    """Return the number that each text is, or the amount with its sign of currency, as float64; null where it is none.

    >>> numbers_in(pa.array(["12.5", "$1,299", "V", None])).to_pylist()
    [12.5, 1299.0, None, None]
    """
    given = pc.utf8_trim_whitespace(text)
    number, amount = pc.match_substring_regex(given, _ANY_DECIMAL), pc.match_substring_regex(given, _AMOUNT)
    digits = pc.if_else(amount, pc.replace_substring_regex(given, r"[^\d.]", ""), given)
    return pc.if_else(pc.or_(number, amount), digits, pa.scalar(None, digits.type)).cast(pa.float64())

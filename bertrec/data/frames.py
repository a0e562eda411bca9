"""Any data frame that narwhals knows (pandas, polars, PyArrow, …) to Arrow columns, with errors that name row and column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.errors import DataError
from bertrec.data.ids import flat_array


def to_arrow(frame: Any, source: str, *, needed: Iterable[str] = ()) -> pa.Table:
    """Turn a data frame into an Arrow table.

    Columns that Arrow cannot hold (objects of mixed types) are left out, unless ``needed`` names them.

    Raises:
        DataError: ``frame`` is no data frame, or a needed column holds values of mixed types.
    """
    if isinstance(frame, pa.Table):
        return frame
    try:
        wrapped = nw.from_native(frame)
    except TypeError as error:
        raise DataError(f"{source}: expected a pandas, polars or PyArrow table, got {type(frame).__name__}") from error
    eager = wrapped.collect() if isinstance(wrapped, nw.LazyFrame) else wrapped
    columns: dict[str, Any] = {}
    for name in eager.columns:
        try:
            columns[name] = eager[name].to_arrow()
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            if name in set(needed):
                raise DataError(f"{source}: column '{name}' mixes types ({error}): make it all text or all numbers") from error
    return pa.table(columns)


def require_columns(table: pa.Table, names: Iterable[str], source: str) -> None:
    """Check that a table has rows and the named columns.

    Raises:
        DataError: a column is missing (the text lists those that are there) or there is no row.
    """
    missing = [name for name in names if name not in table.column_names]
    if missing:
        there = ", ".join(table.column_names) or "none"
        raise DataError(f"{source}: no column '{missing[0]}' (columns: {there}): rename one, or say which column it is")
    if not table.num_rows:
        raise DataError(f"{source}: no rows: the table is empty or holds only a header")


def id_column(table: pa.Table, name: str, source: str) -> pa.Array:
    """Return a column of ids as text or int64.

    Whole numbers that a missing value elsewhere once turned into floats are taken as integers.

    Raises:
        DataError: a missing id (row named) or a type that is neither text nor whole numbers.
    """
    column = flat_array(table[name])
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"{source}: row {row + 1}, column '{name}': the id is missing")
    kind = column.type
    if pa.types.is_floating(kind):
        values = column.to_numpy(zero_copy_only=False)
        if np.all(np.isfinite(values)) and np.all(values == np.floor(values)):
            return pa.array(values.astype(np.int64))
        row = int(np.flatnonzero(~np.isfinite(values) | (values != np.floor(values)))[0])
        raise DataError(f"{source}: row {row + 1}, column '{name}': {values[row]} is no id: ids are text or whole numbers")
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if is_text(kind):
        text = column.cast(pa.large_string())
        empty = np.flatnonzero(pc.equal(text, "").to_numpy(zero_copy_only=False))
        if len(empty):
            raise DataError(f"{source}: row {empty[0] + 1}, column '{name}': the id is empty")
        return text
    raise DataError(f"{source}: column '{name}' is of type {kind}: ids are text or whole numbers")


def number_column(table: pa.Table, name: str, source: str) -> npt.NDArray[np.float64]:
    """Return a numeric column (or times, in seconds since 1970) as float64, ``[n]``.

    Raises:
        DataError: a value that is missing, not a number or not finite; row and column are named.
    """
    column = flat_array(table[name])
    if is_text(column.type):
        column = _parsed(column.cast(pa.large_string()), name, source)
    elif pa.types.is_temporal(column.type):
        column = _seconds(column)
    elif pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    elif not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        raise DataError(f"{source}: column '{name}' is of type {column.type}: numbers are wanted")
    values = np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
        raise DataError(
            f"{source}: row {bad[0] + 1}, column '{name}': the value is missing or not a finite number{more}: "
            "fill it in, or leave out the row or the column"
        )
    return values


def _seconds(column: pa.Array) -> pa.Array:
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        return column.cast(pa.int64())
    micro = column.cast(pa.timestamp("us"), safe=False) if pa.types.is_date(column.type) else column
    unit = pa.timestamp("us", tz=micro.type.tz)
    return pc.divide(micro.cast(unit, safe=False).cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)


def _parsed(text: pa.Array, name: str, source: str) -> pa.Array:
    """Parse text as numbers, or else as ISO dates and times."""
    trimmed = pc.utf8_trim_whitespace(text)
    filled = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.large_string()), trimmed)
    try:
        return filled.cast(pa.float64())
    except pa.ArrowInvalid:
        pass
    try:
        return _seconds(filled.cast(pa.timestamp("us")))
    except pa.ArrowInvalid:
        row, value = _first_unparsed(filled)
        raise DataError(f"{source}: row {row + 1}, column '{name}': {value!r} is neither a number nor an ISO time") from None


def _first_unparsed(text: pa.Array) -> tuple[int, str]:
    for row, value in enumerate(text.to_pylist()):
        try:
            float(value or "nan")
        except ValueError:
            return row, value
    return 0, text[0].as_py()


def text_column(table: pa.Table, name: str) -> list[str]:
    """Return any column as text, ``""`` where it is missing; lists of texts are joined with ``", "``."""
    column = flat_array(table[name])
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pa.array([", ".join(str(part) for part in row if part) if row else "" for row in column.to_pylist()], pa.large_string())
    elif not is_text(column.type):
        column = pa.array(["" if value is None else str(value) for value in column.to_pylist()], pa.large_string())
    return column.cast(pa.large_string()).fill_null("").to_pylist()


def is_text(kind: pa.DataType) -> bool:
    """Say whether an Arrow type is text (also where it is dictionary-encoded)."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_text_like(kind: pa.DataType) -> bool:
    """Say whether a column of this type is taken as item text by default: text or a list of texts."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return is_text(kind.value_type)
    return is_text(kind)

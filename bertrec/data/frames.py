"""Any data frame that narwhals knows (pandas, polars, PyArrow, …) to Arrow columns, with errors that name row and column."""

from __future__ import annotations

import contextlib
import datetime as dt
import reprlib
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.errors import DataError
from bertrec.data.codes import CodeArray, appearing
from bertrec.data.ids import flat_array

# What Arrow raises where values are not of one type, or a whole number has more than 64 bits.
_UNREADABLE = (pa.ArrowException, OverflowError)
# A time of day that ends in Z or an offset from UTC; the end of a date such as 2020-01-01 is none.
_ZONED = r"[T ]\S*(Z|[+-]\d\d(:?\d\d)?)$"
# Forms of times that Arrow does not parse, and how they are written for it: 20200913T122640Z, "… UTC", "… +0000", more than microseconds.
_REWRITTEN = (
    (r"^(\d{4})(\d\d)(\d\d)[T ](\d\d):?(\d\d):?(\d\d)", r"\1-\2-\3T\4:\5:\6"),
    (r"(:\d\d)[.,](\d{1,6})\d*", r"\1.\2"),
    (r"(:\d\d\S*) ?(UTC|GMT|utc|z)$", r"\1Z"),
    (r"(:\d\d\S*) ([+-]\d\d:?\d\d)$", r"\1\2"),
)
# What stands for a missing value, beside nothing at all.
MISSING = ("NaN", "nan", "NULL", "null", "None", "N/A", "n/a", "<NA>", "#N/A")
# From here on a float no longer tells a whole number from the next.
_EXACT = 2**53


def to_arrow(frame: Any, source: str, *, needed: Iterable[str] = ()) -> tuple[pa.Table, list[str]]:
    """Turn a data frame into an Arrow table.

    Returns:
        The table, and the names of the columns that Arrow cannot hold (objects of mixed types), which are left out.

    Raises:
        DataError: ``frame`` is no data frame, or a column that ``needed`` names holds values of mixed types; the row is named.
    """
    if isinstance(frame, pa.Table) and len(set(frame.column_names)) == frame.num_columns:
        return frame, []
    held = eager(frame, source)
    wanted = set(needed)
    columns: dict[str, Any] = {}
    for name in held.columns:
        series = held[name]
        try:  # of polars' objects Arrow would take the addresses
            columns[name] = _array(series.to_list()) if series.dtype == nw.Object else series.to_arrow()
        except _UNREADABLE as error:
            if name in wanted:
                raise DataError(f"{source}: {_misfit(series.to_list(), name)}") from error
    return pa.table(columns), [name for name in held.columns if name not in columns]


def is_frame(value: object) -> bool:
    """Say whether something is a data frame that narwhals knows: pandas, polars, PyArrow and others, lazy ones too."""
    try:
        return isinstance(nw.from_native(value, pass_through=True), nw.DataFrame | nw.LazyFrame)
    except nw.exceptions.NarwhalsError:  # one that cannot be read
        return True


def eager(frame: Any, source: str) -> nw.DataFrame[Any]:
    """Return a data frame under narwhals' names, collected where it is lazy; columns that are called by numbers get texts as names.

    Raises:
        DataError: it is none, or two of its columns have one name.
    """
    if not is_frame(frame):
        raise DataError(f"{source}: expected a pandas, polars or PyArrow table, got {type(frame).__name__}")
    try:
        wrapped = nw.from_native(frame)
        held: nw.DataFrame[Any] = wrapped.collect() if isinstance(wrapped, nw.LazyFrame) else wrapped
        return held if all(isinstance(name, str) for name in held.columns) else held.rename({name: str(name) for name in held.columns})
    except nw.exceptions.NarwhalsError as error:
        twice = ": rename or leave out one of them" if isinstance(error, nw.exceptions.DuplicateError) else ""
        raise DataError(f"{source} cannot be read: {' '.join(str(error).split())}{twice}") from error


def _array(values: list[Any]) -> pa.Array:
    return pa.array(values, from_pandas=True)


def _misfit(values: list[Any], name: str) -> str:
    """Say which value keeps a column from being of one type."""
    row = _first_unread(values, _array)
    value = values[row]
    kind, shown = type(value).__name__, reprlib.repr(value)
    if _first_unread([value], _array) == 0:
        return f"row {row + 1}, column '{name}': {shown} ({kind}) is neither text nor a number of up to 64 bits: make it one of them"
    return f"row {row + 1}, column '{name}' mixes types: {shown} is of type {kind}, unlike the rows above: make it all text or all numbers"


def _first_unread(values: Any, read: Callable[[Any], Any]) -> int:
    """Return the first row (from 0) up to which ``read`` fails, or the number of rows; found by bisection."""

    def fails(count: int) -> bool:
        try:
            read(values[:count])
        except _UNREADABLE:
            return True
        return False

    return bisect_left(range(1, len(values) + 1), True, key=fails)


def require_columns(table: pa.Table, names: Iterable[str], source: str, *, rows: bool = True) -> None:
    """Check that a table has the named columns, and ``rows``.

    Raises:
        DataError: a column is missing (the text lists those that are there) or there is no row.
    """
    missing = [name for name in names if name not in table.column_names]
    if missing:
        there = ", ".join(table.column_names) or "none"
        mend = f"say which it is, as in columns={{'{missing[0]}': NAME}} (columns: in a YAML description; an argument of from_frame)"
        if table.num_columns == 1 and missing[0] in there:
            mend = "say what separates columns, with  --separator MARK  (separator: MARK  in a YAML description)"
        raise DataError(f"{source}: no column '{missing[0]}' (columns: {there:.1000}): {mend}")
    if rows and not table.num_rows:
        raise DataError(f"{source}: no rows: the table is empty or holds only a header")


def id_column(table: pa.Table, name: str, source: str, above: int = 0) -> pa.Array:
    """Return a column of ids as text or int64.

    Whole numbers that a missing value elsewhere once turned into floats are taken as integers.

    Args:
        table: some rows of a file.
        name: of the column.
        source: what messages call the file.
        above: how many of its rows come before.

    Raises:
        DataError: a missing id (row named) or a type that is neither text nor whole numbers.
    """
    column = flat_array(table[name])
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"{source}: row {above + row + 1}, column '{name}': the id is missing")
    kind = column.type
    if pa.types.is_floating(kind):
        values = column.to_numpy(zero_copy_only=False)
        if np.all(np.isfinite(values)) and np.all(values == np.floor(values)):
            if np.all(np.abs(values) < _EXACT):
                return pa.array(values.astype(np.int64))
            row = int(np.argmax(np.abs(values) >= _EXACT))
            what = "as a float this id is not exact, and others would fall together with it: store ids as text or whole numbers"
            raise DataError(f"{source}: row {above + row + 1}, column '{name}': {values[row]:.0f}: {what}")
        row = int(np.flatnonzero(~np.isfinite(values) | (values != np.floor(values)))[0])
        raise DataError(f"{source}: row {above + row + 1}, column '{name}': {values[row]} is no id: ids are text or whole numbers")
    if pa.types.is_integer(kind):
        above = kind == pa.uint64() and (pc.max(column).as_py() or 0) >= 2**63
        return column if above else column.cast(pa.int64())
    if is_text(kind):
        text = column.cast(pa.large_string())
        empty = np.flatnonzero(pc.equal(text, "").to_numpy(zero_copy_only=False))
        if len(empty):
            raise DataError(f"{source}: row {above + empty[0] + 1}, column '{name}': the id is empty")
        return text
    raise DataError(f"{source}: column '{name}' is of type {kind}: ids are text or whole numbers")


def id_codes(table: pa.Table, name: str, source: str) -> tuple[pa.Array, CodeArray]:
    """Return the distinct ids of a column, in the order in which they first occur, and the place (from 0) of each row's id among them.

    Raises:
        DataError: as `id_column`.
    """
    found = appearing(table[name])
    if found is not None:
        return found
    encoded = id_column(table, name, source).dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False)


def number_column(table: pa.Table, name: str, source: str) -> npt.NDArray[np.float64]:
    """Return a numeric column as float64, ``[n]``; true is 1 and false 0.

    Raises:
        DataError: a value that is missing, not a number or not finite; row and column are named.
    """
    values = numbers_or_nan(table, name, source)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
        raise DataError(
            f"{source}: row {bad[0] + 1}, column '{name}': the value is missing or not a finite number{more}: "
            "fill it in, leave out the column, or drop such rows with  --on-missing drop  "
            "(on_missing: drop  in a YAML description or LoadOptions)"
        )
    return values


def numbers_or_nan(table: pa.Table, name: str, source: str) -> npt.NDArray[np.float64]:
    """Do as ``number_column``, but return NaN where a value is missing.

    Raises:
        DataError: a value that is no number.
    """
    column = flat_array(table[name])
    if is_text(column.type):
        column = _parsed_numbers(_filled(column), name, source)
    return _floats(column, name, source)


def times_or_nan(table: pa.Table, name: str, source: str, *, time_format: str | None = None) -> npt.NDArray[np.float64]:
    """Return a column of times in seconds since 1970 (numbers as they are), ``[n]``; NaN where one is missing, UTC without a zone.

    Args:
        table: holds the column.
        name: of the column.
        source: what messages call the table.
        time_format: how times are written, as for ``strptime``.

    Raises:
        DataError: a value that is neither a number nor a time.
    """
    column = flat_array(table[name])
    if time_format is not None and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        column = _digits(column)
    if is_text(column.type):
        column = _parsed_times(_filled(column), name, source, time_format)
    elif pa.types.is_timestamp(column.type) or pa.types.is_date(column.type) or pa.types.is_duration(column.type):
        column = _seconds(column)
    elif pa.types.is_time(column.type):
        raise DataError(f"{source}: column '{name}' holds times of a day: join them with their dates")
    return _floats(column, name, source)


def _digits(column: pa.Array) -> pa.Array:
    """Return numbers such as 20240131 as texts, those too that a missing value elsewhere turned into floats."""
    with contextlib.suppress(pa.ArrowInvalid):
        column = column.cast(pa.int64())
    return column.cast(pa.large_string())


def _floats(column: pa.Array, name: str, source: str) -> npt.NDArray[np.float64]:
    if pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    elif not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type)):
        raise DataError(f"{source}: column '{name}' is of type {column.type}: numbers are wanted")
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def _filled(text: pa.Array) -> pa.Array:
    """Return trimmed texts, null where a value is missing."""
    trimmed = pc.utf8_trim_whitespace(text.cast(pa.large_string()))
    missing = pc.is_in(trimmed, value_set=pa.array(["", *MISSING], pa.large_string()))
    return pc.if_else(missing, pa.scalar(None, pa.large_string()), trimmed)


def reads_as_time(text: pa.Array) -> bool:
    """Say whether there are texts and each is a time (a date at least) in a form that is read."""
    try:
        return bool(len(text)) and _times(text) is not None
    except pa.ArrowInvalid:
        return False


def _seconds(column: pa.Array) -> pa.Array:
    if pa.types.is_duration(column.type):
        return pc.divide(column.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)
    micro = column.cast(pa.timestamp("us"), safe=False) if pa.types.is_date(column.type) else column
    unit = pa.timestamp("us", tz=micro.type.tz)
    return pc.divide(micro.cast(unit, safe=False).cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)


def _parsed_numbers(text: pa.Array, name: str, source: str) -> pa.Array:
    """Parse text as numbers, or else as true and false."""
    for read in (_numbers, _truths):
        with contextlib.suppress(pa.ArrowInvalid):
            return read(text)
    row = max(_first_unread(text, _numbers), _first_unread(text, _truths))
    mend = "correct it (a label is 1 or 0, true or false), leave out the row, or leave out or rename the column"
    raise DataError(f"{source}: row {row + 1}, column '{name}': {text[row].as_py()!r} is no number: {mend}")


def _parsed_times(text: pa.Array, name: str, source: str, time_format: str | None) -> pa.Array:
    """Parse text as numbers, or else as ISO dates and times."""
    if time_format is not None:
        return _formatted(text, time_format, name, source)
    for read in (_numbers, _times):
        with contextlib.suppress(pa.ArrowInvalid):
            return read(text)
    row = max(_first_unread(text, _numbers), _first_unread(text, _times))
    value = text[row : row + 1]
    if _first_unread(value, _numbers) == _first_unread(value, _times) == 0:
        what = (
            "is neither a number nor an ISO time: correct it, leave out the row or the column, or say how times are written, such as  "
            "--time-format '%d/%m/%Y %H:%M'  (time_format: in a YAML description or LoadOptions)"
        )
    else:
        what = "is unlike the rows above, as numbers and ISO times are mixed: make all of them numbers or all ISO times"
    raise DataError(f"{source}: row {row + 1}, column '{name}': {value[0].as_py()!r} {what}")


def _formatted(text: pa.Array, form: str, name: str, source: str) -> pa.Array:
    """Parse times written as ``form`` says; without a zone they are UTC."""
    if "%Z" in form:
        _check_zones(text, name, source)
    encoded = text.dictionary_encode()
    seconds = [_seconds_of(value, form) for value in encoded.dictionary.to_pylist()]
    if None in seconds:
        value = encoded.dictionary[seconds.index(None)].as_py()
        row = pc.index(text, value).as_py() + 1
        raise DataError(f"{source}: row {row}, column '{name}': {value!r} is not written as the time format {form!r} says: correct one")
    return pa.array(seconds, pa.float64()).take(encoded.indices)


def _check_zones(text: pa.Array, name: str, source: str) -> None:
    """See that zones are named UTC or GMT: Python reads the names of this machine's zone too, and says nothing of their offset."""
    other = np.flatnonzero(pc.invert(pc.match_substring_regex(text.fill_null("UTC"), r"(?i)\b(utc|gmt)\b")).to_numpy(zero_copy_only=False))
    if len(other):
        what = "of the names of zones UTC and GMT alone are read: write offsets such as +0100, with %z"
        raise DataError(f"{source}: row {other[0] + 1}, column '{name}': {text[int(other[0])].as_py()!r}: {what}")


def _seconds_of(value: str, form: str) -> float | None:
    try:
        found = dt.datetime.strptime(value, form)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp()


def _numbers(text: pa.Array) -> pa.Array:
    return text.cast(pa.float64())


def _truths(text: pa.Array) -> pa.Array:
    return text.cast(pa.bool_())


def _times(text: pa.Array) -> pa.Array:
    for pattern, replacement in _REWRITTEN:
        text = pc.replace_substring_regex(text, pattern, replacement)
    zoned = pc.match_substring_regex(text, _ZONED)
    missing = pa.scalar(None, text.type)
    local = pc.if_else(zoned, missing, text).cast(pa.timestamp("us"))
    return pc.coalesce(_seconds(local), _seconds(pc.if_else(zoned, text, missing).cast(pa.timestamp("us", "UTC"))))


def text_column(table: pa.Table, name: str) -> list[str]:
    """Return any column as text, ``""`` where it is missing; lists of texts are joined with ``", "``.

    Whole numbers that a missing value elsewhere once turned into floats are written as integers.
    """
    column = flat_array(table[name])
    if pa.types.is_floating(column.type):
        with contextlib.suppress(pa.ArrowInvalid):
            column = column.cast(pa.int64())
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
    """Say whether a column of this type is text or a list of texts."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return is_text(kind.value_type)
    return is_text(kind)


def is_numeric_text(column: pa.ChunkedArray) -> bool:
    """Say whether a text column holds numbers (or true/false) only; one with no value at all does not."""
    if not is_text(column.type):
        return False
    text = column.cast(pa.large_string())
    filled = text.filter(pc.not_equal(text, "")).drop_null()
    if not len(filled):
        return False
    for kind in (pa.float64(), pa.bool_()):
        try:
            filled.cast(kind)
        except pa.ArrowInvalid:
            continue
        return True
    return False

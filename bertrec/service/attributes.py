"""What answers say of items: their attributes as JSON has them, and which values an attribute has."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.data.expressions import ItemColumns
from bertrec.data.frames import is_text

_COMMONEST = 50


class Attributes:
    """The columns that a filter can name, ready to be said.

    Args:
        columns: of the items.
        title: the field that is the title, which answers have elsewhere.
    """

    def __init__(self, columns: ItemColumns, title: str | None) -> None:
        self._columns = {name: columns.column(name, "attributes") for name in columns.names}
        self._shown = [name for name in columns.names if name != title]

    def of(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return for each inner id its attributes by name; what is missing is null."""
        picked = pa.array(np.asarray(rows, np.int64))
        values = {name: self._columns[name].take(picked).to_pylist() for name in self._shown}
        return [{name: plain(column[at]) for name, column in values.items()} for at in range(len(rows))]

    def about(self) -> list[dict[str, Any]]:
        """Return name, type and commonest values of each."""
        return [{"name": name, "type": str(column.type), "values": _commonest(column)} for name, column in self._columns.items()]


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _commonest(column: pa.Array) -> list[Any] | None:
    """Return the commonest values, the commonest first; None for numbers and times, and where most values stand alone."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pc.list_flatten(column)
    if not is_text(column.type) and not pa.types.is_boolean(column.type):
        return None
    there = column.drop_null()
    counted = pc.value_counts(there)
    if 2 * len(counted) > len(there) and len(counted) > _COMMONEST:
        return None
    order = sorted(range(len(counted)), key=lambda row: -counted[row]["counts"].as_py())[:_COMMONEST]
    return [counted[row]["values"].as_py() for row in order if counted[row]["values"].as_py() != ""]

"""One table of items or of interactions alone, read as the data that they belong to: the same columns, form and text fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.errors import DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.load import catalog_of, described_by, form_of
from bertrec.data.options import LoadOptions
from bertrec.data.places import Place, place_of
from bertrec.data.readers import tables
from bertrec.data.readers.raw import RawData


@dataclass(frozen=True)
class Manner:
    """How tables of some data are read.

    Attributes:
        options: text fields, template, separators and so on.
        columns: the tables' names of our columns.
    """

    options: LoadOptions = field(default_factory=LoadOptions)
    columns: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, data: str | Path | None, options: LoadOptions | None = None) -> Manner:
        """Return how the tables of ``data`` are read: a YAML description names columns, anything else has ours.

        Raises:
            DataError, ConfigError: a description that cannot be read.
        """
        options = options or LoadOptions()
        if data is None or (place := place_of(data, "the data")).suffix not in (".yaml", ".yml"):
            return cls(options)
        described, merged = described_by(place, options)
        return cls(merged, described.columns)

    def read(self, role: str, path: Place) -> RawData:
        """Read one table, ``items`` or ``interactions``."""
        return tables.read_one(role, path, columns=self.columns, form=form_of(self.options), time_column=self.options.time_column)


def read_items(path: str | Path, manner: Manner, *, like: ItemCatalog, least: int | None = None) -> ItemCatalog:
    """Read a table of items with the text fields of a catalogue.

    Args:
        path: CSV, TSV, JSON lines, Parquet, Amazon's metadata or RecBole's ``.item``.
        manner: how it is read.
        like: the catalogue; its fields and template count, not those of ``manner``.
        least: how many of its fields must be there; None asks for all.

    Raises:
        DataError: the file cannot be read, lacks a text field or has none of them, or has an id twice with different content.
    """
    place = place_of(path, "the table of items")
    return items_like(manner.read("items", place), manner.options, like=like, what=str(place), least=least)


def items_of(table: pa.Table, manner: Manner, what: str) -> RawData:
    """Take a table of items, of types of its own, as if it had been read; ``what`` is named in messages."""
    return tables.of_table("items", table, what, columns=manner.columns)


def items_like(raw: RawData, options: LoadOptions, *, like: ItemCatalog, what: str, least: int | None = None) -> ItemCatalog:
    """Make a catalogue of a table of items with the text fields of another; see `read_items`.

    Args:
        raw: the table.
        options: how it is read.
        like: the catalogue.
        what: is named in messages.
        least: how many of its fields must be there; None asks for all.
    """
    there = [name for name in like.fields if name in raw.items.column_names]
    missing = [name for name in like.fields if name not in there]
    if len(there) < (len(like.fields) if least is None else least):
        lacks = f"lacks the text field{'s' if len(missing) > 1 else ''} {', '.join(missing)}, which the run was trained with"
        mend = "rename them, or name a YAML description whose  columns:  does (--data)"
        raise DataError(f"{what} {lacks} (its columns: {', '.join(raw.items.column_names)}): {mend}")
    _check_once(raw.items, what)
    options = options.updated({"text_fields": tuple(there), "template": None if missing else like.template})
    return catalog_of(raw, options)


def _check_once(table: pa.Table, what: str) -> None:
    """See that rows with the same id are the same rows."""
    if "item_id" not in table.column_names or pc.count_distinct(table["item_id"]).as_py() == table.num_rows:
        return
    seen: dict[Any, Any] = {}
    for row in table.to_pylist():
        before = seen.setdefault(row["item_id"], row)
        if before != row:
            name = next(name for name in row if row[name] != before[name])
            raise DataError(f"{what}: item id {row['item_id']!r} occurs twice with different '{name}': keep one of the rows")


def read_interactions(path: str | Path, manner: Manner, catalog: ItemCatalog) -> Interactions:
    """Read a table of interactions over a catalogue.

    Raises:
        DataError: as `Interactions.from_frame`.
    """
    place = place_of(path, "the table of interactions")
    raw, options = manner.read("interactions", place), manner.options
    how: dict[str, Any] = {"time_format": options.time_format, "on_missing": options.on_missing, "source": str(place)}
    return Interactions.from_frame(raw.interactions, catalog, timestamp=options.time_column or "timestamp", **how)

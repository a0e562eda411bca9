"""What every reader hands over: Arrow tables under standard column names, with the names of the files they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.ragged import Ragged
from bertrec.data.attributes import typed
from bertrec.data.frames import to_arrow
from bertrec.data.ids import IdMap, flat_array

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RawLists:
    """Rows of external ids: row ``i`` is ``values[offsets[i]:offsets[i + 1]]``."""

    values: pa.Array
    offsets: IntArray

    @classmethod
    def split(cls, column: pa.Array | pa.ChunkedArray) -> RawLists:
        """Split each text at white space; an empty text is an empty row."""
        lists = flat_array(pc.ascii_split_whitespace(flat_array(column).cast(pa.large_string()).fill_null("")))
        values, offsets = lists.values, lists.offsets.to_numpy().astype(np.int64)
        filled = pc.not_equal(values, "").to_numpy(zero_copy_only=False)
        before = np.concatenate([[0], np.cumsum(filled)]).astype(np.int64)
        return cls(values.filter(pa.array(filled)), before[offsets])

    def encode(self, ids: IdMap) -> Ragged:
        """Return the inner ids, 0 where unknown."""
        return Ragged(ids.encode(self.values), self.offsets)


@dataclass(frozen=True, eq=False)
class RawSequences:
    """One file of a sequential benchmark: a row is a user, a history and the item that follows."""

    source: str
    users: pa.Array
    histories: RawLists
    targets: pa.Array


@dataclass(frozen=True, eq=False)
class RawImpressions:
    """One file of impressions: who saw which candidates after which history, and what was clicked."""

    source: str
    ids: list[str]
    users: list[str]
    timestamp: npt.NDArray[np.float64] | None
    histories: RawLists
    candidates: RawLists
    labels: npt.NDArray[np.int8] | None


@dataclass(eq=False)
class RawData:
    """All that a folder holds.

    Attributes:
        name: of the data set.
        format: the reader's name.
        items: ``item_id`` and text columns.
        interactions: ``user_id``, ``item_id`` and the optional standard columns, or ``None`` (sequences or impressions only).
        users: ``user_id`` and text columns, or ``None``.
        sources: what messages call each table: ``items``, ``interactions``, ``users``.
        text_fields: the columns of ``items`` that are text by default; ``None``: as
            ``bertrec.data.catalog.ItemCatalog.from_frame`` chooses.
        attributes: columns of ``items`` that have a type which text does not show, and further ones that are no text, each ``[n]``.
        untyped: columns of text in ``items`` may hold numbers, dates and so on, since the format has no types.
        sequences: the given split of a sequential benchmark: ``train``, ``valid``, ``test``.
        parts: the interactions' ``split`` column is the given split (a flat benchmark) and not merely carried along.
        impressions: by part.
        notes: what the reader left out or repaired.
        folders: where files were read.
    """

    name: str
    format: str
    items: pa.Table
    interactions: pa.Table | None = None
    users: pa.Table | None = None
    sources: dict[str, str] = field(default_factory=dict)
    text_fields: tuple[str, ...] | None = None
    attributes: dict[str, pa.Array] = field(default_factory=dict)
    untyped: bool = True
    sequences: dict[str, RawSequences] = field(default_factory=dict)
    parts: bool = False
    impressions: dict[str, RawImpressions] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    folders: tuple[Path, ...] = ()

    def item_attributes(self) -> pa.Table:
        """Return the items with the types that their attributes have."""
        table, _ = to_arrow(self.items, self.sources.get("items", "items"))  # what is read from memory may be any frame
        table = typed(table) if self.untyped else table
        for name, column in self.attributes.items():
            table = table.drop_columns(name) if name in table.column_names else table
            table = table.append_column(name, column)
        return table

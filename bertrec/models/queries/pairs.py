"""Pairs of a query and the item that answers it, in three parts that share no item where they were dealt here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bertrec.core.described import Described
from bertrec.core.errors import DataError
from bertrec.core.files import atomic_file, sha256_text
from bertrec.core.known_ids import find_id
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.frames import id_column, require_columns, text_column
from bertrec.data.interactions import PARTS as PART_NAMES
from bertrec.data.places import fetched, place_of
from bertrec.data.readers.delimited import read_table
from bertrec.models.queries.phrases import without_phrases

PARTS = ("train", "valid", "test")
SHARES = (0.8, 0.1, 0.1)
QUERY, ITEM, PART, PHRASE = "query", "item_id", "split", "phrase"
WRITTEN = (".parquet", ".jsonl")


@dataclass(frozen=True)
class Asked:
    """The distinct queries of a part.

    Attributes:
        queries: ``[n]``.
        targets: the items that answer each of them, ``n`` rows of inner ids, in the order of the pairs.
        elsewhere: the items that answer it by another part, ``n`` rows of inner ids.
    """

    queries: list[str]
    targets: Ragged
    elsewhere: Ragged

    def __len__(self) -> int:
        return len(self.queries)


@dataclass(frozen=True, eq=False, repr=False)
class QueryPairs(Described):
    """Pairs of a query and an item, each pair once.

    Attributes:
        catalog: the items, as the data have them.
        queries: ``[n]``, none empty.
        items: ``[n]`` inner ids.
        parts: ``[n]``, 0 train, 1 valid, 2 test.
        phrases: ``[n]``, what is to be taken out of the item's text, ``""`` for nothing.
        notes: what was dropped, one line each.
        dealt_by: the seed by which items were dealt into parts; None where the table names the parts.
    """

    catalog: ItemCatalog
    queries: list[str]
    items: IntArray
    parts: IntArray
    phrases: list[str]
    notes: tuple[str, ...] = ()
    dealt_by: int | None = None

    def __len__(self) -> int:
        return len(self.queries)

    def _facts(self) -> dict[str, object]:
        return {"pairs": len(self), **self.counts}

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs each part has."""
        return {name: int((self.parts == number).sum()) for number, name in enumerate(PARTS)}

    @cached_property
    def indexed(self) -> ItemCatalog:
        """The items without the phrases that queries took from them: what is indexed."""
        return without_phrases(self.catalog, self.items, self.phrases) if any(self.phrases) else self.catalog

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over pairs, parts and phrases."""
        rows = zip(self.queries, self.catalog.ids.decode(self.items), self.parts.tolist(), self.phrases, strict=True)
        return sha256_text(*(json.dumps(row) for row in rows))

    def of(self, part: str) -> Asked:
        """Return the distinct queries of a part with all items that answer them.

        Raises:
            DataError: the part has none.
        """
        number = PARTS.index(part)
        own, other = _by_query(self, self.parts == number), _by_query(self, self.parts != number)
        if not own:
            raise DataError(f"there is no pair of the part {part}: name it in a column '{PART}' (train, valid, test), or leave that out")
        return Asked(list(own), Ragged.from_rows(own.values()), Ragged.from_rows(_less(other.get(query, []), own[query]) for query in own))

    def write(self, path: Path) -> None:
        """Write the pairs with their parts and phrases as Parquet or JSON lines, whole or not at all.

        Raises:
            DataError: the name ends otherwise.
        """
        check_written(path)
        names = np.array(PARTS)[self.parts].tolist()
        columns = {QUERY: self.queries, ITEM: self.catalog.ids.decode(self.items), PART: names, PHRASE: self.phrases}
        with atomic_file(path) as temporary:
            if path.suffix == ".parquet":
                pq.write_table(pa.table(columns), temporary, compression="zstd")
                return
            rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
            temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def check_written(path: Path) -> None:
    """See that pairs can be written under a name.

    Raises:
        DataError: it ends in something else than `WRITTEN`.
    """
    if path.suffix not in WRITTEN:
        raise DataError(f"{path}: pairs are written as {' or '.join(WRITTEN)}: name such a file")


def read_pairs(path: str | Path, catalog: ItemCatalog, *, seed: int = 0) -> QueryPairs:
    """Read a table of pairs: CSV, TSV, JSON lines or Parquet.

    Args:
        path: with columns ``query`` and ``item_id``, perhaps ``split`` (train, valid, test) and ``phrase`` (words to
            be taken out of the item's text). Without ``split`` items are dealt into parts: a test item is in no
            training pair.
        catalog: the items. Pairs of others are counted and dropped.
        seed: of the parts, where they are dealt.

    Raises:
        DataError: the file cannot be read, lacks a column, or has an empty query or an unknown part (file and row are
            named), or no pair is of a known item.
    """
    place = place_of(path, "the table of pairs")
    notes: list[str] = []
    with fetched(place) as file:
        table = read_table(file, known={QUERY, ITEM, PART, PHRASE}, notes=notes)
    source = str(place)
    require_columns(table, [QUERY, ITEM], source)
    queries = [" ".join(text.split()) for text in text_column(table, QUERY)]
    if "" in queries:
        raise DataError(f"{source}: row {queries.index('') + 1}: the query is empty: write words, or leave the row out")
    known = set(catalog.ids.ids)
    items = catalog.ids.encode([find_id(str(one), known) for one in id_column(table, ITEM, source).to_pylist()])
    phrases = text_column(table, PHRASE) if PHRASE in table.column_names else [""] * len(queries)
    dealt_by = None if PART in table.column_names else seed
    read = QueryPairs(catalog, queries, items, _parts(table, items, source, seed), phrases, tuple(notes), dealt_by)
    return _once(_of_known(read, source), source)


def dealt(items: IntArray, seed: int, shares: Sequence[float] = SHARES) -> IntArray:
    """Deal items into training, validation and test; pairs of one item are of one part.

    Args:
        items: ``[n]`` ids of any kind.
        seed: of the order.
        shares: of the distinct items. Validation and test have one item each, at least, where there are three.

    Returns:
        ``[n]``: 0 training, 1 validation, 2 test.
    """
    distinct, place = np.unique(items, return_inverse=True)
    count = len(distinct)
    held = [max(1, round(share * count)) if count >= len(shares) else 0 for share in shares[1:]]
    of_item = np.zeros(count, np.int64)
    order = np.random.default_rng([seed, 23]).permutation(count)
    of_item[order[: held[0]]], of_item[order[held[0] : sum(held)]] = 1, 2
    return of_item[place]


def _parts(table: pa.Table, items: IntArray, source: str, seed: int) -> IntArray:
    if PART not in table.column_names:
        known, codes = items > 0, np.zeros(len(items), np.int64)
        codes[known] = dealt(items[known], seed)
        return codes
    names = text_column(table, PART)
    codes = np.array([PART_NAMES.get(name.strip().lower(), -1) for name in names], np.int64)
    if len(bad := np.flatnonzero(codes < 0)):
        raise DataError(f"{source}: row {bad[0] + 1}, column '{PART}': {names[bad[0]]!r} is none of {', '.join(PARTS)}")
    return codes


def _kept(pairs: QueryPairs, keep: IntArray, note: str) -> QueryPairs:
    queries, phrases = ([column[row] for row in keep.tolist()] for column in (pairs.queries, pairs.phrases))
    parts, notes = pairs.parts[keep], (*pairs.notes, note)
    return replace(pairs, queries=queries, items=pairs.items[keep], parts=parts, phrases=phrases, notes=notes)


def _of_known(pairs: QueryPairs, source: str) -> QueryPairs:
    keep = np.flatnonzero(pairs.items)
    if not len(keep):
        raise DataError(f"{source}: none of the {len(pairs)} pairs is of an item of the catalogue: are these its ids?")
    lost = len(pairs) - len(keep)
    return _kept(pairs, keep, f"{source}: {lost} of {len(pairs)} pairs are of items that the catalogue lacks (dropped)") if lost else pairs


def _once(pairs: QueryPairs, source: str) -> QueryPairs:
    """Keep each pair where it first stands."""
    seen: dict[tuple[str, int], int] = {}
    for row, pair in enumerate(zip(pairs.queries, pairs.items.tolist(), strict=True)):
        seen.setdefault(pair, row)
    lost = len(pairs) - len(seen)
    return _kept(pairs, np.array(list(seen.values())), f"{source}: {lost} pairs are there twice (kept once)") if lost else pairs


def _by_query(pairs: QueryPairs, keep: IntArray) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in np.flatnonzero(keep).tolist():
        found.setdefault(pairs.queries[row], []).append(int(pairs.items[row]))
    return found


def _less(items: list[int], others: list[int]) -> list[int]:
    return [item for item in items if item not in others]

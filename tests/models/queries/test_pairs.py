"""Tables of pairs: every form, whatever is wrong with them, and the parts."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bertrec.core.errors import DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.models.queries.make import make_pairs
from bertrec.models.queries.pairs import dealt, read_pairs

CATALOG = ItemCatalog(IdMap([7, 8, 9]), {"title": ["a red boot", "a blue boot", "a lamp"]})
ROWS = [("red shoe", 7, "train"), ("blue  shoe", 8, "valid"), ("light, please", 9, "test")]


def write(path, rows=ROWS, names=("query", "item_id", "split")):
    if path.suffix == ".parquet":
        pq.write_table(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    else:
        mark = {".csv": ",", ".tsv": "\t"}[path.suffix]
        cells = [[f'"{one}"' if mark == "," and "," in str(one) else str(one) for one in row] for row in [names, *rows]]
        path.write_text("\n".join(mark.join(row) for row in cells) + "\n")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_form_is_read_alike(tmp_path, suffix):
    pairs = read_pairs(write(tmp_path / f"pairs{suffix}"), CATALOG)
    assert pairs.queries == ["red shoe", "blue shoe", "light, please"]
    assert pairs.items.tolist() == [1, 2, 3]
    assert pairs.parts.tolist() == [0, 1, 2]
    assert pairs.notes == ()
    assert pairs.indexed is CATALOG


@pytest.mark.parametrize("name", ["pairs.parquet", "pairs.jsonl"])
def test_what_was_made_is_read_back(tmp_path, name):
    titles = [f"film {n} by director{n}" for n in range(8)]
    catalog = ItemCatalog(IdMap(range(8)), {"title": titles, "plot": [f'one "{n}" two three four' for n in range(8)]})
    made = make_pairs(catalog, ["title"], phrase="plot", words=2)
    made.write(tmp_path / name)
    read = read_pairs(tmp_path / name, catalog)
    assert read.content_hash == made.content_hash
    assert read.indexed.texts == made.indexed.texts


def test_pairs_of_unknown_items_are_counted_and_dropped_and_repeats_kept_once(tmp_path):
    rows = [*ROWS, ("a hat", 10, "test"), ROWS[0], ("red shoe", 9, "test")]
    pairs = read_pairs(write(tmp_path / "pairs.csv", rows), CATALOG)
    assert list(zip(pairs.queries, pairs.items.tolist(), strict=True))[-1] == ("red shoe", 3)
    assert len(pairs) == 4
    first, second = pairs.notes
    assert first.endswith("pairs.csv: 1 of 6 pairs are of items that the catalogue lacks (dropped)")
    assert second.endswith("pairs.csv: 1 pairs are there twice (kept once)")


def test_queries_of_a_part_have_all_their_items_and_those_of_other_parts(tmp_path):
    rows = [("boot", 7, "test"), ("lamp", 9, "test"), ("boot", 8, "test"), ("lamp", 7, "train"), ("hat", 8, "train")]
    asked = read_pairs(write(tmp_path / "pairs.csv", rows), CATALOG).of("test")
    assert asked.queries == ["boot", "lamp"]
    assert [row.tolist() for row in asked.targets] == [[1, 2], [3]]
    assert [row.tolist() for row in asked.elsewhere] == [[], [1]]


@pytest.mark.parametrize(
    ("rows", "names", "said"),
    [
        ([("red", 7), ("  ", 8)], ("query", "item_id"), r"pairs\.csv: row 2: the query is empty"),
        ([("red", 7, "later")], ("query", "item_id", "split"), r"row 1, column 'split': 'later' is none of train, valid, test"),
        ([("red", 77)], ("query", "item_id"), "none of the 1 pairs is of an item of the catalogue"),
        ([("red", 7)], ("words", "item_id"), "no column 'query'"),
        ([], ("query", "item_id"), "no rows"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_row(tmp_path, rows, names, said):
    with pytest.raises(DataError, match=said):
        read_pairs(write(tmp_path / "pairs.csv", rows, names), CATALOG)


def test_files_that_are_not_there_and_names_that_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_pairs(tmp_path / "absent.csv", CATALOG)
    with pytest.raises(DataError, match=r"written as \.parquet or \.jsonl"):
        make_pairs(CATALOG, ["title"]).write(tmp_path / "pairs.csv")


@pytest.mark.parametrize("seed", [0, 1])
def test_items_are_dealt_whole(seed):
    items = np.random.default_rng(0).integers(1, 101, 500)
    parts = dealt(items, seed)
    for item in set(items.tolist()):
        assert len(set(parts[items == item].tolist())) == 1
    of_item = {item: int(parts[items == item][0]) for item in set(items.tolist())}
    counts = np.bincount(list(of_item.values()), minlength=3)
    assert counts[1] == counts[2] == round(len(of_item) / 10)
    assert dealt(items, seed).tolist() == parts.tolist()


def test_too_few_items_are_all_for_training():
    assert dealt(np.array([4, 9, 4]), 0).tolist() == [0, 0, 0]
    assert sorted(dealt(np.array([1, 2, 3]), 0).tolist()) == [0, 1, 2]

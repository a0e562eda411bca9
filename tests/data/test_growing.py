"""Later interactions join those that were there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bertrec.core.errors import DataError, ModelError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.growing import Rows, grown, new_rows
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions

ITEMS = ItemCatalog(IdMap(["a", "b", "c"]), {"title": ["kettle", "lamp", "rug"]})


def interactions(*rows: tuple[object, ...], time: bool = True) -> Interactions:
    names = ["user_id", "item_id", "timestamp"] if time else ["user_id", "item_id"]
    return Interactions.from_frame(pd.DataFrame(rows, columns=names), ITEMS)


def histories(data: Interactions) -> dict[object, list[object]]:
    return {user: data.catalog.ids.decode(row) for user, row in zip(data.users.ids, data.sequences, strict=True)}


def test_rows_with_times_come_between() -> None:
    base = interactions(("u", "a", 100.5), ("u", "c", 300.5), ("v", "b", 100.5))
    later = Rows.of(interactions(("w", "a", 50.5), ("u", "b", 200.5)))
    assert histories(grown(base, later)) == {"u": ["a", "b", "c"], "v": ["b"], "w": ["a"]}


def test_rows_without_times_come_last_in_their_order() -> None:
    base = interactions(("u", "a"), ("v", "b"), time=False)
    later = Rows(["u", "u"], ["c", "b"]).then(Rows(["u"], ["c"]))
    assert histories(grown(base, later)) == {"u": ["a", "c", "b", "c"], "v": ["b"]}


def test_positions_are_no_times() -> None:
    base = interactions(("u", "a", 0), ("u", "b", 1))
    assert base.timestamp_is_position
    later = Rows.of(interactions(("u", "c", 77.5)))
    assert histories(grown(base, later)) == {"u": ["a", "b", "c"]}


def test_what_is_there_already_is_passed_over() -> None:
    base = interactions(("u", "a", 100.5), ("v", "b", 100.5))
    rows = Rows.of(interactions(("u", "a", 100.5), ("u", "a", 101.5), ("w", "a", 100.5)))
    assert list(zip(new_rows(base, rows).users, new_rows(base, rows).items, strict=True)) == [("w", "a"), ("u", "a")]


def test_rows_without_times_are_refused_where_others_have_them() -> None:
    with pytest.raises(DataError, match="have no times and those of the run have"):
        new_rows(interactions(("u", "a", 100.5)), Rows(["u"], ["b"]))


def test_users_of_a_text_file_are_those_with_numbers() -> None:
    base = interactions((1, "a", 100.5), (2, "b", 1.5))
    assert new_rows(base, Rows.of(interactions(("2", "c", 5.5)))).users == [2]


def test_unknown_items_are_dropped_and_counted() -> None:
    found = grown(interactions(("u", "a"), time=False), Rows(["u", "x"], ["gone", "b"]))
    assert histories(found) == {"u": ["a"], "x": ["b"]}
    assert "1 of 2 later interactions are of items absent from the catalogue (dropped)" in found.notes


def test_rows_are_saved_with_the_types_of_their_ids(tmp_path: Path) -> None:
    rows = Rows([1, "1"], ["a", 7], None)
    rows.save(tmp_path / "rows.parquet")
    assert Rows.load(tmp_path / "rows.parquet") == rows
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(ModelError, match=r"rows\.parquet is damaged"):
        Rows.load(tmp_path / "rows.parquet")

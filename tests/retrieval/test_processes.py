"""An index that several processes change, and one that is killed while it is saved: nothing is lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial as partial_of
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from kills import ended, forked, killed_after, killed_at_each_step

from bertrec.core import partial
from bertrec.core.errors import DataError, IndexFileError
from bertrec.retrieval.index import ItemIndex

Vectors = npt.NDArray[np.float32]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forks")
OLD, NEW = list(range(30)), [*range(5, 30), *range(100, 120)]


@pytest.fixture
def place(clustered: Callable[..., Vectors], tmp_path: Path) -> Path:
    ItemIndex.build(clustered(30), OLD, kind="flat").save(tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def new(clustered: Callable[..., Vectors]) -> ItemIndex:
    return ItemIndex.build(clustered(len(NEW)), NEW, kind="flat")


def check_whole(place: Path) -> bool:
    """See that there is the old index or the new one and nothing beside it, then make it the old one again; whether it was the new one."""
    index = ItemIndex.load(place)
    assert index.ids in (OLD, NEW)
    assert os.listdir(place.parent) == [place.name] or sorted(os.listdir(place.parent)) == [f".{place.name}.lock", place.name]
    return index.ids == NEW


def kills(place: Path, new: ItemIndex, count: int) -> Iterator[None]:
    """Kill at every step of a save, then at other moments, ``count`` times in all."""
    for done in killed_at_each_step(lambda: new.save(place)):
        yield
        if done >= count:
            return
    draw = random.Random(0)
    for _ in range(count - done):
        killed_after(lambda: new.save(place), draw.uniform(0, 0.02))
        yield


@pytest.mark.parametrize("at_once", [True, False], ids=["exchange", "two renames"])
def test_200_kills_leave_the_old_index_or_the_new_one(
    place: Path, new: ItemIndex, clustered: Callable[..., Vectors], at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:
        monkeypatch.setattr(partial, "_exchange", lambda *_: False)
    old, seen = ItemIndex.load(place), []
    for _ in kills(place, new, 100):
        seen.append(check_whole(place))
        old.save(place)
        assert os.listdir(place.parent) == [place.name]
    assert len(seen) == 100
    assert set(seen) == {False, True}


@pytest.mark.parametrize("rounds", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_nothing_is_lost_where_four_processes_change_an_index(
    place: Path, clustered: Callable[..., Vectors], rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = set(OLD)

    def change(number: int, row: int) -> None:
        with ItemIndex.changing(place) as index:
            if number == 0 and row % 3 == 2:
                index.compact()
            elif number == 1 and row > 0:
                index.remove([1000 * row - 1000])
            index.add(clustered(1, seed=row), [1000 * row + number])

    for row in range(1, rounds + 1):
        children = [forked(partial_of(change, number, row)) for number in range(4)]
        assert [ended(child) for child in children] == [0] * 4
        expected |= {1000 * row + number for number in range(4)}
        expected -= {1000 * row - 1000}
        assert set(ItemIndex.load(place).ids) == expected
    assert os.listdir(place.parent) == [place.name]


def test_a_change_that_fails_leaves_the_index_and_lets_it_go(place: Path) -> None:
    def half_done(index: ItemIndex) -> None:
        index.remove([3])
        index.remove([3])

    with pytest.raises(DataError, match="3"), ItemIndex.changing(place) as index:
        half_done(index)
    assert ItemIndex.load(place).ids == OLD
    assert os.listdir(place.parent) == [place.name]


def test_an_index_that_is_not_there_is_not_changed(tmp_path: Path) -> None:
    with pytest.raises(IndexFileError, match="there is no such folder"), ItemIndex.changing(tmp_path / "none" / "index"):
        pytest.fail("there was none")
    assert os.listdir(tmp_path) == []


def test_an_index_is_read_whole_while_it_is_saved_again_and_again(place: Path, new: ItemIndex) -> None:
    old = ItemIndex.load(place)

    def save() -> None:
        for _ in range(40):
            new.save(place)
            old.save(place)

    child = forked(save)
    while not os.waitpid(child, os.WNOHANG)[0]:
        assert ItemIndex.load(place).ids in (OLD, NEW)


def test_a_link_to_an_index_stays(place: Path, new: ItemIndex, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(place)
    new.save(link)
    with ItemIndex.changing(link) as index:
        index.remove([100])
    assert link.is_symlink()
    assert ItemIndex.load(place).ids == [item for item in NEW if item != 100]
    assert sorted(os.listdir(tmp_path)) == ["current", "index"]


def test_commands_at_once_remove_all_that_they_were_told(place: Path) -> None:
    """Once all three ended with 0, and one removal was left."""
    words = [sys.executable, "-m", "bertrec.cli.main", "index", "remove", str(place), "--id"]
    processes = [subprocess.Popen([*words, str(item)], stdout=subprocess.DEVNULL) for item in (3, 4, 5)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert ItemIndex.load(place).ids == [item for item in OLD if item not in (3, 4, 5)]
    assert os.listdir(place.parent) == [place.name]

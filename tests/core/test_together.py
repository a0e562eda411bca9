"""Files and folders that change together are all old or all new, whenever the process is killed."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
from kills import ended, forked, killed_after, killed_at_each_step

from bertrec.core import partial, together
from bertrec.core.errors import BertrecError
from bertrec.core.files import write_json
from bertrec.core.resuming import InUse
from bertrec.core.seal import sealed
from bertrec.core.together import changing, settle, settle_target

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forks")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a folder and a file, and a folder elsewhere that belongs to them; all of state 0."""
    home = tmp_path / "run"
    for folder in (home / "model", tmp_path / "elsewhere" / "index"):
        write_state(folder, 0)
    (home / "run.json").write_text("0")
    return home


def write_state(folder: Path, state: int) -> None:
    folder.mkdir(parents=True)
    write_json(folder / "about.json", {"state": state})
    (folder / "values").write_text(str(state))


def state_of(home: Path) -> set[str]:
    """The states that are there, each part read by itself."""
    index = home.parent / "elsewhere" / "index"
    return {(home / "run.json").read_text(), *((folder / "values").read_text() for folder in (home / "model", index))}


def change(home: Path, state: int) -> None:
    with changing(home) as new:
        for target in (home / "model", home.parent / "elsewhere" / "index"):
            write_state(new.place_for(target), state)
        new.place_for(home / "run.json").write_text(str(state))


def change_to_next(home: Path) -> None:
    change(home, int((home / "run.json").read_text()) + 1)


def tidy(home: Path) -> bool:
    """Nothing else is there, hidden or not."""
    return sorted(os.listdir(home)) == ["model", "run.json"] and os.listdir(home.parent / "elsewhere") == ["index"]


def test_a_change_replaces_all_and_leaves_nothing_beside_them(home: Path) -> None:
    change(home, 1)
    assert state_of(home) == {"1"}
    assert tidy(home)


@pytest.mark.parametrize("at_once", [True, False], ids=["exchange", "two renames"])
@pytest.mark.parametrize("reader", ["home", "target"])
def test_a_kill_before_any_step_leaves_all_old_or_all_new(home: Path, at_once: bool, reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not at_once:
        monkeypatch.setattr(partial, "_exchange", lambda *_: False)
    seen, state, kills = set(), 0, 0
    for _ in killed_at_each_step(lambda: change_to_next(home)):
        kills += 1
        settle(home) if reader == "home" else settle_target(home.parent / "elsewhere" / "index")
        if reader == "target":
            settle(home)  # what a kill left before the target was touched
        found = state_of(home)
        assert found in ({str(state)}, {str(state + 1)})
        seen.add(found == {str(state + 1)})
        state = int(found.pop())
        assert not list(home.parent.rglob("*.next"))
    change(home, state + 1)
    assert tidy(home)
    assert kills > 30
    assert seen == {True, False}


def test_kills_at_other_moments(home: Path) -> None:
    draw, state = random.Random(0), 0
    for _ in range(30):
        killed_after(lambda: change_to_next(home), draw.uniform(0, 0.05))
        settle(home)
        found = state_of(home)
        assert found in ({str(state)}, {str(state + 1)})
        state = int(found.pop())


def test_an_error_in_the_middle_leaves_the_old_ones(home: Path) -> None:
    def half_way() -> None:
        with changing(home) as new:
            write_state(new.place_for(home / "model"), 1)
            write_state(new.place_for(home.parent / "elsewhere" / "index"), 1)
            raise BertrecError("no more")

    with pytest.raises(BertrecError, match="no more"):
        half_way()
    assert state_of(home) == {"0"}
    assert tidy(home)


def test_a_disk_that_is_full_at_any_write_loses_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, left, state, refused = os.replace, [0], 0, 0

    def full(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    for write in range(1, 40):
        left[0] = write
        try:
            change(home, state + 1)
        except BertrecError as error:
            refused += 1
            assert "No space left on device" in str(error)  # noqa: PT017
            settle(home)
            assert state_of(home) == {str(state + 1) if "the next command" in str(error) else str(state)}  # noqa: PT017
            state = int(state_of(home).pop())
            assert tidy(home)
        else:
            break
    assert refused > 5
    assert state_of(home) == {str(state + 1)}


def test_two_changes_at_once_are_refused_and_a_reader_of_the_old_ones_does_not_wait(home: Path) -> None:
    with changing(home) as new:
        write_state(new.place_for(home / "model"), 1)
        with pytest.raises(InUse, match="updating it"):
            change(home, 2)
        settle(home)
        assert state_of(home) == {"0"}
        new.targets.remove(home / "model")
    assert state_of(home) == {"0"}


def test_readers_beside_many_changes_see_one_state(home: Path) -> None:
    def work() -> None:
        for state in range(1, 60):
            change(home, state)

    child = forked(work)
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        settle(home)
    assert ended(child) == 0
    assert state_of(home) == {"59"}


def test_a_change_may_end_while_another_process_looks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there at the first look is gone at the second, in which its content is read."""
    read = together.read_record

    def late(path: Path, kinds: dict[str, type]) -> dict[str, object]:
        path.unlink()
        return read(path, kinds)

    monkeypatch.setattr(together, "read_record", late)
    with together.held(home):
        write_json(home / together.JOURNAL, sealed({"whole": True, "targets": {}}))
        settle(home)
    write_json(home.parent / ".index.home", {"home": str(home)})
    settle_target(home.parent / "index")
    assert not (home / together.JOURNAL).exists()


def test_another_change_may_begin_while_a_process_looks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there at the first look is gone when it is read, and there again at the next one: of the change after it."""
    read, journal = together.read_record, home / together.JOURNAL
    looks = iter([True])

    def between(path: Path, kinds: dict[str, type]) -> dict[str, object]:
        if next(looks, False):
            kept = path.read_text()
            path.unlink()
            try:
                return read(path, kinds)
            finally:
                path.write_text(kept)
        return read(path, kinds)

    write_json(journal, sealed({"whole": True, "targets": {}}))
    monkeypatch.setattr(together, "read_record", between)
    assert together._is_whole(home)
    looks = iter([True])
    write_json(home.parent / ".index.home", {"home": str(home)})
    assert together._home_of(home.parent / ".index.home") is not None


def test_a_whole_change_whose_new_ones_are_lost_is_named(home: Path) -> None:
    write_json(home / together.JOURNAL, sealed({"whole": True, "targets": {str(home / "model"): "0" * 64}}))
    with pytest.raises(BertrecError, match="was changed or lost since"):
        settle(home)


def test_a_damaged_journal_is_named(home: Path) -> None:
    (home / together.JOURNAL).write_text("{")
    with pytest.raises(BertrecError, match=r"update\.json is damaged"):
        settle(home)
    journal = sealed({"whole": True, "targets": {str(home / "model"): "0" * 64}})
    write_json(home / together.JOURNAL, journal | {"whole": False})
    with pytest.raises(BertrecError, match=r"update\.json was changed or damaged"):
        settle(home)

"""A folder or file that is replaced is the former or the new one, whatever happens and wherever its name leads."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from kills import killed_at_each_step

from bertrec.core import partial
from bertrec.core.errors import BertrecError
from bertrec.core.files import atomic_file, atomic_folder, write_json
from bertrec.core.partial import recover

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the kills are those of forks")
WAYS = pytest.mark.parametrize("at_once", [True, False], ids=["exchange", "two renames"])


def write(folder, text):
    with atomic_folder(folder, marker="a") as place:
        for name in "ab":
            (place / name).write_text(text)
        (place / "inner").mkdir()
        (place / "inner" / "c").write_text(text)


def content(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def whole(text):
    return {"a": text, "b": text, "inner/c": text}


@pytest.fixture
def way(at_once, monkeypatch):
    if not at_once:
        monkeypatch.setattr(partial, "_exchange", lambda *_: False)


@needs_fork
@WAYS
def test_a_folder_is_the_former_or_the_new_one_after_a_kill_at_any_step(tmp_path, way):
    target, seen = tmp_path / "folder", set()
    write(target, "old")
    for _ in killed_at_each_step(lambda: write(target, "new")):
        recover(target)
        found = content(target)
        assert found in (whole("old"), whole("new"))
        assert os.listdir(tmp_path) == ["folder"]
        seen.add(found["a"])
        write(target, "old")
    assert seen == {"old", "new"}
    assert content(target) == whole("new")


@needs_fork
@WAYS
def test_the_next_save_mends_what_a_kill_left_without_being_told(tmp_path, way):
    target = tmp_path / "folder"
    write(target, "old")
    for _ in killed_at_each_step(lambda: write(target, "new")):
        write(target, "newest")
        assert content(target) == whole("newest")
        assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems may have no such call")
def test_two_folders_change_places_at_once(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / f"was-{name}").touch()
    assert partial._exchange(tmp_path / "a", tmp_path / "b")
    assert os.listdir(tmp_path / "a") == ["was-b"]
    assert os.listdir(tmp_path / "b") == ["was-a"]
    assert not partial._exchange(tmp_path / "a", tmp_path / "absent")


@WAYS
def test_a_link_stays_and_what_it_names_is_renewed(tmp_path, way):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk" / "folder")
    for text in ("first", "second"):  # the first time the link leads nowhere
        write(link, text)
        assert link.is_symlink()
        assert content(tmp_path / "disk" / "folder") == whole(text)
    assert os.listdir(tmp_path / "disk") == ["folder"]


def test_a_link_to_a_file_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "figures.json"
    link.symlink_to("disk/real.json")  # relative to where it lies
    for value in (1, 2):
        write_json(link, value)
        assert link.is_symlink()
        assert (tmp_path / "disk" / "real.json").read_text() == f"{value}\n"
    assert os.listdir(tmp_path / "disk") == ["real.json"]


def test_what_another_process_is_writing_is_let_alone(tmp_path):
    target = tmp_path / "folder"
    write(target, "old")
    with atomic_folder(target) as place:
        (place / "a").write_text("slow")
        code = f"from bertrec.core.partial import recover; from pathlib import Path; recover(Path({str(target)!r}))"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert (place / "a").read_text() == "slow"
    assert content(target) == {"a": "slow"}


def test_only_leftovers_of_the_target_itself_are_removed(tmp_path):
    mine = [".folder.0123abcd.partial", ".folder.0123abcd.former.partial"]
    others = [
        ".folder2.0123abcd.partial",
        ".folder.partial",
        ".folder.zzzzzzzz.partial",
        "folder.0123abcd.partial",
        ".Folder.0123abcd.partial",
    ]
    write(tmp_path / "folder", "x")
    for name in [*mine, *others]:
        (tmp_path / name).mkdir()
    recover(tmp_path / "folder")
    assert sorted(os.listdir(tmp_path)) == sorted(["folder", *others])


def test_a_folder_that_was_moved_aside_comes_back(tmp_path):
    write(tmp_path / "folder", "old")
    (tmp_path / "folder").rename(tmp_path / ".folder.0123abcd.former.partial")
    (tmp_path / ".folder.89abcdef.partial").mkdir()
    recover(tmp_path / "folder")
    assert content(tmp_path / "folder") == whole("old")
    assert os.listdir(tmp_path) == ["folder"]


def test_an_error_while_it_is_written_leaves_the_former_one(tmp_path):
    write(tmp_path / "folder", "old")

    def broken(place):
        place.write_text("new")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "folder") as place:
        broken(place / "a")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "folder" / "a") as place:
        broken(place)
    assert content(tmp_path / "folder") == whole("old")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    write_json(tmp_path / "pipe", [1])
    assert reader.communicate()[0] == b"[\n  1\n]\n"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_standard_output_is_written_to_where_it_is_a_file(tmp_path):
    code = "from bertrec.core.files import write_json; print('before', flush=True); write_json('/dev/stdout', 5); print('after')"
    with (tmp_path / "out.txt").open("a") as out:  # appending, as the printing after it does not know what was written in between
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out.txt").read_text() == "before\n5\nafter\n"


def test_a_folder_of_something_else_is_refused_through_a_link_too(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    (tmp_path / "link").symlink_to("thesis")
    with pytest.raises(BertrecError, match="holds something else"):
        write(tmp_path / "link", "new")
    assert os.listdir(tmp_path / "thesis") == ["thesis.tex"]

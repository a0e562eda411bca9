"""A folder is held by one process, and nothing of the lock is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from kills import ended, forked

from bertrec.core import resuming
from bertrec.core.errors import BertrecError
from bertrec.core.resuming import InUse, in_turn, only_one

HOLDER = """
import sys, time
from pathlib import Path
from bertrec.core.resuming import in_turn, only_one
with (in_turn(Path(sys.argv[2]), "it") if sys.argv[1] == "turn" else only_one(Path(sys.argv[2]))):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def holder(how, target, seconds):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, how, target, str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_folder_is_left_as_it_was_found(tmp_path):
    with only_one(tmp_path / "new" / "folder"):
        assert os.listdir(tmp_path / "new" / "folder") == [".lock"]
    assert os.listdir(tmp_path / "new") == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ZeroDivisionError), only_one(tmp_path / "mine"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path / "mine") == ["thesis.tex"]
    with only_one(tmp_path / "run"):
        (tmp_path / "run" / "result").touch()
    assert os.listdir(tmp_path / "run") == ["result"]


def test_a_second_process_is_told_and_takes_nothing_away(tmp_path):
    process = holder("one", tmp_path / "run", 60)
    try:
        for _ in range(2):
            with pytest.raises(BertrecError, match="is in use: another bertrec process"), only_one(tmp_path / "run"):
                pytest.fail("two processes held it")
            assert os.listdir(tmp_path / "run") == [".lock"]
    finally:
        process.kill()
        process.wait()
    with only_one(tmp_path / "run"):  # a lock ends with its process
        pass


def test_who_holds_it_for_a_moment_is_waited_for(tmp_path):
    process = holder("one", tmp_path / "run", 0.3)
    with pytest.raises(InUse), only_one(tmp_path / "run", patience=0):
        pytest.fail("two processes held it")
    with only_one(tmp_path / "run"):
        pass
    assert process.wait() == 0
    assert os.listdir(tmp_path) == []


def test_a_turn_is_waited_for_with_a_note(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(resuming, "_SOON", 0.1)
    process = holder("turn", tmp_path / "index", 1.0)
    started = time.monotonic()
    with in_turn(tmp_path / "index", "INDEX"):
        assert time.monotonic() - started > 0.3
        with in_turn(tmp_path / "index", "INDEX"):  # held already
            pass
        assert os.listdir(tmp_path) == [".index.lock"]
    assert process.wait() == 0
    assert caplog.messages == ["INDEX is being changed by another process: waiting for it"]
    assert os.listdir(tmp_path) == []


def test_waiting_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(resuming, "_SOON", 0.05)
    monkeypatch.setattr(resuming, "_PATIENCE", 0.1)
    process = holder("turn", tmp_path / "index", 60)
    with pytest.raises(BertrecError, match="INDEX has been in use by another process"), in_turn(tmp_path / "index", "INDEX"):
        pytest.fail("two processes held it")
    process.kill()
    process.wait()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are many processes in a short time")
def test_no_two_processes_are_in_though_each_removes_the_lock(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")

    def count():
        for _ in range(25):
            with in_turn(tmp_path / "index", "it"):
                value = int(counter.read_text())
                time.sleep(0.001)
                counter.write_text(str(value + 1))

    children = [forked(count) for _ in range(4)]
    assert [ended(child) for child in children] == [0] * 4
    assert counter.read_text() == "100"
    assert os.listdir(tmp_path) == ["counter"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").mkdir()
    with pytest.raises(BertrecError, match=r"cannot write .*\.lock"), only_one(tmp_path / "run"):
        pytest.fail("a folder is no lock")
    (tmp_path / "file").touch()
    with pytest.raises(BertrecError, match="cannot make the folder"), only_one(tmp_path / "file" / "run"):
        pytest.fail("a file holds no folder")

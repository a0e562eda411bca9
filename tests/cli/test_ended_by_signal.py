"""A training that is told to end says how to go on, as one that was interrupted does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from bertrec.cli.runs import abandon_on_error
from bertrec.runs.folder import Run


def end_by_signal(run: Run) -> None:
    with abandon_on_error(run):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    raise AssertionError("the signal was not heard")


def told_to_end(run: Run) -> int | str | None:
    with pytest.raises(SystemExit) as found:
        end_by_signal(run)
    return found.value.code


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    run.pending_file.write_text("{}")
    return run


def test_with_a_whole_epoch_it_says_how_to_go_on(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.checkpoints / "epoch-1").mkdir()
    before = signal.getsignal(signal.SIGTERM)
    assert told_to_end(run) == 128 + signal.SIGTERM
    assert "--resume goes on from the last whole epoch" in capsys.readouterr().err
    assert run.pending_file.exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_before_that_nothing_is_left(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert told_to_end(run) == 128 + signal.SIGTERM
    assert not capsys.readouterr().err
    assert not run.checkpoints.exists()
    assert not run.pending_file.exists()

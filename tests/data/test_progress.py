"""Bars of long work: moving in a terminal, seldom drawn in a log."""

from __future__ import annotations

import io
import sys
import time

import pytest

from bertrec.core.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "in_between"), [(io.StringIO, False), (Terminal, True)])
def test_a_log_is_not_filled_with_bars(monkeypatch, stream, in_between):
    err = stream()
    monkeypatch.setattr(sys, "stderr", err)
    with progress_bar(True, "encode", 3, unit="text") as bar:
        for _ in range(3):
            time.sleep(0.15)
            bar.update()
    drawn = err.getvalue()
    assert ("1/3" in drawn, "0/3" in drawn, "3/3" in drawn) == (in_between, True, True)
    assert "text/s" in drawn


def test_nothing_is_drawn_where_nothing_is_wanted(capsys):
    with progress_bar(False, "encode", 2) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""

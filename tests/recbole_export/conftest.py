"""Runs of RecBole in processes of their own: it changes numpy and more for the whole process that it is in."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bertrec.cli.main import main
from bertrec.recbole.process import environment


@pytest.fixture(scope="session")
def in_recbole():
    """Run a script of RecBole's in a folder, and fail with its last words."""

    def run(folder, script, *words):
        (folder / "script.py").write_text(script, encoding="utf-8")
        command = [sys.executable, "-W", "ignore", "script.py", *map(str, words)]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=300, env={**environment(), "OMP_NUM_THREADS": "1"}, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]

    return run


@pytest.fixture
def cli(capsys):
    """Run the program and return its exit code, standard output and standard error."""

    def call(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """As many threads in every process of RecBole's: sums in another order would be other numbers."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

"""Somebody who follows a page to the letter, in a folder of their own.

Of the page's parts, in order:

- a block ``LANG NAME`` is the file NAME;
- of a block ``console``, what stands behind ``$`` runs, and each line below it occurs in what a terminal shows;
- ``console serve`` starts a service, which is asked to end when the page has ended;
- ``python`` without a name runs, and has to print something; of a block ``text`` behind it each line occurs in that;
- ``sh notest`` and ``text`` elsewhere are for reading alone;
- ``<!-- files of shop.md: make_shop.py shop.yaml -->`` gives files that another page writes;
- ``<!-- needs spark -->`` ends the page where that is missing, and the test is skipped with the reason.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from services import free_port
from spark_shop import no_spark

PART = re.compile(r"^<!-- (files of|needs) (.*?) -->$|^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ", re.MULTILINE)
PLACE = "127.0.0.1:8000"
"""Where a page says that its service is; a free port takes its place."""
BACKGROUND = re.compile(r" & |&$")


def parts(page: Path) -> list[tuple[str, str, str]]:
    """Return the parts of a page that are followed: kind, name, and what stands in it."""
    found = PART.findall(page.read_text(encoding="utf-8"))
    return [(comment or kind, name, words or body) for comment, words, kind, name, body in found]


def files(page: Path) -> dict[str, str]:
    """Return the files that a page writes."""
    return {name: body for kind, name, body in parts(page) if name and name not in ("serve", "notest")}


def missing(name: str) -> str | None:
    """Return why what a page needs is not here."""
    if name == "spark":
        return no_spark()
    if name == "recbole":
        there = importlib.util.find_spec("recbole") and sys.version_info < (3, 12)
        return None if there else "RecBole's models need Python 3.11 and pip install 'bertrec[recbole]'"
    return None if shutil.which(name) else f"no {name}"


class Follower:
    """Follows one page; ``postgresql_url`` gives the address of a new database, or skips the test."""

    def __init__(self, folder: Path, postgresql_url) -> None:
        self.folder, self.port, self.ran = folder, free_port(), 0
        self.printed, self.shown = "", ""  # on standard output, and all that a terminal shows
        self.postgresql_url = postgresql_url
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "BERTREC_CACHE": str(folder / "cache"), "COLUMNS": "140"}
        self.services: list[subprocess.Popen] = []
        self.groups: list[int] = []

    def follow(self, page: Path) -> None:
        """Follow the page to its end."""
        program = False  # whether the block above was one, without a name
        for kind, name, body in parts(page):
            if kind in ("files of", "needs"):
                self.files_of(page, body) if kind == "files of" else self.needs(body)
            elif (kind, name) == ("console", "serve"):
                self.serve(body.removeprefix("$ ").strip())
            elif name == "notest":
                assert kind == "sh"
            elif name:
                (self.folder / name).write_text(body, encoding="utf-8")
            elif kind != "text" or program:
                {"console": self.console, "python": self.python, "text": self.text}[kind](body)
            program = kind == "python" and not name

    def files_of(self, page: Path, words: str) -> None:
        """Write files of another page."""
        other, _, names = words.partition(":")
        known = files(page.parent / other)
        for name in names.split():
            (self.folder / name).write_text(known[name], encoding="utf-8")

    def needs(self, name: str) -> None:
        """Skip the rest of the page where something is missing."""
        if name == "postgresql":
            self.environment["STUDIES"] = self.postgresql_url()
        elif reason := missing(name):
            pytest.skip(f"{reason}; what stands above that on the page was followed ({self.ran} commands)")

    def console(self, body: str) -> None:
        """Run the commands of a block one by one."""
        for part in COMMAND.split(body)[1:]:
            command, _, expected = part.partition("\n")
            self.run(["bash", "-c", command.replace(PLACE, f"127.0.0.1:{self.port}")])
            self.text(expected)
            assert '"error"' not in self.printed, self.printed

    def python(self, body: str) -> None:
        """Run a block as a program, which has to print something."""
        self.run([sys.executable, "-c", body])
        assert self.printed.strip()

    def text(self, expected: str) -> None:
        """See that each line stands in what was printed last; a page shows no line whose figures a machine could change."""
        assert [line for line in expected.splitlines() if line.strip() and line not in self.shown] == [], self.shown

    def run(self, words: list[str]) -> None:
        """Run one program, keep what it prints, and want it to end well."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        process = subprocess.Popen(words, cwd=self.folder, env=self.environment, **options)
        if BACKGROUND.search(words[-1]):
            self.groups.append(process.pid)
        self.printed, said = process.communicate()
        self.shown = self.printed + said
        assert process.returncode == 0, f"{words[-1]}\n{self.shown}"
        self.ran += 1

    def serve(self, command: str) -> None:
        """Start a service and wait until it answers."""
        log = self.folder / "serve.log"
        words = ["bash", "-c", f"exec env {command} --port {self.port}"]
        with log.open("w") as out:
            self.services.append(subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=out, stderr=out))
        for _ in range(600):
            assert self.services[-1].poll() is None, log.read_text()
            with contextlib.suppress(OSError):  # nobody listens yet, or too slowly
                assert urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=30).status == 200
                return
            time.sleep(0.1)
        raise AssertionError("the service never answered")

    def end(self) -> None:
        """End what the page started: a service has to end well, what a command left in the background just ends."""
        for group in self.groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for service in self.services:
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0

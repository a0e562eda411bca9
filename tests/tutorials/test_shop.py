"""The tutorial of a shop, followed to the letter: its files are written, its commands run, and what it shows has to come out."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "tutorials" / "shop.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ", re.MULTILINE)


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture
def environment(tmp_path):
    folder = pathlib.Path(sys.executable).parent
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "BERTREC_CACHE": str(tmp_path / "cache")}


@pytest.fixture
def serve(tmp_path, environment):
    """Start a service in the background and wait until it answers; it ends with the test."""
    started = []

    def start(command, port):
        log = (tmp_path / "serve.log").open("w")
        started.append(subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=tmp_path, env=environment, stdout=log, stderr=log))
        for _ in range(600):
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30).status
            except OSError:  # nobody listens yet, or too slowly
                assert started[-1].poll() is None, (tmp_path / "serve.log").read_text()
                time.sleep(0.1)
        raise AssertionError("the service never answered")

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def shown(text):
    """What a block shows below a command, line by line; the page shows no line whose figures a machine could change."""
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.tutorial
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="the page's commands need bash and curl")
def test_the_page_leads_from_two_tables_to_a_service(tmp_path, environment, serve):
    port, ran = free_port(), 0
    for kind, name, body in BLOCK.findall(PAGE.read_text(encoding="utf-8").replace("127.0.0.1:8000", f"127.0.0.1:{port}")):
        if kind == "console" and name == "serve":
            assert serve(body.removeprefix("$ ").strip() + f" --port {port}", port) == 200
        elif kind == "console":
            for part in COMMAND.split(body)[1:]:
                command, _, expected = part.partition("\n")
                done = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
                assert [line for line in shown(expected) if line not in done.stdout] == [], command
                assert '"error"' not in done.stdout
                ran += 1
        elif name:
            (tmp_path / name).write_text(body, encoding="utf-8")
        elif kind == "python":
            done = subprocess.run([sys.executable, "-c", body], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "rank" in done.stdout
            ran += 1
    assert ran >= 18

"""The service of a run in a process of its own, as the command line starts it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


class Service:
    """The service of a run in a process of its own, on a free port of this machine."""

    def __init__(self, run: Path, *, key: str | None = None) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/"
        self.key = key
        variables = {name: value for name, value in os.environ.items() if name != "BERTREC_API_KEY"}
        command = [sys.executable, "-m", "bertrec", "serve", str(run), "--port", str(port)]
        self.process = subprocess.Popen(command, env=variables | ({"BERTREC_API_KEY": key} if key else {}))
        self._wait()

    def _wait(self, seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                self.ask("health")
                return
            time.sleep(0.2)
        raise AssertionError(f"the service did not start: exit status {self.process.poll()}")

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return what the service answers."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=60) as answer:
            return json.load(answer)

    def titles(self, path: str, body: dict[str, Any]) -> list[str]:
        """Return the titles of the items of an answer."""
        return [item["title"] for item in self.ask(path, body)["items"]]

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])

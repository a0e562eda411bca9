"""A small shop for the page: ten products that everybody walks round, two that came after the training, one title that means harm."""

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

from tiny_encoders import tiny_bert

from bertrec.cli.main import main

HOSTILE = "<img src=x onerror=\"document.title='harmed'\">"
# id, title, kind, price, in stock
PRODUCTS = [
    ("100", "Red Kettle", "kitchen", 25.0, True),
    ("101", "Blue Kettle", "kitchen", 27.5, True),
    ("102", "Green Teapot", "kitchen", 31.0, False),
    ("103", HOSTILE, "art", 12.0, True),
    ("104", "Oak Shelf", "wood", 80.0, True),
    ("105", "Pine Shelf", "wood", 60.0, False),
    ("106", "Steel Lamp", "light", 45.0, True),
    ("107", "Brass Lamp", "light", 55.0, True),
    ("108", "Wool Rug", "floor", 120.0, True),
    ("109", "Jute Rug", "floor", 90.0, False),
    ("110", "Copper Kettle", "kitchen", 49.0, True),
    ("111", "Paper Lamp", "light", 15.0, True),
]
NEW = {"Copper Kettle", "Paper Lamp"}
WALK = 10
TITLES = {row[0]: row[1] for row in PRODUCTS}


def write_shop(folder: Path) -> Path:
    """Write it as tables: each of 40 users walks five steps round the first ten products."""
    folder.mkdir(parents=True)
    rows = [f"{user},{100 + (user + step) % WALK},{step}.5" for user in range(1, 41) for step in range(5)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8")
    names = ("item_id", "title", "kind", "price", "in_stock")
    items = [json.dumps(dict(zip(names, row, strict=True))) for row in PRODUCTS]
    (folder / "items.jsonl").write_text("\n".join(items) + "\n", encoding="utf-8")
    return folder


def trained_shop(folder: Path) -> Path:
    """Return a run that was trained on it, of texts and IDs."""
    encoder = tiny_bert(folder / "encoder", [*TITLES.values(), "kitchen art wood light floor"], hidden=32)
    settings = [f"encoder.name={encoder}", "item.width=16", "head.layers=1", "train.batch_size=16"]
    words = ["train", str(write_shop(folder / "shop")), "--out", str(folder / "run"), "--epochs", "2", "--seed", "1"]
    assert main([*words, *(word for setting in settings for word in ("--set", setting))]) == 0
    return folder / "run"


class Service:
    """The service of a run in a process of its own, on a free port of this machine."""

    def __init__(self, run: Path, *, key: str | None = None, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.key = key
        variables = {name: value for name, value in os.environ.items() if name != "BERTREC_API_KEY"}
        command = [sys.executable, "-m", "bertrec", "serve", str(run), "--port", str(self.port)]
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

"""``bertrec serve`` as a process: it says where it listens, answers, and ends by SIGTERM with what it had begun."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from products import TODAY, write_products
from served import KEY

from bertrec.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture
def served(place):
    words = [sys.executable, "-m", "bertrec", "serve", place / "run", "--index", place / "index", "--port", "0", "--workers", "2"]
    variables = {**os.environ, "BERTREC_API_KEY": KEY}
    with (place / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True, env=variables)
        line = process.stdout.readline()
        yield process, line
        process.kill()
        process.wait()
        process.stdout.close()


def asked(port, path, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_from_its_start_to_its_end(served, place):
    process, line = served
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)", line)[1])
    assert line == f"serving {place / 'run'} (unisrec, 8 items) at http://127.0.0.1:{port}; writes need the key\n"
    assert asked(port, "/health")["index"] == "hnsw"
    assert len(asked(port, "/recommend", {"user": 1, "k": 3})["items"]) == 3
    assert asked(port, "/items", {"items": [{"item_id": "p10", "title": "Copper Lamp", "kind": "light"}]}, "PUT")["new"] == 1
    assert asked(port, "/items/p10")["new"] is True
    # Another process brings the run to another state.
    table = write_products(place / "today.csv", [*TODAY, ("p10", "Copper Lamp", "light", "5")])
    assert main(["catalog", "update", str(place / "run"), "--items", str(table), "--index", str(place / "index")]) == 0
    end = time.monotonic() + 30
    while asked(port, "/items/p1")["listed"] and time.monotonic() < end:
        time.sleep(0.1)
    assert asked(port, "/items/p1")["listed"] is False
    # A request whose body is still on its way when the signal comes is answered.
    body = json.dumps({"history": ["p2"], "k": 2}).encode()
    with socket.create_connection(("127.0.0.1", port)) as half:
        head = f"POST /recommend HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n"
        half.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:5])
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        half.sendall(body[5:])
        assert half.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert process.wait(20) == 0
    log = (place / "log").read_text(encoding="utf-8")
    assert "PUT /items 200" in log
    assert f"reloaded {place / 'run'}: 10 items" in log
    assert KEY not in log
    assert "Traceback" not in log
